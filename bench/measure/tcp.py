"""TCP by iperf3: one or more streams, out, back or both ways."""
import json
from contextlib import contextmanager

from lab.process import Failed

PORT = 5201
# The machine's own choice may be one that paces itself, and then the pacing is what is measured.
CONGESTION = "cubic"
FLAGS = {"out": [], "back": ["-R"], "both": ["--bidir"]}


def words(address, streams, way, seconds, omit):
    return ["iperf3", "-c", address, "-p", PORT, "-P", streams, "-t", seconds, "-O", omit, *FLAGS[way],
            "-C", CONGESTION, "--connect-timeout", 4000]


@contextmanager
def listening(server):
    listener = server.start("iperf3", "-s", "-1", "-p", PORT, "--forceflush")
    try:
        listener.wait_output("Server listening", 10)
        yield
    finally:
        listener.stop()


def tcp(client, server, address, streams, way, seconds, omit):
    """What arrived, in bits a second, of all streams together after `omit` seconds; with retransmissions."""
    with listening(server):
        code, output = client.attempt(*words(address, streams, way, seconds, omit), "-J", timeout=seconds + omit + 15)
    try:
        report = json.loads(output[output.index("{"):])
    except ValueError:
        raise Failed(f"iperf3: exit {code}: {output.strip()[-300:]}") from None
    if "error" in report:
        raise Failed(f"iperf3: {report['error']}")
    end, ways = report["end"], ["", "_bidir_reverse"] if way == "both" else [""]
    each = [end[f"sum_received{which}"]["bits_per_second"] for which in ways]
    again = sum(end[f"sum_sent{which}"].get("retransmits", 0) for which in ways)
    return {"bits_per_second": sum(each), "each_way": each, "retransmits": again}


@contextmanager
def loaded(client, server, address, seconds):
    """One stream runs meanwhile, for at most `seconds`."""
    with listening(server):
        load = client.start(*words(address, 1, "out", seconds, 0), "--forceflush")
        try:
            load.wait_output(r"sec .*bits/sec", 10)
            yield
            if not load.alive():
                raise Failed("iperf3: the load ended before what was measured under it")
        finally:
            load.stop()
