"""UDP by udpload: the highest rate that arrives whole, one rate both ways, and round trips."""
import json
from contextlib import contextmanager

from lab.process import Failed
from measure.implementation import UDPLOAD

PORT = 7100


def place(address):
    """Address and port as udpload reads them."""
    return f"[{address}]:{PORT}" if ":" in address else f"{address}:{PORT}"


@contextmanager
def sink(host, address):
    """Counts and answers on `host` meanwhile."""
    process = host.start(UDPLOAD, "sink", place(address))
    try:
        process.wait_output("listening", 5)
        yield
    finally:
        process.stop()


def ask(host, *words, timeout):
    code, output = host.attempt(UDPLOAD, *words, timeout=timeout)
    if code:
        raise Failed(f"udpload: {output.strip()[-300:]}")
    return json.loads(output)


def search(host, address, size, seconds, steps, trains=True, ecn=False):
    """What udpload's search found. `size` is in bytes, or `imix`."""
    words = ["send", place(address), "--size", size, "--seconds", seconds, "--steps", steps]
    words += [] if trains else ["--no-gso"]
    words += ["--ecn"] if ecn else []
    return ask(host, *words, timeout=steps * (seconds + 5) + 5)


def at_rate(host, address, size, seconds, rate):
    """What became of datagrams that were sent one by one at this rate."""
    words = ["send", place(address), "--size", size, "--seconds", seconds, "--rate", rate, "--no-gso"]
    return ask(host, *words, timeout=seconds + 15)


def both_ways(ends, size, seconds, trains, rate="max"):
    """What became of datagrams at one rate from both ends at once."""
    words = ["--size", size, "--seconds", seconds, "--rate", rate, *([] if trains else ["--no-gso"])]
    ways = ((ends.a, ends.right), (ends.b, ends.left))
    with sink(ends.b, ends.address(ends.right)), sink(ends.a, ends.address(ends.left)):
        senders = [host.start(UDPLOAD, "send", place(ends.address(to)), *words) for host, to in ways]
        codes = [sender.wait(seconds + 15) for sender in senders]
    said = [sender.output().strip().splitlines()[-1] for sender in senders]
    if any(codes):
        raise Failed(f"udpload: exit {codes}: {said}")
    return [json.loads(line) for line in said]


def ping(host, address, seconds, interval=1.0):
    """Round trips in microseconds; `interval` is in milliseconds."""
    words = ["ping", place(address), "--seconds", seconds, "--interval", interval, "--size", 64]
    return ask(host, *words, timeout=seconds + 10)
