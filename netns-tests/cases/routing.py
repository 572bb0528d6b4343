"""Crypto routing: which peer a packet goes to, and which source addresses a peer may use."""
import ipaddress

from lab.capture import Capture
from lab.case import case
from lab.site import PORT, Site, wired
from lab.traffic import Marker, Sequence, ping
from lab.wait import quiet, until


class Star:
    """Three sites on one switch.

        a (hub) --+
        b       --+-- switch
        c       --+
    """

    def __init__(self, net, implementations=("adit", "adit", "adit")):
        switch = net.host("switch")
        self.sites = []
        for number, (name, implementation) in enumerate(zip("abc", implementations), 1):
            host = net.host(name)
            net.link(host, "wire", switch, f"port{number}")
            self.sites.append(Site(host, implementation, number, "wire"))
            self.sites[-1].address_wire()
        net.bridge(switch, "bridge", "port1", "port2", "port3")

    def mesh(self):
        """Everybody is everybody's peer."""
        for site in self.sites:
            site.start()
            others = [other.peer_conf(endpoint=other.endpoint()) for other in self.sites if other is not site]
            site.device.setconf(site.interface_conf() + "".join(others))


@case(second=("adit", "wireguard-go"))
def three_sites(net, second):
    """Three sites in a full mesh: each reaches each, and no packet goes to the wrong one."""
    star = Star(net, ("adit", second, "adit"))
    star.mesh()
    for sender in star.sites:
        for receiver in star.sites:
            if sender is not receiver:
                assert ping(sender.host, receiver.inner()) == 3, f"{sender.host.name} to {receiver.host.name}"
                assert ping(sender.host, receiver.inner("v6")) == 3, f"{sender.host.name} to {receiver.host.name}, v6"
    a, b, c = star.sites
    right, stray = (Capture(site.host, site.device.name, link_header=0) for site in (b, c))
    marker = Marker("for b alone")
    marker.send(a.host, b.inner())
    right.wait_holds(marker.bytes)
    stray.stop()
    assert not stray.holds(marker.bytes[:12]), "c got what was meant for b"


@case()
def through_the_hub(net):
    """Two sites that know only the hub reach one another through it."""
    star = Star(net)
    hub, b, c = star.sites
    for site in star.sites:
        site.start()
    hub.host.forward()
    hub.device.setconf(hub.interface_conf() + b.peer_conf() + c.peer_conf())
    for spoke in (b, c):
        spoke.device.setconf(spoke.interface_conf() + hub.peer_conf(endpoint=hub.endpoint()))
        spoke.device.set("peer", hub.keys.public, "allowed-ips", "10.9.0.0/24,fd09::/64")
        assert ping(spoke.host, hub.inner()) == 3
    assert ping(b.host, c.inner()) == 3
    assert ping(c.host, b.inner("v6")) == 3


@case()
def longest_prefix_wins(net):
    """Of two peers whose allowed IPs overlap, the longer prefix gets the packet; when it goes, the other one does."""
    star = Star(net)
    star.mesh()
    a, b, c = star.sites
    for site in (b, c):
        site.host.address("lo", "10.50.1.1/32", "fd50::1/128")
    a.host.route(f"10.50.0.0/16 dev {a.device.name}", f"fd50::/16 dev {a.device.name}")
    a.device.set("peer", b.keys.public, "allowed-ips", "10.9.0.2/32,fd09::2/128,10.50.0.0/16,fd50::/16")
    a.device.set("peer", c.keys.public, "allowed-ips", "10.9.0.3/32,fd09::3/128,10.50.1.0/24,fd50::/64")
    before = [a.peer_state(site).sent for site in (b, c)]
    assert ping(a.host, "10.50.1.1") == 3 and ping(a.host, "fd50::1") == 3
    after = [a.peer_state(site).sent for site in (b, c)]
    assert after[0] - before[0] < 300 and after[1] - before[1] > 500, f"{before} {after}"
    a.device.set("peer", c.keys.public, "remove")
    assert ping(a.host, "10.50.1.1") == 3 and ping(a.host, "fd50::1") == 3
    assert a.peer_state(b).sent - after[0] > 500


