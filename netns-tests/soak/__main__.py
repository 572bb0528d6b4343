"""A soak: traffic between gateways that are reloaded, killed and moved. Ends with 0 if all held, with 1 if not.

    run.sh soak [MINUTES]           60 unless told

The binaries are those in the folder $ADIT_BINARIES, an absolute path (target/release). Raw samples go to target/soak/DATE.jsonl.
"""
import argparse
import json
import os
import signal
import sys
import time
import traceback
from types import SimpleNamespace

# The lab's own devices are of the same build.
if "ADIT_BINARIES" in os.environ:
    os.environ.setdefault("ADIT_WIREGUARD", f"{os.environ['ADIT_BINARIES']}/adit-wireguard")

from lab import interrupt                                                                       # noqa: E402
from lab.namespace import Net, sweep, sweep_abandoned                                           # noqa: E402
from lab.uapi import ask                                                                        # noqa: E402
from lab.wireguard import ROOT                                                                  # noqa: E402
from soak.disturb import Disturbances, Timeline                                                 # noqa: E402
from soak.load import Iperf, Ping, Watcher                                                      # noqa: E402
from soak.record import Record                                                                  # noqa: E402
from soak.stream import Streams                                                                 # noqa: E402
from soak.verdict import judge                                                                  # noqa: E402
from soak.world import EAST, World, inner                                                       # noqa: E402

FOLDER = f"{ROOT}/target/soak"
SAMPLE, TICK = 10, 0.05
# After every disturbance traffic comes back within so many seconds: 15 until silence is noticed, and a few attempts.
STUCK = 30
# Without disturbances at the end, in seconds: everything has to be well then.
QUIET = 45
# Beyond the run itself.
GRACE = 180
# The public key of a peer that is not in the file.
GUEST = "5a" * 32


def excerpt(status):
    """Of the status, what changes."""
    wireguard = {name: {"state": tunnel["state"], "drops": tunnel["drops"], "handshakes": tunnel["handshakes"],
                        "warnings": tunnel["warnings"], "peers": len(tunnel["peers"]),
                        "ages": {peer["name"]: peer["handshake_age"] for peer in tunnel["peers"]
                                 if peer["name"] in ("east", "west", "hub")},
                        "received": sum(peer["received_bytes"] for peer in tunnel["peers"]),
                        "sent": sum(peer["sent_bytes"] for peer in tunnel["peers"])}
                 for name, tunnel in status["wireguard"].items()}
    return {"tunnels": len(wireguard), "wireguard": wireguard, "warnings": status["warnings"],
            "reloads": status["configuration"]["reloads"], "refused": status["configuration"]["reloads_refused"]}


def sample(world, record):
    for daemon in (world.hub, world.east):
        # Looked at first: to ask takes a descriptor itself.
        if daemon.usable():
            status, metrics = daemon.status(), daemon.aditd.http("GET", "/metrics")
            if "\nwireguard_" not in metrics[1]:
                record.violation(f"{daemon.name}: told {metrics} in place of its metrics")
            daemon.sample(**excerpt(status))
    world.west.sample()


def add_streams(streams, world):
    port = 7000
    for tunnel, one, other in (("a", "hub", "east"), ("b", "hub", "west"), ("c", "hub", "east")):
        for sender, receiver in ((one, other), (other, one)):
            for address in inner(tunnel, receiver):
                port += 1
                name = f"{tunnel}: {sender} to {receiver}, {'v6' if ':' in address else 'v4'}"
                streams.add(name, tunnel, world.hosts[sender], world.hosts[receiver], address, port)
    streams.add("hub to behind east", "behind", world.hosts["hub"], world.hosts["east"], EAST, port + 1)


def add_lanes(world, record):
    hub, east, west = (world.hosts[site] for site in ("hub", "east", "west"))
    return [Iperf("iperf3 by a", record, hub, east, inner("a", "east"), 5201),
            Iperf("iperf3 by b", record, hub, west, inner("b", "west"), 5202),
            Watcher("trace drops at hub", record, world.hub), Watcher("trace drops at east", record, world.east),
            *(Ping(f"ping by {tunnel}, {family}", record, world.hosts[site], address)
              for tunnel, site in (("a", "east"), ("b", "west"))
              for family, address in zip(("v4", "v6"), inner(tunnel, "hub")))]


def start(world, streams):
    """Everything is up, and traffic passes everywhere but through c."""
    world.write()
    for gateway in world.gateways():
        gateway.start()
    streams.begin(world.net.stack)
    for tunnel in ("a", "b", "behind"):
        streams.expect(tunnel, True)


