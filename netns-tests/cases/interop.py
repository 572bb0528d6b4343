"""adit against every other implementation, in both roles."""
import time

from lab.case import case
from lab.site import wired
from lab.traffic import iperf3, ping
from lab.wireguard import PEERS

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
        flow = iperf3(pair.left.host, pair.right.host, pair.right.inner(), reverse=reverse, size="4M")
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
