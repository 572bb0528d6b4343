"""Where the processor time of a packet goes, at each end, with and without a cipher: tables and flame graphs.

bench/flame builds what this needs and starts it; README.md says how to read what comes out.
"""
import argparse
import json
import os
import sys
import tempfile
from statistics import median

from lab import interrupt, process
from lab.case import Case
from lab.namespace import sweep_abandoned
from lab.runner import run as run_cases
from lab.wireguard import ROOT, Missing
from measure import flame_tls, results
from measure.implementation import VETH, require
from measure.nanoseconds import Measured, page
from measure.revisions import as_user
from measure.sampled import TAKEN_APART, Sampled, perf
from measure.turn import Settings, described

PAGE = f"{results.FOLDER}/nanoseconds.md"
BEGIN, END = "<!-- Made by bench/flame, as far as the next mark. -->", "<!-- Written by hand from here on. -->"
FLAMEGRAPH = f"{ROOT}/target/tools/bin/inferno-flamegraph"
# Whose graphs are kept, and the titles of the ends.
GRAPHS, ENDS = ("adit", "adit-null"), {"a": "sender", "b": "receiver"}
# Functions below this share, in percent, are not drawn.
SMALLEST = "0.15"
# The cipher's own figure: bytes, and packets at a time.
LENGTH, BATCH = "1424", "45"


def arguments():
    parser = argparse.ArgumentParser(prog="bench/flame", description="Takes the processor time of a packet apart.")
    parser.add_argument("--rounds", type=int, default=3, help="turns of each (3)")
    parser.add_argument("--seconds", type=int, default=4, help="of each measurement, without and with perf (4)")
    parser.add_argument("--page", metavar="FILE", help="only write the tables of these results")
    parser.add_argument("--tls", action="store_true", help="the TLS terminator in place of tunnels: flame graphs alone")
    wanted = parser.parse_args()
    if wanted.rounds < 1 or wanted.seconds < 1:
        parser.error("--rounds and --seconds: expected 1 or more")
    return wanted


def require_perf():
    """Raises Missing if what samples or draws is not there, or may not."""
    if not os.access(FLAMEGRAPH, os.X_OK):
        raise Missing("no inferno-flamegraph (bench/flame installs it)")
    with tempfile.TemporaryDirectory() as folder:
        code, output = process.run(perf(0.1, f"{folder}/data"), check=False)
    if code:
        raise Missing(f"perf cannot sample on this machine: {output.strip()[-200:]}")


def build_cipher():
    """The program of the cipher's own benchmark. Raises Missing if it cannot be built."""
    words = ["cargo", "bench", "--locked", "-p", "adit-bench", "--bench", "cipher", "--no-run", "--message-format", "json"]
    code, output = as_user(*words)
    built = [json.loads(line) for line in output.splitlines() if line.startswith("{")]
    # Programs that it might use are built with it.
    program = next((one["executable"] for one in built if one.get("executable") and one["target"]["name"] == "cipher"), None)
    if code or not program:
        raise Missing("the cipher's benchmark could not be built")
    return program


def cipher(program, number, path):
    """What sealing and opening cost alone: a figure for each cipher."""
    code, output = as_user(program, "--bench", quiet=True)
    rows = [line.split() for line in output.splitlines()]
    row = next((list(map(float, row)) for row in rows if row[:2] == [LENGTH, BATCH]), None)
    if code or not row:
        results.append(path, {"kind": "failure", "round": number, "what": "cipher", "error": f"exit {code}"})
        return False
    for name, seal, opened in (("adit", row[3], row[7]), ("adit-gcm", row[5], row[9])):
        results.append(path, {"kind": "figure", "round": number, "implementation": name, "figure": "flame_cipher",
                              "value": seal + opened, "detail": {"seal": seal, "open": opened}})
    return True


