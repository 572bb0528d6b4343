"""TCP by iperf3: one or more streams, out, back or both ways."""
import json
from contextlib import ExitStack, contextmanager

from lab.process import Failed

PORT = 5201
# Streams that one iperf3 can have.
MOST = 128
# What Linux has unless somebody chooses: the machine's own choice is not asked (see Net.host).
CONGESTION = "cubic"
FLAGS = {"out": [], "back": ["-R"], "both": ["--bidir"]}


def words(address, streams, way, seconds, omit, port=PORT):
    return ["iperf3", "-c", address, "-p", port, "-P", streams, "-t", seconds, "-O", omit, *FLAGS[way],
            "-C", CONGESTION, "--connect-timeout", 4000]


@contextmanager
def listening(server, port=PORT):
    listener = server.start("iperf3", "-s", "-1", "-p", port, "--forceflush")
    try:
        listener.wait_output("Server listening", 10)
        yield
    finally:
        listener.stop()


def report(code, output):
    """What iperf3 says at its end."""
    try:
        said = json.loads(output[output.index("{"):])
    except ValueError:
        raise Failed(f"iperf3: exit {code}: {output.strip()[-300:]}") from None
    if "error" in said:
        raise Failed(f"iperf3: {said['error']}")
    return said["end"]


def tcp(client, server, address, streams, way, seconds, omit):
    """What arrived, in bits a second, of all streams together after `omit` seconds; with retransmissions."""
    with listening(server):
        end = report(*client.attempt(*words(address, streams, way, seconds, omit), "-J", timeout=seconds + omit + 15))
    ways = ["", "_bidir_reverse"] if way == "both" else [""]
    each = [end[f"sum_received{which}"]["bits_per_second"] for which in ways]
    again = sum(end[f"sum_sent{which}"].get("retransmits", 0) for which in ways)
    return {"bits_per_second": sum(each), "each_way": each, "retransmits": again}


def many(client, server, address, streams, seconds, omit):
    """As `tcp`, for more streams than one iperf3 has."""
    shares = [min(MOST, streams - at) for at in range(0, streams, MOST)]
    with ExitStack() as stack:
        for at in range(len(shares)):
            stack.enter_context(listening(server, PORT + at))
        clients = [client.start(*words(address, share, "out", seconds, omit, PORT + at), "-J")
                   for at, share in enumerate(shares)]
        ends = [report(one.wait(seconds + omit + 20), one.output()) for one in clients]
    each = [end["sum_received"]["bits_per_second"] for end in ends]
    return {"bits_per_second": sum(each), "each": each,
            "retransmits": sum(end["sum_sent"].get("retransmits", 0) for end in ends)}


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


def short(client, server, address):
    """A little TCP, to look at."""
    with listening(server):
        client.run("iperf3", "-c", address, "-p", PORT, "-n", "300K", "-C", CONGESTION, "--connect-timeout", 4000)
