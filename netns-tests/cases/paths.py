"""Which way packets take outside, when there are several, when it changes, and when there is none."""
import os

from lab.capture import Capture
from lab.case import case
from lab.site import PORT, wired
from lab.traffic import Sequence, all_arrive, iperf3, ping, reaches
from lab.wait import until


def loose(host, value, *links):
    """Sets how a host looks at where packets come from: 0 not at all, 1 strictly, 2 loosely."""
    for link in ("all", *links):
        host.sysctl(f"net.ipv4.conf.{link}.rp_filter", value)


#   a: adit ==== wire, other ==== b: adit
def twice_wired(net, right="adit"):
    """A pair with a second cable, 203.0.113.0/24. What comes by one cable may be answered by the other."""
    pair = wired(net, right=right)
    a, b = pair.left, pair.right
    net.link(a.host, "other", b.host, "other")
    a.host.address("other", "203.0.113.1/24", "2001:db8:1::1/64")
    b.host.address("other", "203.0.113.2/24", "2001:db8:1::2/64")
    for site in (a, b):
        loose(site.host, 0, "wire", "other")
    return pair


#   a: adit, 203.0.113.77 on another link than the wire ---- wire ---- b: peer
@case(peer=("adit", "wireguard-go"))
def address_of_another_link(net, peer):
    """Contacted at an address that belongs to another link than the packets come by, adit answers from that address."""
    pair = wired(net, right=peer)
    a, b = pair.left, pair.right
    a.host.address("lo", "203.0.113.77/32")
    b.host.route("203.0.113.77/32 via 192.0.2.1")
    pair.start(first=b)
    b.device.set("peer", a.keys.public, "endpoint", f"203.0.113.77:{PORT}")
    assert ping(b.host, a.inner()) == 3 and ping(a.host, b.inner()) == 3
    assert b.peer_state(a).endpoint == f"203.0.113.77:{PORT}", "answered from another address"


#   a: adit ==== wire, then other ==== b: peer
@case(peer=("adit", "wireguard-go"))
def better_route_appears(net, peer):
    """A route with a lower metric by another link takes over at once, and with it the source address of that link."""
    pair = twice_wired(net, right=peer)
    a, b = pair.left, pair.right
    b.host.address("lo", "198.51.100.2/32")
    a.host.route("198.51.100.2 via 192.0.2.2 src 192.0.2.1 metric 2")
    pair.start(first=a)
    a.device.set("peer", b.keys.public, "endpoint", f"198.51.100.2:{PORT}")
    assert ping(a.host, b.inner()) == 3
    assert b.peer_state(a).endpoint == f"192.0.2.1:{PORT}"
    a.host.route("198.51.100.2 via 203.0.113.2 src 203.0.113.1 metric 1")
    assert ping(a.host, b.inner()) == 3, "lost on the new route"
    assert b.peer_state(a).endpoint == f"203.0.113.1:{PORT}", "still from the old address"
    a.host.ip("route del 198.51.100.2 metric 1")
    assert ping(a.host, b.inner()) == 3, "lost on the old route"
    assert b.peer_state(a).endpoint == f"192.0.2.1:{PORT}", "still from the address of the route that is gone"


#   a: adit ---- wire there, other back ---- b: adit, 198.51.100.2
@case(check=("off", "loose", "strict"))
def asymmetric(net, check):
    """There by one link and back by another: flows both ways, unless the kernel is told to be strict about it."""
    pair = twice_wired(net)
    a, b, far = pair.left, pair.right, "198.51.100.2"
    b.host.address("lo", f"{far}/32")
    a.host.route(f"{far} via 192.0.2.2")
    b.host.ip("route replace 192.0.2.0/24 via 203.0.113.1 dev other src 198.51.100.2")
    # A site of its own answers for its neighbour's address on either link.
    loose(a.host, {"off": 0, "loose": 2, "strict": 1}[check], "wire", "other")
    loose(b.host, {"off": 0, "loose": 2, "strict": 1}[check], "wire", "other")
    pair.start(first=a)
    a.device.set("peer", b.keys.public, "endpoint", f"{far}:{PORT}")
    wires = {name: Capture(a.host, name) for name in ("wire", "other")}
    if check == "strict":
        assert ping(a.host, b.inner(), wait=0.5) == 0, "the kernel is not strict: the test proves nothing"
        loose(a.host, 2, "wire", "other")
        loose(b.host, 2, "wire", "other")
        assert reaches(a.host, b.inner(), 15) is not None, "not well again"
    for target, source in ((b, a), (a, b)):
        assert ping(source.host, target.inner()) == 3
    for reverse in (False, True):
        assert iperf3(a.host, b.host, b.inner(), reverse=reverse, size="8M").bytes > 1 << 20
    for name, capture in wires.items():
        capture.stop()
        sources = {udp.source for udp in capture.datagrams(PORT) if udp.payload[0] == 4}
        wanted = {"wire": a.outer(), "other": far}[name]
        assert sources == {wanted}, f"on {name} from {sources}"
    assert b.peer_state(a).endpoint == a.endpoint()


