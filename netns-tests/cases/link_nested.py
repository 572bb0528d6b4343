"""Two layers that share nothing: an encrypted link in UDP, inside a WireGuard tunnel of the same daemons.

    x [lan] ---- a: bridge, msec0, in wg0 [wire] ==== [wire] b: wg0, around msec0, bridge ---- [lan] y
"""
from types import SimpleNamespace

from cases.forged import udp
from lab import frame, handmade
from lab import link_secy as secy
from lab.capture import Capture
from lab.case import case
from lab.cipher import open_
from lab.link import NAME, Link
from lab.link_config import PORT
from lab.link_raw import Raw
from lab.link_station import DATA
from lab.site import PORT as TUNNEL_PORT
from lab.traffic import Marker, iperf3, ping, reaches
from lab.wait import until
from lab.wireguard import keys


class Nested(Link):
    """A link whose other end is an address in a tunnel. `hosts` is the MTU of the hosts behind."""

    def __init__(self, net, link_keys):
        super().__init__(net, "udp", link_keys, mtu=1500)
        self.tunnels = [keys() for _ in self.ends]
        for end, own, other in zip(self.ends, self.tunnels, reversed(self.tunnels)):
            # UAPI sockets share one folder.
            end.tunnel = net.device(f"wg{end.number}")
            end.daemon.tunnel(end.tunnel, own, [f"10.9.0.{end.number}/24"])
            end.daemon.peer(end.tunnel, "other", other.public, [f"10.9.0.{end.other.number}/32"],
                            endpoint=f"192.0.2.{end.other.number}:{TUNNEL_PORT}")

    def carried(self, end, other):
        super().carried(end, other)
        return {"udp": {"listen": PORT, "peer": f"10.9.0.{other.number}:{PORT}"}}


@case(limit=60)
def layers(net):
    """On the wire there is the tunnel alone; with that layer taken off, the link alone; with both, what was sent."""
    nest = Nested(net, "static")
    for end in nest.ends:
        # A train would be one packet on the tunnel's device.
        end.daemon.config["gateway"]["offload"] = {"udp_gso": False}
    wire = Capture(nest.a.host, "wire")
    nest.start(*nest.ends)
    nest.fit()
    assert reaches(nest.x, "10.8.0.2", 15) is not None, nest.told()
    # What the tunnel's device carries is the wire with the outer layer taken off, by who has its keys: the kernel is given it.
    between = Capture(nest.a.host, nest.a.tunnel, link_header=0)
    marker = Marker("between the two layers")
    marker.send(nest.x, "10.8.0.2")
    assert ping(nest.x, "10.8.0.2") == 3
    until(lambda: len(between.datagrams(PORT)) >= 26, 10, "all that was sent, in the tunnel")
    wire.stop()
    between.stop()
    outer = wire.datagrams()
    assert outer and all(udp.target_port == TUNNEL_PORT == udp.source_port for udp in outer), "something beside the tunnel"
    assert all(udp.payload[0] in (1, 2, 3, 4) and udp.payload[1:4] == bytes(3) for udp in outer), "no WireGuard"
    inner = [udp for udp in between.datagrams(PORT) if udp.payload.startswith(DATA)]
    assert len(inner) >= 20, "the tunnel carries no link"
    for piece in (marker.bytes, marker.bytes[8:24]):
        assert not wire.holds(piece) and not between.holds(piece), "the marker can be read with one layer's key"
    # The link's key opens what is in the tunnel, and nothing that is on the wire.
    known = [nest.a.transmit, nest.b.transmit]
    opened = [found[0] for udp in inner if (found := opens(udp.payload[len(DATA):], known, nest))]
    assert len(opened) == len(inner), f"{len(opened)} of {len(inner)} opened: not all of it is the link's"
    assert any(marker.bytes in frame for frame in opened), "the marker is not in what both keys open"
    for udp in outer:
        for skip in range(0, 48, 4):
            assert not opens(udp.payload[skip:], known, nest), "the link's key opens something on the wire"


class ByHand(handmade.Handmade):
    """The far end of the tunnel, which has the keys of its session: it opens what a capture of the wire has."""

    def __init__(self, nest):
        end = nest.a
        outer = f"192.0.2.{end.number}"
        site = SimpleNamespace(keys=nest.tunnels[0], outer=lambda family: outer, endpoint=lambda: f"{outer}:{TUNNEL_PORT}")
        super().__init__(nest.b.host, site, TUNNEL_PORT)
        end.daemon.config["wireguard"][end.tunnel]["peer"]["other"]["public_key"] = self.keys.public

    def meet(self):
        """Waits for the handshake that the link's frames bring about."""
        initiation = self.receive(handmade.INITIATION, 10)
        assert initiation, "no handshake"
        self.send(self.respond(initiation))
        assert self.receive(handmade.DATA), "nothing under the session"

    def opened(self, sent):
        """The packet in a datagram of the wire, by the session's keys alone; empty of a keepalive."""
        key = self.receiving if sent.source != self.host_address() else self.sending
        return open_(key, handmade.nonce(int.from_bytes(sent.payload[8:16], "little")), sent.payload[16:], b"")

    @staticmethod
    def host_address():
        return "192.0.2.2"


