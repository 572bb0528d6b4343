"""UDP by udpload: the highest rate that arrives whole, and round trips."""
import json
from contextlib import contextmanager

from lab.process import Failed
from measure.implementation import UDPLOAD

PORT = 7100


@contextmanager
def sink(host, address):
    """Counts and answers on `host` meanwhile."""
    process = host.start(UDPLOAD, "sink", f"{address}:{PORT}")
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


def search(host, address, size, seconds, steps, trains=True):
    """What udpload's search found."""
    words = ["send", f"{address}:{PORT}", "--size", size, "--seconds", seconds, "--steps", steps]
    return ask(host, *words, *([] if trains else ["--no-gso"]), timeout=steps * (seconds + 5) + 5)


def ping(host, address, seconds, interval=1.0):
    """Round trips in microseconds; `interval` is in milliseconds."""
    words = ["ping", f"{address}:{PORT}", "--seconds", seconds, "--interval", interval, "--size", 64]
    return ask(host, *words, timeout=seconds + 10)