#   a: adit, fe80::1%wire ---- wire ---- b: peer, fe80::2%wire
@case(peer=("adit", "wireguard-go"))
def link_local(net, peer):
    """Link-local endpoints work with their scope, which is shown; the peer is followed to such an address as well."""
    pair = wired(net, right=peer)
    a, b = pair.left, pair.right
    for site in (a, b):
        site.host.address(site.wire, f"fe80::{site.number}/64")
    pair.start(first=a)
    a.device.set("peer", b.keys.public, "endpoint", f"[fe80::2%wire]:{PORT}")
    assert ping(a.host, b.inner()) == 3 and ping(b.host, a.inner()) == 3
    assert a.peer_state(b).endpoint == f"[fe80::2%wire]:{PORT}", a.peer_state(b).endpoint
    assert b.peer_state(a).endpoint.startswith("[fe80::"), b.peer_state(a).endpoint
    a.device.set("peer", b.keys.public, "endpoint", b.endpoint())
    assert ping(a.host, b.inner()) == 3
    assert b.peer_state(a).endpoint == a.endpoint()
    b.device.set("peer", a.keys.public, "endpoint", f"[fe80::1%wire]:{PORT}")
    assert ping(b.host, a.inner()) == 3
    assert a.peer_state(b).endpoint.endswith(f"%wire]:{PORT}"), f"not followed: {a.peer_state(b).endpoint}"


#   a: adit, no route to b, then one ---- wire ---- b: adit
@case(family=("v4", "v6"))
def no_route_yet(net, family):
    """An endpoint without a route costs nothing, and is reached with the next try once there is a route."""
    pair = wired(net, family=family)
    a, b = pair.left, pair.right
    far = "198.51.100.2" if family == "v4" else "2001:db8:9::2"
    b.host.address("lo", f"{far}/{32 if family == 'v4' else 128}")
    pair.start(first=a)
    a.device.environment["LOG_LEVEL"] = "info"
    a.device.set("peer", b.keys.public, "endpoint", f"{far}:{PORT}" if family == "v4" else f"[{far}]:{PORT}")
    assert ping(a.host, b.inner(), wait=0.3) == 0
    a.host.route(f"{far} via {b.outer(family)}")
    took = reaches(a.host, b.inner(), 9)
    assert took is not None and took < 6, f"reached after {took} s"
    a.host.ip(f"{'-6 ' if family == 'v6' else ''}route del {far}")
    assert ping(a.host, b.inner(), wait=0.2) == 0
    a.host.route(f"{far} via {b.outer(family)}")
    assert ping(a.host, b.inner()) == 3, "a session is lost with its route"


#   a: adit ---- wire ---- b: nobody, who says so (port unreachable); later adit
@case(limit=60)
def nobody_there(net):
    """A peer that is away for two tries, its host refusing both, is reached with the first one after its return."""
    pair = wired(net)
    a, b = pair.left, pair.right
    a.start()
    pair.configure(a)
    wire = Capture(a.host, a.wire)
    assert ping(a.host, b.inner(), count=1, wait=0.2) == 0
    until(lambda: sum(udp.payload[0] == 1 for udp in wire.datagrams(PORT)) == 2, 15, "two tries")
    b.start()
    pair.configure(b, knows_endpoint=False)
    took = reaches(a.host, b.inner(), 9)
    assert took is not None and took < 6, f"reached after {took} s"


