"""A flood of handshakes from everywhere, and what it leaves to the peers that are honest."""
import json
import os
import statistics
import time

from lab.case import case
from lab.process import Priority, resident
from lab.site import PORT, wired
from lab.traffic import iperf3, ping, reaches
from lab.wireguard import ROOT, Missing

FLOOD = f"{ROOT}/target/release/flood"
RATE, SECONDS, ROUNDS = 50_000, 3.2, 4
CLOSED = 9
DEAF = """
table netdev deaf {
  chain ingress { type filter hook ingress device "street" priority 0; ether type ip drop; }
}
"""


def pour(crowd, site, port, rate=RATE, seconds=SECONDS):
    """Starts a flood of initiations that know the site's public key; the program's last word is its rate."""
    if not os.path.exists(FLOOD):
        raise Missing(f"no program {FLOOD} (cargo build --release -p adit-bench)")
    flood = crowd.start(FLOOD, f"198.51.100.1:{port}", "--key", site.keys.public, "--rate", rate, "--seconds", seconds)
    # The strangers have machines of their own: theirs is not to be the part that is slow.
    Priority.apply(flood.pid, -20)
    return flood


def poured(flood):
    """What a flood says of itself, once it is over."""
    assert flood.wait(10) == 0, flood.output()
    return json.loads(flood.output().splitlines()[-1])


#   b: adit ---- wire ---- a: adit ---- street ---- crowd: four million addresses
def besieged(net):
    """A pair of which the left one is on a street with strangers, whose spoofed addresses are all behind it."""
    pair = wired(net)
    crowd = net.host("crowd")
    net.link(pair.left.host, "street", crowd, "street")
    pair.left.host.address("street", "198.51.100.1/24")
    crowd.address("street", "198.51.100.2/24")
    pair.left.host.route("default via 198.51.100.2")
    # The strangers' machines are many and elsewhere: what is sent to them must not cost this machine more than sending.
    crowd.run("nft", "-f", "-", data=DEAF)
    return pair, crowd


def under_flood(pair, crowd, port):
    """What the peer gets under a flood of that port, in bits a second. One that was no flood, since the machine had other work, is
    poured again."""
    for _ in range(3):
        flood = pour(crowd, pair.left, port)
        time.sleep(0.4)
        flow = iperf3(pair.right.host, pair.left.host, pair.left.inner(), seconds=2)
        outcome = poured(flood)
        if outcome["rate"] > 0.9 * RATE:
            return flow.bits_per_second
    raise AssertionError(f"no flood: {outcome}")


@case(limit=150, alone=True)
def honest_peer_keeps_its_share(net):
    """Under 50,000 forged initiations a second a peer keeps 80 % of what it gets while they hit a closed port.

    Memory stays flat.
    """
    Priority.take()
    pair, crowd = besieged(net)
    a, b = pair.left, pair.right
    pair.start()
    assert ping(b.host, a.inner()) == 3
    got, memory = {PORT: [], CLOSED: []}, []
    # More turns, and the medians of all, if the first do not show it: other work on the machine comes and goes.
    for _ in range(3):
        for port in (CLOSED, PORT) * ROUNDS:
            got[port].append(under_flood(pair, crowd, port))
            memory.append(resident(a.device.process.pid))
        closed, under = (statistics.median(got[port]) for port in (CLOSED, PORT))
        print(f"{under / closed:.2f} of {closed / 1e6:.0f} Mbit/s, memory in KiB {memory}, {got}", flush=True)
        if under >= 0.8 * closed:
            break
    else:
        raise AssertionError(f"{under / 1e6:.0f} of {closed / 1e6:.0f} Mbit/s: {got}")
    # The first flood of its own port brings in the memory that a full queue needs.
    assert max(memory[2:]) - memory[1] < 1 << 10 and max(memory) < 32 << 10, f"memory in KiB: {memory}"


@case(limit=60, alone=True)
def new_keys_under_it(net):
    """Under the same flood a peer that comes back has a session within three tries."""
    pair, crowd = besieged(net)
    a, b = pair.left, pair.right
    a.device.environment["LOG_LEVEL"] = "info"
    pair.start()
    assert ping(b.host, a.inner()) == 3
    flood = pour(crowd, a, PORT, seconds=20)
    time.sleep(1)
    b.device.crash()
    b.start()
    pair.configure(b)
    took = reaches(b.host, a.inner(), 18)
    assert took is not None, "no session"
    assert flood.alive(), f"the flood was over: {took:.1f} s"
    assert a.device.drops().get("under_load", 0) > 10_000, a.device.drops()
