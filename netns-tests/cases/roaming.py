"""Outer addresses that change, and which of several is used."""
import time

from lab.capture import Capture
from lab.case import case
from lab.site import PORT, wired
from lab.traffic import Sequence, iperf3, ping, reaches


#   a: adit ---- wire ---- b: peer, 192.0.2.2, later 192.0.2.22
# wireguard-go cannot be the one that moves: on current kernels it clings to the source address that is gone, because
# it takes only EINVAL as the sign of it, and Linux now says ENETUNREACH.
@case(alone=True, peer=("adit", "gotatun-cli"), family=("v4", "v6"))
def peer_moves(net, peer, family):
    """The peer's outer address changes in the middle of its flow: adit follows with the next authentic packet."""
    pair = wired(net, right=peer, family=family).start()
    a, b = pair.left, pair.right
    assert ping(a.host, b.inner()) == 3
    up, down = Sequence(b.host, a.host, a.inner(), 7000), Sequence(a.host, b.host, b.inner(), 7001)
    time.sleep(0.3)
    old, new = (f"{b.outer()}/24", "192.0.2.22/24") if family == "v4" else (f"{b.outer('v6')}/64", "2001:db8::22/64")
    b.host.address(b.wire, new)
    b.host.ip(f"address del {old} dev {b.wire}")
    time.sleep(0.7)
    sent, got = (up.sent, down.sent), (up.stop(), down.stop())
    for number, numbers in zip(sent, got):
        assert len(numbers) > 0.8 * number, f"{len(numbers)} of {number} arrived"
        assert number - numbers[-1] < 20, "the flow stopped"
    assert a.peer_state(b).endpoint.startswith(("192.0.2.22:", "[2001:db8::22]:")), a.peer_state(b).endpoint


#   a: adit, 192.0.2.1, later 192.0.2.11 ---- wire ---- b: peer
@case(alone=True, peer=("adit", "wireguard-go"), family=("v4", "v6"))
def adit_moves(net, peer, family):
    """adit's own outer address changes under a flow: it sends from the new one, and the peer follows."""
    pair = wired(net, right=peer, family=family).start()
    a, b = pair.left, pair.right
    assert ping(a.host, b.inner()) == 3
    up = Sequence(a.host, b.host, b.inner(), 7000)
    time.sleep(0.3)
    old, new = (f"{a.outer()}/24", "192.0.2.11/24") if family == "v4" else (f"{a.outer('v6')}/64", "2001:db8::11/64")
    a.host.address(a.wire, new)
    a.host.ip(f"address del {old} dev {a.wire}")
    time.sleep(0.7)
    sent, numbers = up.sent, up.stop()
    assert len(numbers) > 0.8 * sent and sent - numbers[-1] < 20, f"{len(numbers)} of {sent} arrived"
    assert b.peer_state(a).endpoint.startswith(("192.0.2.11:", "[2001:db8::11]:"))
    assert ping(b.host, a.inner()) == 3, "nothing back to the new address"


#   a: adit ---- wire ---- b: adit
@case()
def tcp_survives(net):
    """A TCP flow goes on while the peer changes its address twice."""
    pair = wired(net).start()
    a, b = pair.left, pair.right
    assert ping(a.host, b.inner()) == 3
    server = a.host.start("iperf3", "-s", "-1", "--forceflush")
    server.wait_output("Server listening", 15)
    client = b.host.start("iperf3", "-c", a.inner(), "-t", 3, "-i", "0.5", "--forceflush")
    for old, new in ((2, 22), (22, 23)):
        time.sleep(0.8)
        b.host.address(b.wire, f"192.0.2.{new}/24")
        b.host.ip(f"address del 192.0.2.{old}/24 dev {b.wire}")
    assert client.wait(20) == 0, client.output()
    assert a.peer_state(b).endpoint.startswith("192.0.2.23:")