#   a: adit ---- wire ---- b: peer, also with 10.9.0.77 and fd09::77
@case(peer=("adit", "wireguard-go"))
def source_is_checked(net, peer):
    """A peer that sends from an address it does not own is dropped, and heard once the address is its own."""
    pair = wired(net, right=peer).start()
    assert ping(pair.left.host, pair.right.inner()) == 3
    a, b = pair.left, pair.right
    b.host.address(b.device.name, "10.9.0.77/32", "fd09::77/128")
    inside = Capture(a.host, a.device.name, link_header=0)
    # The source of an IPv4 header begins at byte 12, that of an IPv6 header at byte 8.
    sources = {"10.9.0.77": (12, ipaddress.ip_address("10.9.0.77").packed),
               "fd09::77": (8, ipaddress.ip_address("fd09::77").packed)}

    def came_in(source):
        start, packed = sources[source]
        return sum(data[start:start + len(packed)] == packed for _, data in list(inside.frames))
    for source in sources:
        target = a.inner("v6" if ":" in source else "v4")
        assert ping(b.host, target, source=source, wait=0.4) == 0, f"{source} was answered"
    inside.caught_up()
    for source in sources:
        assert came_in(source) == 0, f"{source} came through"
    a.device.set("peer", b.keys.public, "allowed-ips", f"{b.allowed_ips()},10.9.0.77/32,fd09::77/128")
    for source in sources:
        assert ping(b.host, a.inner("v6" if ":" in source else "v4"), source=source) == 3
    inside.stop()
    for source in sources:
        assert came_in(source) >= 3, f"{source} was answered and not captured"


#   a: adit ---- wire ---- b: adit
@case()
def removal_cuts_at_once(net):
    """Removing a peer in the middle of a flow stops it, both ways, with the next packet."""
    pair = wired(net).start()
    a, b = pair.left, pair.right
    assert ping(a.host, b.inner()) == 3
    out = Sequence(a.host, b.host, b.inner(), port=7000)
    back = Sequence(b.host, a.host, a.inner(), port=7001)
    counts = lambda: (len(out.arrived), len(back.arrived))
    until(lambda: min(counts()) > 50, 10, "flows both ways")
    a.device.set("peer", b.keys.public, "remove")
    # What was on its way may still arrive, but nothing that is sent from now on.
    last = out.sent, back.sent
    quiet(counts, 0.5, 3, "the flows")
    arrived = max(out.stop(patience=0.1)), max(back.stop(patience=0.1))
    assert arrived[0] <= last[0] and arrived[1] <= last[1], f"{arrived} arrived, {last} were sent"


@case()
def allowed_ip_moves(net):
    """An allowed IP moved from one peer to another takes effect with the next packet of a running flow."""
    star = Star(net)
    star.mesh()
    a, b, c = star.sites
    for site in (b, c):
        site.host.address("lo", "10.50.1.1/32")
    a.host.route(f"10.50.1.0/24 dev {a.device.name}")
    assert ping(a.host, b.inner()) == 3 and ping(a.host, c.inner()) == 3
    a.device.set("peer", b.keys.public, "allowed-ips", f"{b.allowed_ips()},10.50.1.0/24")
    flow = Sequence(a.host, b.host, "10.50.1.1")
    moved = Capture(c.host, c.device.name, link_header=0)
    until(lambda: len(flow.arrived) > 50, 10, "a flow to b")
    a.device.set("peer", c.keys.public, "allowed-ips", f"{c.allowed_ips()},10.50.1.0/24")
    last = flow.sent
    quiet(lambda: len(flow.arrived), 0.4, 3, "the flow to b")
    until(lambda: len(moved.datagrams(7000)) > 50, 10, "the flow to c")
    arrived = max(flow.stop(patience=0.1))
    moved.stop()
    assert arrived <= last, f"{arrived} arrived, sent after {last}"


#   a: adit ---- wire ---- b: adit
@case()
def no_peer_for_it(net):
    """A packet that no peer owns goes nowhere, is counted as dropped, and disturbs nobody."""
    pair = wired(net)
    pair.left.device.environment["LOG_LEVEL"] = "info"
    pair.start()
    a, b = pair.left, pair.right
    assert ping(a.host, b.inner()) == 3
    a.host.route(f"10.60.0.0/16 dev {a.device.name}")
    before = a.device.drops().get("no_route", 0)
    wire, inside = Capture(a.host, a.wire), Capture(b.host, b.device.name, link_header=0)
    own, marker = Capture(a.host, a.device.name, link_header=0), Marker("for nobody at all")
    marker.send(a.host, "10.60.0.1", count=20)
    assert ping(a.host, "10.60.0.1", wait=0.3) == 0
    own.wait_holds(marker.bytes)
    for capture in (wire, inside, own):
        capture.stop()
    assert not wire.holds(marker.bytes[:12]) and not inside.holds(marker.bytes[:12]), "the marker got out"
    data = [udp for udp in wire.datagrams(PORT) if udp.payload[:1] == b"\4" and len(udp.payload) > 32]
    assert not data, f"{len(data)} encrypted packets went out"
    until(lambda: a.device.drops().get("no_route", 0) - before >= 23, 10, "the drops, counted")
    assert ping(a.host, b.inner()) == 3