#   a: adit, its link deleted under flows both ways ---- wire ---- b: adit
@case(how=("link", "socket"))
def removed_in_the_middle(net, how):
    """A device that goes while packets flow both ways ends its process cleanly, and leaves its peer well."""
    pair = wired(net).start()
    a, b = pair.left, pair.right
    assert ping(a.host, b.inner()) == 3
    flows = [Sequence(a.host, b.host, b.inner(), 7000, pace=0), Sequence(b.host, a.host, a.inner(), 7001, pace=0)]
    until(lambda: all(len(flow.arrived) > 1000 for flow in flows), 20, "flows")
    if how == "link":
        a.host.ip(f"link del {a.device.name}")
    else:
        os.unlink(a.device.socket)
    a.device.process.wait(10)
    output = a.device.process.output()
    assert a.device.process.child.returncode == 0 and "panicked" not in output, output
    until(lambda: a.device.name not in a.host.ip("-o link"), 10, "end of the link")
    for flow in flows:
        flow.stop(patience=0.3)
    assert b.device.alive()
    a.start()
    pair.configure(a)
    assert ping(a.host, b.inner()) == 3, "not well again"


#   a: adit has the default route, by mark and rules ---- wire ---- b: adit, 198.51.100.7 and abab::1111
@case()
def policy_routing(net):
    """With wg-quick's rules for the default route, both families go into the tunnel and its own packets around it."""
    pair = wired(net)
    a, b = pair.left, pair.right
    b.host.address("lo", "198.51.100.7/32", "abab::1111/128", "203.0.113.9/32")
    pair.start()
    a.device.set("fwmark", "51820", "peer", b.keys.public, "allowed-ips", "0.0.0.0/0,::/0",
                 "endpoint", f"203.0.113.9:{PORT}")
    a.host.route("default via 192.0.2.2", "default via 2001:db8::2")
    for family in ("-4", "-6"):
        a.host.ip(f"{family} route add default dev {a.device.name} table 51820")
        a.host.ip(f"{family} rule add not fwmark 51820 table 51820")
        a.host.ip(f"{family} rule add table main suppress_prefixlength 0")
    loose(a.host, 0, "wire")
    inside = Capture(b.host, b.device.name, link_header=0)
    for target in ("198.51.100.7", "abab::1111", b.inner(), b.inner("v6")):
        assert ping(a.host, target, count=50, interval=0.002) == 50, target
    # By the device's name, and with a mark of somebody else's on it.
    assert ping(a.host, "198.51.100.7", source=a.device.name) == 3
    a.host.run("nft", "-f", "-", data="table inet marks { chain output { type route hook output priority mangle; "
               "meta mark 0 meta mark set 1\n}\n}\n")
    assert ping(a.host, "198.51.100.7") == 3 and ping(a.host, "abab::1111") == 3, "with a mark"
    assert ping(a.host, "198.51.100.7", source=a.device.name) == 3, "with a mark, by the device's name"
    inside.stop()
    assert len(inside.frames) > 300, "not through the tunnel"


#   a: adit ---- wire (MTU + 80, up to 64 KiB) ---- b: adit
@case(outer=("v4", "v6"), mtu=(1280, 1420, 8920, 34736))
def traffic(net, outer, mtu):
    """TCP in both directions at once, and UDP, in both IPs, at MTUs from the least to a huge one."""
    pair = wired(net, family=outer, wire_mtu=mtu + 80).start(mtu)
    a, b = pair.left, pair.right
    for inside in ("v4", "v6"):
        assert ping(a.host, b.inner(inside), size=mtu - 48, fragment=False) == 3
        flow = iperf3(a.host, b.host, b.inner(inside), size="32M", both=True)
        assert flow.bytes > 8 << 20, flow
        all_arrive(a.host, b.host, b.inner(inside), size=mtu - 48, count=20)


#   a: adit ---- wire ---- b: adit
@case(streams=(4, 50))
def parallel(net, streams):
    """Many TCP flows at once all get through."""
    pair = wired(net).start()
    assert ping(pair.left.host, pair.right.inner()) == 3
    flow = iperf3(pair.left.host, pair.right.host, pair.right.inner(), seconds=1.5, streams=streams)
    assert flow.least > 0, "a flow got nothing"