#   a: adit, 192.0.2.1 and 192.0.2.11 ---- wire ---- b: peer, talks to 192.0.2.11
@case(peer=("adit", "wireguard-go"), family=("v4", "v6"))
def sticky_source(net, peer, family):
    """With several addresses on the wire, adit answers from the one that was contacted, handshake and data."""
    pair = wired(net, right=peer, family=family)
    a, b = pair.left, pair.right
    a.host.address(a.wire, "192.0.2.11/24", "2001:db8::11/64")
    # The address the kernel would choose by itself is the first one, in either family.
    a.host.ip(f"-6 address change {a.outer('v6')}/64 dev {a.wire} preferred_lft forever")
    second = "192.0.2.11" if family == "v4" else "2001:db8::11"
    pair.start(first=b)
    wire = Capture(a.host, a.wire)
    port = f"{second}:{PORT}" if family == "v4" else f"[{second}]:{PORT}"
    for chosen in (port, a.endpoint(family), port):
        b.device.set("peer", a.keys.public, "endpoint", chosen)
        seen = len(wire.caught_up().datagrams(PORT))
        assert ping(b.host, a.inner()) == 3
        assert ping(a.host, b.inner()) == 3
        time.sleep(0.1)
        wanted = chosen.rpartition(":")[0].strip("[]")
        outer = (b.outer(family))
        sources = {udp.source for udp in wire.caught_up().datagrams(PORT)[seen:] if udp.target == outer}
        assert sources == {wanted}, f"contacted at {wanted}, answered from {sources}"
    wire.stop()


#   a: adit, the contacted address is taken away ---- wire ---- b: peer
@case(peer=("adit", "wireguard-go"))
def sticky_source_goes(net, peer):
    """When the contacted address is removed, adit sends from another one instead of failing for ever."""
    pair = wired(net, right=peer)
    a, b = pair.left, pair.right
    a.host.address(a.wire, "192.0.2.11/24")
    pair.start(first=b)
    b.device.set("peer", a.keys.public, "endpoint", f"192.0.2.11:{PORT}")
    assert ping(b.host, a.inner()) == 3
    a.host.ip(f"address del 192.0.2.11/24 dev {a.wire}")
    assert reaches(a.host, b.inner()) is not None, "nothing goes out any more"
    assert ping(b.host, a.inner()) == 3, "b did not follow"


#   a: adit, port changes ---- wire ---- b: peer
@case(peer=("adit", "wireguard-go"))
def listen_port_changes(net, peer):
    """A new listen port takes effect under a running session: the peer follows, the old port is closed."""
    pair = wired(net, right=peer).start()
    a, b = pair.left, pair.right
    assert ping(a.host, b.inner()) == 3
    handshake = a.peer_state(b).handshake
    a.device.set("listen-port", 51999)
    assert ping(a.host, b.inner()) == 3
    assert b.peer_state(a).endpoint == f"{a.outer()}:51999"
    assert ping(b.host, a.inner()) == 3
    assert a.peer_state(b).handshake == handshake, "a new handshake was made"
    open_ports = a.host.run("ss", "-Hunl")
    assert ":51999 " in open_ports and f":{PORT} " not in open_ports, open_ports


