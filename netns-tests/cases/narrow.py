"""Links that are too narrow, and networks that do not say so."""
from lab import frame
from lab.capture import Capture
from lab.case import case
from lab.impair import Impairer
from lab.site import wired
from lab.traffic import Sequence, iperf3, ping
from lab.wait import until

SILENT = """
table inet silent {
  chain forward {
    type filter hook forward priority 0;
    icmp type { destination-unreachable, time-exceeded, parameter-problem } drop
    icmpv6 type { destination-unreachable, packet-too-big, time-exceeded, parameter-problem } drop
  }
  chain output {
    type filter hook output priority 0;
    icmp type { destination-unreachable, time-exceeded, parameter-problem } drop
    icmpv6 type { destination-unreachable, packet-too-big, time-exceeded, parameter-problem } drop
  }
}
"""


def routed(net, family, mtu, silent=True):
    """A pair with two routers in between, whose link has this MTU. `silent` routers send no ICMP errors.

        a ---- left [narrow] ---- [narrow] right ---- b
    """
    routers = [net.host("left"), net.host("right")]

    def between(net, a, b):
        for router, site, number in zip(routers, (a, b), (1, 2)):
            router.forward()
            net.link(site, "wire", router, "site")
            router.address("site", f"198.51.{number}.1/24", f"2001:db8:{number}::1/64")
        net.link(routers[0], "narrow", routers[1], "narrow", mtu)
        for router, number in zip(routers, (1, 2)):
            router.address("narrow", f"203.0.113.{number}/24", f"2001:db8:f::{number}/64")
            other = 3 - number
            router.route(f"198.51.{other}.0/24 via 203.0.113.{other}",
                         f"2001:db8:{other}::/64 via 2001:db8:f::{other}")
            if silent:
                router.run("nft", "-f", "-", data=SILENT)
    pair = wired(net, family=family, middle=between)
    for site in (pair.left, pair.right):
        site.host.ip(f"address flush dev {site.wire}")
        site.host.address(site.wire, f"198.51.{site.number}.2/24", f"2001:db8:{site.number}::2/64")
        site.host.route(f"default via 198.51.{site.number}.1", f"default via 2001:db8:{site.number}::1")
        site.outer = lambda family="v4", number=site.number: (
            f"198.51.{number}.2" if family == "v4" else f"2001:db8:{number}::2")
    return pair, routers


#   a: adit ---- left ---- 1400, no ICMP errors ---- right ---- b: adit
@case()
def black_hole_outside(net):
    """Over IPv4 a narrow link behind routers that say nothing is crossed in fragments: TCP lives at the default MTU."""
    pair, routers = routed(net, "v4", 1400)
    pair.start()
    assert ping(pair.left.host, pair.right.inner()) == 3
    narrow = Capture(routers[0], "narrow")
    assert ping(pair.left.host, pair.right.inner(), size=1392, fragment=False) == 3, "a packet of the device's MTU"
    for reverse in (False, True):
        flow = iperf3(pair.left.host, pair.right.host, pair.right.inner(), reverse=reverse, size="8M")
        assert flow.bytes > 1 << 20, flow
    narrow.stop()
    assert any(frame.is_fragment(data) for _, data in narrow.frames), "nothing was cut: the test proves nothing"


#   a: adit ---- left ---- 1400 ---- right ---- b: adit
@case()
def told_too_big(net):
    """Over IPv6, where no router cuts, the answer "too big" makes the sender cut: TCP lives at the default MTU."""
    pair, routers = routed(net, "v6", 1400, silent=False)
    pair.start()
    assert ping(pair.left.host, pair.right.inner()) == 3
    narrow = Capture(routers[0], "narrow")
    # The first is lost and tells its sender why; then its answer.
    assert ping(pair.left.host, pair.right.inner(), size=1392, fragment=False, wait=0.3) < 3, "nothing is narrow"
    assert ping(pair.left.host, pair.right.inner(), size=1392, fragment=False) == 3, "a packet of the device's MTU"
    flow = iperf3(pair.left.host, pair.right.host, pair.right.inner("v6"), size="8M")
    assert flow.bytes > 1 << 20, flow
    narrow.stop()
    assert any(frame.is_fragment(data) for _, data in narrow.frames), "nothing was cut: the test proves nothing"


