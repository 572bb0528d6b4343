"""Where the processor time of the TLS terminator goes: a flame graph for each kind of load.

As for tunnels (flame.py): the time is measured without perf, and shared out by what perf samples while the same load goes on.
"""
import threading
from collections import Counter

from lab import process
from lab.case import Case
from measure import results
from measure.sampled import perf
from measure.stacks import FIELDS, folded, samples
from measure.tls_ends import TlsEnds

# What is asked of which, and what one of it is called.
LOADS = {
    "handshakes": ("adit-tls", ["handshakes"], 64, "handshake"),
    "requests": ("adit-tls", ["requests", "/1k"], 64, "request"),
    "bodies": ("adit-tls", ["requests", "/1m"], 8, "body"),
    "http": ("adit-http", ["requests", "/1k"], 64, "request"),
}
# The implementations that these take.
NAMES = tuple(dict.fromkeys(name for name, *_ in LOADS.values()))


def cases(seconds, draw):
    """A case of the lab for each load. `draw` makes a graph of a title, stacks, nanoseconds and what they are of."""
    return [Case(f"{load}, taken apart", "that it can be measured and sampled", 4 * seconds + 60, "bench", True,
                 lambda net, load=load: sample(net, load, seconds, draw)) for load in LOADS]


def sample(net, load, seconds, draw):
    name, words, connections, one = LOADS[load]
    ends = TlsEnds(net, name)
    told = ends.load(*words, connections=connections, seconds=seconds)
    nanos = told["cpu"] / told["done"] * 1e9
    data = f"{net.folder}/perf.data"
    # It goes on until the last sample, and begins ahead of the first.
    asking = threading.Thread(target=ends.load, args=words, kwargs={"connections": connections, "seconds": seconds + 3})
    asking.start()
    try:
        process.run(["sleep", "0.5"])
        process.run(perf(seconds, data), timeout=seconds + 30)
    finally:
        asking.join()
    text = process.run(["perf", "script", "--no-inline", "-i", data, "-F", FIELDS], timeout=120)[1]
    stacks = Counter(folded(one, None) for one in samples(text) if one.pid == ends.process.pid)
    assert stacks, "perf saw nothing of the terminator"
    lines = "".join(f"{line} {count}\n" for line, count in stacks.items())
    title = f"{name}, {' '.join(words)}: {nanos:,.0f} ns of its processor for each {one}"
    draw(f"{results.FOLDER}/flame-tls-{load}.svg", title, lines, nanos, f"ns a {one}")