#   a: adit ==== two wires ==== b: adit, 198.51.100.2 behind either; the mark chooses the wire
@case(family=("v4", "v6"))
def fwmark_chooses_the_route(net, family):
    """Sent packets carry the firewall mark: an ip rule sends them over another wire, at once when it changes."""
    pair = wired(net, family=family)
    a, b = pair.left, pair.right
    net.link(a.host, "other", b.host, "other")
    a.host.address("other", "203.0.113.1/24", "2001:db8:1::1/64")
    b.host.address("other", "203.0.113.2/24", "2001:db8:1::2/64")
    far, vias, ip = {"v4": ("198.51.100.2", ("192.0.2.2", "203.0.113.2"), ""),
                     "v6": ("2001:db8:2::2", ("2001:db8::2", "2001:db8:1::2"), "-6 ")}[family]
    b.host.address("lo", f"{far}/32" if family == "v4" else f"{far}/128")
    a.host.route(f"{far} via {vias[0]}", f"{far} via {vias[1]} table 100")
    a.host.ip(f"{ip}rule add fwmark 0x51 table 100")
    pair.start(first=a)
    a.device.set("peer", b.keys.public, "endpoint", f"{far}:{PORT}" if family == "v4" else f"[{far}]:{PORT}")
    counted = {}
    for mark, wire in (("0", "wire"), ("0x51", "other"), ("off", "wire")):
        a.device.set("fwmark", mark)
        captures = {name: Capture(a.host, name) for name in ("wire", "other")}
        assert ping(a.host, b.inner()) == 3, f"mark {mark}"
        for name, capture in captures.items():
            capture.stop()
            counted[name] = len([udp for udp in capture.datagrams(PORT) if udp.target == far])
        unused = "other" if wire == "wire" else "wire"
        assert counted[wire] >= 3 and counted[unused] == 0, f"mark {mark}: {counted}"


#   a: adit, 192.0.2.1 and .11 ==== two wires ==== b: peer, 198.51.100.2 behind either; b talks to 192.0.2.11
@case(peer=("adit", "wireguard-go"), change=("fwmark", "listen-port"))
def sticky_source_is_forgotten(net, peer, change):
    """A new mark or listen port may mean another route: the source is chosen anew, not the one contacted before."""
    pair = wired(net, right=peer)
    a, b, far = pair.left, pair.right, "198.51.100.2"
    net.link(a.host, "other", b.host, "other")
    a.host.address("other", "203.0.113.1/24")
    b.host.address("other", "203.0.113.2/24")
    a.host.address(a.wire, "192.0.2.11/24")
    b.host.address("lo", f"{far}/32")
    a.host.route(f"{far} via 192.0.2.2", f"{far} via 203.0.113.2 table 100")
    a.host.ip("rule add fwmark 0x51 table 100")
    for link, subnet in (("wire", "192.0.2.0/24"), ("other", "203.0.113.0/24")):
        b.host.ip(f"route replace {subnet} dev {link} src {far}")
    pair.start(first=a)
    a.device.set("peer", b.keys.public, "endpoint", f"{far}:{PORT}")
    assert ping(a.host, b.inner()) == 3

    def sources(link, action):
        """Where adit's packets come from on a link while `action` runs."""
        wire = Capture(a.host, link)
        assert action() == 3
        wire.stop()
        return {udp.source for udp in wire.datagrams() if udp.target == far}
    b.device.set("peer", a.keys.public, "endpoint", f"192.0.2.11:{PORT}")
    assert ping(b.host, a.inner()) == 3
    contacted = sources("wire", lambda: ping(a.host, b.inner()))
    assert contacted == {"192.0.2.11"}, f"not sticky: {contacted}"
    if change == "fwmark":
        a.device.set("fwmark", "0x51")
        link, wanted = "other", "203.0.113.1"
    else:
        a.device.set("listen-port", 51999)
        link, wanted = "wire", "192.0.2.1"
    chosen = sources(link, lambda: ping(a.host, b.inner()))
    assert chosen == {wanted}, f"after the change it sends from {chosen}"
    assert ping(b.host, a.inner()) == 3, "b did not follow"


#   a: adit ---- wire ---- b: adit
@case()
def family_changes(net):
    """An endpoint set from IPv4 to IPv6 and back is used at once, with the same session."""
    pair = wired(net).start()
    a, b = pair.left, pair.right
    assert ping(a.host, b.inner()) == 3
    for family in ("v6", "v4", "v6"):
        a.device.set("peer", b.keys.public, "endpoint", b.endpoint(family))
        assert ping(a.host, b.inner()) == 3
        assert b.peer_state(a).endpoint == a.endpoint(family)
    assert iperf3(a.host, b.host, b.inner(), size="2M").bytes > 1 << 19