def turn(number, implementation, settings, folder, path):
    """A turn as a case of the lab, which gives it namespaces, a process and a limit of its own."""
    return Case(f"round {number}: {implementation}, taken apart", "that it can be measured and sampled",
                4 * settings.tcp + 90, "bench", True,
                lambda net: Sampled(net, implementation, number, folder, settings, path).run())


def measure(wanted, alone, settings, folder, path):
    """All rounds; 0 if every turn yielded its figures. `alone` is the cipher's own benchmark."""
    code = 0
    for number in range(1, wanted.rounds + 1):
        code |= not cipher(alone, number, path)
        for implementation in (VETH, *TAKEN_APART):
            code |= bool(run_cases([turn(number, implementation, settings, folder, path)], 1)[1])
    return code


def draw(folder, records):
    """The flame graphs, their widths in nanoseconds a packet."""
    measured = Measured(records)
    for name in GRAPHS:
        for at, (end, title) in enumerate(ENDS.items()):
            path = f"{folder}/{name}-{end}.folded"
            if not os.path.exists(path):
                continue
            with open(path) as file:
                stacks = file.read()
            nanos = median(measured.cost(name, (at,)).values())
            graph(f"{results.FOLDER}/flame-{name}-{title}.svg", f"{name}, {title}: {nanos:.0f} ns a packet", stacks, nanos,
                  "ns a packet")


def graph(path, title, stacks, nanos, unit):
    """A flame graph of folded stacks, as wide as `nanos`."""
    count = sum(int(line.rsplit(" ", 1)[1]) for line in stacks.splitlines())
    words = ["--colors", "java", "--hash", "--minwidth", SMALLEST, "--factor", f"{nanos / count}", "--countname", unit,
             "--title", title]
    svg = process.run([FLAMEGRAPH, "-q", *words], data=stacks)[1]
    with open(path, "w") as file:
        file.write(svg)


def write_page(run, records):
    """Puts the tables between the marks of the page; the rest of it stays as it is."""
    before, after = "# Where the nanoseconds go\n\n", "\n"
    if os.path.exists(PAGE):
        with open(PAGE) as file:
            before, _, rest = file.read().partition(BEGIN)
        after = rest.partition(END)[2]
    with open(PAGE, "w") as file:
        file.write(before + BEGIN + "\n\n" + "\n".join(page(run, records)) + "\n\n" + END + after)


def take_tls(seconds):
    """The flame graphs of the TLS terminator; 0 if all could be made."""
    try:
        return int(bool(run_cases(flame_tls.cases(seconds, graph), 1)[1]))
    except interrupt.Interrupted as error:
        print(error, file=sys.stderr)
        return 128 + error.number


def main():
    wanted = arguments()
    if wanted.page:
        write_page(*results.read(wanted.page))
        return 0
    implementations = flame_tls.NAMES if wanted.tls else (VETH, *TAKEN_APART)
    try:
        require(implementations)
        require_perf()
        alone = None if wanted.tls else build_cipher()
    except Missing as error:
        print(f"bench/flame: {error}", file=sys.stderr)
        return 2
    sweep_abandoned()
    interrupt.listen()
    if wanted.tls:
        return take_tls(wanted.seconds)
    settings = Settings(tcp=wanted.seconds)
    path = results.start(implementations, described(settings), False)
    named = path.replace(".jsonl", "-flame.jsonl")
    os.rename(path, named)
    if os.getloadavg()[0] > 0.5:
        print(f"other programs are busy (load {os.getloadavg()[0]:.1f}): the figures will be noisy")
    with tempfile.TemporaryDirectory() as folder:
        try:
            code = measure(wanted, alone, settings, folder, named)
        except interrupt.Interrupted as error:
            print(error, file=sys.stderr)
            code = 128 + error.number
        run, records = results.read(named)
        if not code:
            draw(folder, records)
            write_page(run, records)
            print(f"written: {os.path.relpath(PAGE)}, with the flame graphs beside it")
    if not records:
        os.unlink(named)
        return code
    print(f"raw results: {os.path.relpath(named)}")
    return code


if __name__ == "__main__":
    sys.exit(main())
