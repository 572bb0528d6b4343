"""What perf sampled: which thread was where, told as the functions that had called one another."""
import re
from dataclasses import dataclass

# Addresses of the kernel are in the upper half.
KERNEL = 1 << 63
# What a stack without an end has for one; no function is there.
UNKNOWN = "[unknown]"
FIELDS = "comm,pid,tid,ip,sym"
HEAD = re.compile(r"^(?P<command>\S.*?)\s+(?P<pid>-?\d+)/(?P<tid>-?\d+)\s*$")
FRAME = re.compile(r"^\s+(?P<address>[0-9a-f]+)\s+(?P<symbol>.+?)\s*$")
# What a thread is in before it comes to its own business.
RUNTIME = re.compile(r"^(std::|core::|alloc::|<alloc::|<std::|start_thread$|clone3$)")
WORKER = re.compile(r"^(outward|inward)-\d+$")


@dataclass(frozen=True)
class Frame:
    """A function of a stack."""
    symbol: str
    kernel: bool = False


@dataclass(frozen=True)
class Sample:
    """One sample. `frames` begin with the function that ran; unknown ones are left out."""
    command: str
    pid: int
    frames: tuple

    @property
    def thread(self):
        """The direction of a worker's thread, the command of any other."""
        found = WORKER.match(self.command)
        return found[1] if found else self.command


def samples(text):
    """All samples in what `perf script -F` FIELDS prints."""
    for block in text.split("\n\n"):
        first, *rest = block.strip("\n").split("\n")
        if head := HEAD.match(first):
            frames = (FRAME.match(line) for line in rest)
            yield Sample(head["command"], int(head["pid"]), tuple(
                Frame(plain(frame["symbol"]), int(frame["address"], 16) >= KERNEL)
                for frame in frames if frame and frame["symbol"] != UNKNOWN))


def plain(symbol):
    """A function's name without what its compiler added to it, and without its type parameters."""
    symbol = re.sub(r"\.(isra|part|constprop|cold|llvm)\b.*$", "", symbol)
    return re.sub(r"^<impl ([\w:]+)>", r"\1", symbol).replace("<impl adit_aead::key::Key>", "Key").replace("<C>", "")


def folded(sample, stage):
    """The stack as one line, outermost first, as flame graphs are made of: thread, stage of the journey, functions.

    What leads to a stage is left out: it is the same for all, and unknown where the copy of the stack was too short for it.
    """
    frames = list(reversed(sample.frames))
    within = next((at for at, frame in enumerate(frames) if frame.symbol.endswith(f"::{stage}")), -1) if stage else -1
    inner = frames[within + 1:] if within >= 0 else [frame for frame in frames if not RUNTIME.match(frame.symbol)]
    names = [frame.symbol.replace(";", ":") + "_[k]" * frame.kernel for frame in inner]
    return ";".join([sample.thread, *([stage] if stage else []), *names])