@case(limit=60)
def each_key_alone(net):
    """On the wire the tunnel's session key opens datagrams of the link, unreadable; the link's key nothing; both what was sent."""
    nest = Nested(net, "static")
    far = ByHand(nest)
    wire = Capture(nest.a.host, "wire")
    nest.start(nest.a)
    nest.x.ip("neigh replace 10.8.0.2 lladdr 02:00:5e:10:00:77 dev lan nud permanent")
    there, back = Marker("to the far end, in two layers"), Marker("from the far end, in two layers")
    there.send(nest.x, "10.8.0.2")
    far.meet()
    there.send(nest.x, "10.8.0.2")
    # The far end says something too, layer by layer: what is opened here is what the daemon takes.
    lan = Capture(nest.x, "lan")
    said = secy.octets(nest.x.run("cat", "/sys/class/net/lan/address").strip()) + b"\2\0\0\0\0\7" + b"\x88\xb7" + back.bytes
    far.send(far.data(udp("10.9.0.2", "10.9.0.1", DATA + secy.seal(said, nest.b.transmit, nest.b.sci), PORT)))
    lan.wait_holds(back.bytes)
    data = lambda: [sent for sent in wire.datagrams(TUNNEL_PORT) if sent.payload[0] == handmade.DATA]
    until(lambda: len(data()) >= 22, 10, "what the link sends in the tunnel")
    wire.stop()

    known, layers = [nest.a.transmit, nest.b.transmit], data()
    inner = [packet for sent in layers if (packet := far.opened(sent))]
    carried = [frame.parse_udp(packet, 0) for packet in inner]
    # From another port than the daemon sent to: it answers there.
    strange = [packet.hex() for packet, one in zip(inner, carried)
               if not (one and PORT in (one.source_port, one.target_port) and one.payload.startswith(DATA))]
    assert len(carried) >= 20 and not strange, f"{len(carried)} packets; beside the link the tunnel carries {strange[:3]}"
    for marker in (there, back):
        assert not wire.holds(marker.bytes[8:24]), "the wire can be read"
        assert not any(marker.bytes[8:24] in packet for packet in inner), "the session's key alone opens both layers"
    assert not any(opens(sent.payload[skip:], known, nest) for sent in layers for skip in range(0, 48, 4)), \
        "the link's key alone opens something"
    opened = [opens(one.payload[len(DATA):], known, nest) for one in carried]
    assert all(opened), f"{opened.count(None)} of {len(opened)} do not open under the link's key"
    for marker in (there, back):
        assert any(marker.bytes in plain for plain, _ in opened), "what was sent is not in what both keys open"


def opens(frame, known, nest):
    """A frame opened under either end's key, whichever its SCI names."""
    tag = secy.parse(frame)
    if tag is None or tag.sci not in (nest.a.sci, nest.b.sci):
        return None
    return secy.opens(frame, [known[0] if tag.sci == nest.a.sci else known[1]])


@case(limit=60, link_keys=("noise", "static"))
def mtu_and_segments(net, link_keys):
    """The MTU that is left is worked out, and TCP of hosts with 1500 is clamped to it: segments as the device carries."""
    nest = Nested(net, link_keys)
    nest.start(*nest.ends)
    mtu = nest.a.device_mtu()
    assert mtu == 1342, f"the device has an MTU of {mtu}"
    # The hosts keep their 1500, so that only what the gateway does about it helps.
    assert reaches(nest.x, "10.8.0.2", 15) is not None, nest.told()
    seen = Raw(nest.y, "lan")
    for reverse in (False, True):
        flow = iperf3(nest.x, nest.y, "10.8.0.2", reverse=reverse, size="4M")
        assert flow.bytes > 1 << 20, flow
    sizes = [segment_size(frame) for frame in seen.frames if is_syn(frame)]
    assert sizes and max(sizes) <= mtu - 40, f"maximum segment sizes {sizes}"


def is_syn(frame):
    return frame[12:14] == b"\x08\0" and frame[23] == 6 and frame[14 + 20 + 13] & 2


def segment_size(frame):
    """The maximum segment size that a SYN tells of (RFC 9293, section 3.7.1), its first option as Linux has it."""
    at = 14 + 20 + 20
    assert frame[at:at + 2] == b"\x02\x04", f"no such option in {frame[at:at + 12].hex()}"
    return int.from_bytes(frame[at + 2:at + 4], "big")


@case(limit=60)
def nothing_is_shared(net):
    """The same private key for a tunnel and a link is refused: two layers would be broken at once."""
    nest = Nested(net, "noise")
    own = nest.a.daemon.config["wireguard"][nest.a.tunnel]["private_key_file"]
    nest.a.daemon.config["macsec"][NAME]["private_key_file"] = own
    code, output = nest.a.daemon.attempt()
    assert code == 2 and "the same key" in output, output
