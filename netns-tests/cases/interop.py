"""adit against every other implementation, in both roles."""
import time

from lab.case import case
from lab.site import wired
from lab.traffic import iperf3, ping
from lab.wait import until
from lab.wireguard import PEERS


def counters(pair):
    """Bytes sent and received, first from left to right, then from right to left."""
    left, right = pair.left.peer_state(pair.right), pair.right.peer_state(pair.left)
    return left.sent, right.received, right.sent, left.received


def settled(pair):
    """The counters once nothing is under way any more."""
    last = []

    def same():
        last.append(counters(pair))
        return last[-1] in last[-2:-1] and last[-1]
    return until(same, 10, "counters that stand still", step=0.02)


#   a: adit ---- wire ---- b: the peer
@case(peer=PEERS, first=("adit-first", "peer-first"), family=("v4", "v6"), psk=("psk", "plain"))
def tunnel(net, peer, first, family, psk):
    """Handshake in either role, both IPs inside, TCP and UDP both ways, and counters that agree."""
    pair = wired(net, right=peer, family=family, psk=psk == "psk")
    first = pair.left if first == "adit-first" else pair.right
    second = pair.other(first)
    pair.start(first=first)
    assert ping(first.host, second.inner()) == 3, "no echo over IPv4 inside"
    assert ping(first.host, second.inner("v6")) == 3, "no echo over IPv6 inside"
    assert ping(second.host, first.inner()) == 3, "no echo back"
    for reverse in (False, True):
        # Up to 4 MiB may still be in the sender's buffer when it is done.
        flow = iperf3(pair.left.host, pair.right.host, pair.right.inner(), reverse=reverse, size="8M")
        assert flow.bytes >= 1 << 20, f"TCP, reverse {reverse}: {flow.bytes} bytes"
    flow = iperf3(pair.left.host, pair.right.host, pair.right.inner("v6"), udp=True, size="100K", rate="20M")
    assert flow.packets - flow.lost >= 0.9 * flow.packets > 0, f"UDP: {flow}"
    for site in (pair.left, pair.right):
        seen = site.peer_state(pair.other(site))
        # boringtun answers with the handshake's age where its time belongs.
        age = 0 if site.device.implementation == "boringtun-cli" else time.time() - seen.handshake
        assert abs(age) < 60, f"{site.device.implementation}: handshake at {seen.handshake}"
        assert seen.endpoint == pair.other(site).endpoint(family), f"endpoint {seen.endpoint}"
        assert seen.received > 1 << 20 and seen.sent > 1 << 20, f"{site.device.implementation}: counters {seen}"
    before = settled(pair)
    assert ping(pair.left.host, pair.right.inner(), count=20, size=1000, interval=0.005) == 20
    grown = [after - earlier for after, earlier in zip(settled(pair), before)]
    assert min(grown) > 20_000, f"counters {grown}"
    # These two count inner packets on receiving, boringtun on sending too; the others count datagrams.
    # Elsewhere a keepalive or a handshake may be under way while the counters are read.
    tolerance = 0.05 * grown[0] if peer in ("boringtun-cli", "gotatun-cli") else 200
    for sent, received in (grown[:2], grown[2:]):
        assert abs(sent - received) <= tolerance, f"{sent} bytes sent, {received} received"