#   a: adit ---- left ---- 1400, no ICMP errors ---- right ---- b: adit, 1280
@case()
def lower_mtu_helps(net):
    """Over IPv6 with silent routers long packets are lost; an MTU of the device that fits ends the trouble at once."""
    pair, _ = routed(net, "v6", 1400)
    pair.start()
    assert ping(pair.left.host, pair.right.inner()) == 3, "short packets"
    assert ping(pair.left.host, pair.right.inner(), size=1392, fragment=False, wait=0.3) == 0, "there is no black hole"
    for site in (pair.left, pair.right):
        site.host.ip(f"link set {site.device.name} mtu 1320")
    assert ping(pair.left.host, pair.right.inner(), size=1292, fragment=False) == 3
    flow = iperf3(pair.left.host, pair.right.host, pair.right.inner(), size="8M")
    assert flow.bytes > 1 << 20, flow


#   h ---- a: adit, MTU 1420 ---- wire ---- b: adit
@case()
def told_inside(net):
    """Who sends through the gateway what its device cannot take is told so, in either IP, and TCP finds the size."""
    pair = wired(net).start()
    h = net.host("h")
    net.link(h, "lan", pair.left.host, "lan")
    pair.left.host.forward()
    h.address("lan", "10.7.0.2/24", "fd07::2/64")
    pair.left.host.address("lan", "10.7.0.1/24", "fd07::1/64")
    h.route("default via 10.7.0.1", "default via fd07::1")
    a, b = pair.left, pair.right
    b.device.set("peer", a.keys.public, "allowed-ips", f"{a.allowed_ips()},10.7.0.0/24,fd07::/64")
    b.host.route(f"10.7.0.0/24 dev {b.device.name}", f"fd07::/64 dev {b.device.name}")
    for family, headers in (("v4", 28), ("v6", 48)):
        assert ping(h, b.inner(family), count=1, size=1420 - headers, fragment=False) == 1
        _, said = h.attempt("ping", "-n", "-c", 1, "-W", 5, "-M", "do", "-s", 1500 - headers, b.inner(family))
        assert "mtu=1420" in said or "mtu = 1420" in said or "mtu 1420" in said, said
        flow = iperf3(h, b.host, b.inner(family), size="8M")
        assert flow.bytes > 1 << 20, flow


#   a: adit ---- cuts everything, and spoils the fragments ---- b: adit
@case(what=("in-order", "reordered", "copied", "lost"), limit=60)
def fragments(net, what):
    """Outer packets in fragments that are out of order, copied or lost: what is whole arrives, nothing else."""
    bad = Impairer(mtu=600, only=frame.is_fragment)
    pair = wired(net, middle=bad.between).start()
    assert ping(pair.left.host, pair.right.inner()) == 3
    bad.reorder, bad.duplicate = {"reordered": 0.3}.get(what, 0), {"copied": 0.5}.get(what, 0)
    bad.loss = {"lost": 0.1}.get(what, 0)
    flow = Sequence(pair.left.host, pair.right.host, pair.right.inner(), pace=0.004, size=1300)
    until(lambda: bad.count["cut"] > 350, 20, "datagrams that are cut")
    numbers = flow.stop()
    sent = flow.sent
    assert len(numbers) == len(set(numbers)), "something came out twice"
    share = len(numbers) / sent
    if what == "lost":
        # Three fragments each, a tenth of them lost: 73 % are whole.
        assert 0.5 < share < 0.9, f"{len(numbers)} of {sent}, {bad.count}"
    else:
        assert share > 0.98, f"{len(numbers)} of {sent}, {bad.count}"
    assert ping(pair.left.host, pair.right.inner(), count=9) == 9, "short packets suffer"


#   a: adit ---- 2 Mbit/s, 30 ms and up to 20 more, 0.5 % lost ---- b: adit
@case(limit=60)
def slow_link(net):
    """Over a slow link with delay, jitter and loss, the handshake succeeds and TCP gets its share, both ways."""
    bad = Impairer(delay=0.03, jitter=0.02, loss=0.005, rate=500_000)
    pair = wired(net, middle=bad.between).start()
    assert ping(pair.left.host, pair.right.inner(), interval=0.2) >= 2
    for reverse in (False, True):
        flow = iperf3(pair.left.host, pair.right.host, pair.right.inner(), reverse=reverse, seconds=2)
        assert flow.bits_per_second > 400_000, flow
    assert bad.count["lost"] > 0, bad.count