def adopt(world, record):
    """A peer made as `wg set` makes it. No reload may take it away."""
    device = SimpleNamespace(socket=f"{world.hub.folder}/wireguard/wga.sock")
    error, _ = ask(device, f"set=1\npublic_key={GUEST}\nallowed_ip=10.89.0.0/24\n\n")
    if error:
        record.violation(f"hub: wga takes no peer by its socket: errno {error}")
    return device


def end_well(world, record, streams, device):
    """What has to be true once nothing was disturbed for a while, and when the daemons are asked to end."""
    if ("public_key", GUEST) not in ask(device, "get=1\n\n")[1]:
        record.violation("hub: the peer that was made by wg is gone")
    for stream in streams.streams:
        if stream.expected and time.monotonic() - stream.last > 2:
            record.violation(f"at the end nothing passes: {stream.name}")
    guards = world.hub.host.run("ip", "route", "show", "proto", "173", "type", "unreachable").splitlines()
    for daemon in (world.hub, world.east):
        daemon.poll()
        daemon.expected = False
        if not daemon.process.alive():
            continue
        daemon.process.child.terminate()
        code = daemon.process.wait(10)
        daemon.read_log()
        if code != 0:
            record.violation(f"{daemon.name}: asked to end, it ended with {code}")
        left = [link["ifname"] for link in json.loads(daemon.host.run("ip", "-j", "link")) if "wg" in link["ifname"]]
        if left:
            record.violation(f"{daemon.name}: left {left}")
    after = world.hub.host.run("ip", "route", "show", "proto", "173", "type", "unreachable").splitlines()
    if not guards or guards != after:
        record.violation(f"guards of hub before its end: {guards}; after it: {after}")


def soak(net, record, wanted):
    world = World(net, record, wanted.west)
    streams = Streams(record, wanted.seed, STUCK)
    add_streams(streams, world)
    lanes = add_lanes(world, record)
    try:
        device = endure(world, record, streams, lanes, wanted)
        end_well(world, record, streams, device)
    except Exception as error:
        record.violation(f"{type(error).__name__}: {error}")
        traceback.print_exc()
    judge(record, streams, lanes, (world.hub, world.east))


def endure(world, record, streams, lanes, wanted):
    """The time itself; what adopt() returned."""
    start(world, streams)
    seconds, timeline, device = wanted.minutes * 60, Timeline(record), None
    Disturbances(world, streams, record, timeline, wanted.seed).schedule(seconds - QUIET)
    timeline.every(SAMPLE, SAMPLE, seconds, lambda: sample(world, record))
    while record.now() < seconds:
        if not device and world.hub.usable():
            device = adopt(world, record)
        timeline.run_due()
        for one in (*world.gateways(), *lanes):
            one.poll()
        streams.check()
        time.sleep(TICK)
    for lane in lanes:
        lane.stop()
    return device


def arguments():
    parser = argparse.ArgumentParser(prog="run.sh soak", description="An hour of traffic under reloads, kills and moves.")
    parser.add_argument("minutes", nargs="?", type=float, default=60)
    parser.add_argument("--seed", type=int, default=1, help="of what is left to chance (1)")
    parser.add_argument("--west", default="adit", help="the implementation of the third gateway: adit or wireguard-go")
    wanted = parser.parse_args()
    if not 2 <= wanted.minutes <= 1440:
        parser.error("expected 2 to 1440 minutes")
    return wanted


def main():
    wanted = arguments()
    if os.geteuid():
        print("a soak makes network namespaces: run it as root", file=sys.stderr)
        return 2
    os.makedirs(FOLDER, exist_ok=True)
    date = time.strftime("%Y-%m-%dT%H%M%S", time.gmtime())
    record = Record(f"{FOLDER}/{date}.jsonl")
    sweep_abandoned()
    interrupt.listen()
    signal.signal(signal.SIGALRM, signal.getsignal(signal.SIGTERM))
    signal.alarm(int(wanted.minutes * 60 + GRACE))
    try:
        with Net(f"{FOLDER}/{date}") as net:
            soak(net, record, wanted)
    except interrupt.Interrupted as error:
        record.violation(str(error))
    except Exception as error:
        record.violation(f"{type(error).__name__}: {error}")
        raise
    finally:
        interrupt.hold()
        sweep(os.getpid())
    left = [name for name in os.listdir("/run/netns") if name.startswith(f"adit{os.getpid()}-")]
    if left:
        record.violation(f"namespaces are left: {left}")
    print(f"raw samples: {record.path}; logs: {FOLDER}/{date}")
    print(f"FAILED: {len(record.violations)} violations" if record.violations else "ok: all held")
    for violation in record.violations:
        print(f"  {violation}")
    return 1 if record.violations else 0


if __name__ == "__main__":
    sys.exit(main())
