"""Two layers that share nothing: an encrypted link in UDP, inside a WireGuard tunnel of the same daemons.

    x [lan] ---- a: bridge, msec0, in wg0 [wire] ==== [wire] b: wg0, around msec0, bridge ---- [lan] y
"""
from lab import link_secy as secy
from lab.capture import Capture
from lab.case import case
from lab.link import NAME, Link, passes
from lab.link_config import PORT
from lab.link_raw import Raw
from lab.link_station import DATA
from lab.site import PORT as TUNNEL_PORT
from lab.traffic import Marker, iperf3, ping
from lab.wireguard import keys


class Nested(Link):
    """A link whose other end is an address in a tunnel. `hosts` is the MTU of the hosts behind."""

    def __init__(self, net, link_keys):
        super().__init__(net, "udp", link_keys, mtu=1500)
        pairs = [keys() for _ in self.ends]
        for end, own, other in zip(self.ends, pairs, reversed(pairs)):
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
    wire = Capture(nest.a.host, "wire")
    nest.start(*nest.ends)
    nest.fit()
    assert passes(nest.x, "10.8.0.2", 15) is not None, nest.told()
    # What the tunnel's device carries is the wire with the outer layer taken off, by who has its keys: the kernel is given it.
    between = Capture(nest.a.host, nest.a.tunnel, link_header=0)
    marker = Marker("between the two layers")
    marker.send(nest.x, "10.8.0.2")
    assert ping(nest.x, "10.8.0.2") == 3
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
    assert passes(nest.x, "10.8.0.2", 15) is not None, nest.told()
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
