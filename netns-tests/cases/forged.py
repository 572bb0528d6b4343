"""A peer that has the keys and lies: what it may say, what it is believed, and that each lie is counted."""
import base64
import ipaddress
import struct
import time

from lab import frame
from lab.capture import Capture
from lab.case import case
from lab.handmade import DATA, INITIATION, RESPONSE, Handmade
from lab.site import PORT, Site
from lab.traffic import ping
from lab.wait import until

# The points whose multiple by any private key is zero, as in RFC 7748, section 6.1; some in two encodings.
LOW_ORDER = (0, 1, 325606250916557431795983626356110631294008115727848805560023387167927233504,
             39382357235489614581723060781553021112529911719440698176882885853963445705823,
             2 ** 255 - 20, 2 ** 255 - 19, 2 ** 255 - 18)


#   a: adit ---- wire ---- b: what the case says
def met(net, family="v4", shake=True):
    """A site and a handmade peer, which may use 10.9.0.2 and fd09::2; another peer owns 10.9.0.3 and fd09::3."""
    a, b = net.host("a"), net.host("b")
    net.link(a, "wire", b, "wire")
    site, other = Site(a, "adit", 1, "wire"), Site(b, "adit", 3, "wire")
    site.address_wire()
    b.address("wire", "192.0.2.2/24", "2001:db8::2/64")
    peer = Handmade(b, site, PORT, family)
    site.device.environment["LOG_LEVEL"] = "info"
    site.start()
    own = f"[Peer]\nPublicKey = {peer.keys.public}\nAllowedIPs = 10.9.0.2/32, fd09::2/128\n"
    site.device.setconf(site.interface_conf() + own + other.peer_conf())
    if shake:
        peer.handshake()
    return site, peer


def udp(source, target, payload, port=7000):
    """An IP packet with a UDP datagram in it, all right."""
    source, target = ipaddress.ip_address(source), ipaddress.ip_address(target)
    length = 8 + len(payload)
    pseudo = source.packed + target.packed + (struct.pack("!BBH", 0, 17, length) if source.version == 4
                                              else struct.pack("!IxxxB", length, 17))
    head = struct.pack("!HHHH", 4000, port, length, 0)
    total = frame.checksum(pseudo + head + payload)
    datagram = head[:6] + struct.pack("!H", total or 0xFFFF) + payload
    if source.version == 6:
        return struct.pack("!IHBB", 6 << 28, length, 17, 64) + source.packed + target.packed + datagram
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + length, 0, 0, 64, 17, 0) + source.packed + target.packed
    return head[:10] + struct.pack("!H", frame.checksum(head)) + head[12:] + datagram


class Watch:
    """What a site drops and delivers from now on."""

    def __init__(self, site):
        self.site, self.before = site, site.device.drops()
        self.inside = Capture(site.host, site.device.name, link_header=0)

    def dropped(self):
        """By reason, without those of which there were none."""
        now = self.site.device.drops()
        return {reason: now[reason] - self.before.get(reason, 0) for reason in now
                if now[reason] > self.before.get(reason, 0) and reason != "no_route"}

    def until_dropped(self, wanted):
        """Waits until exactly these are counted."""
        try:
            until(lambda: self.dropped() == wanted, 15, "the drops", step=0.1)
        except Exception:
            raise AssertionError(f"dropped {self.dropped()}, wanted {wanted}") from None

    def came(self):
        """What came out of the tunnel; without what the site itself sends (from 10.9.0.1, fd09::1, fe80::)."""
        time.sleep(0.1)
        return [data for _, data in self.inside.caught_up().frames
                if data[12:16] != OWN_V4 and data[8:24] != OWN_V6 and data[8:10] != b"\xfe\x80"]


OWN_V4, OWN_V6 = ipaddress.ip_address("10.9.0.1").packed, ipaddress.ip_address("fd09::1").packed


@case(family=("v4", "v6"))
def sources(net, family):
    """Packets from addresses that are not the peer's are dropped and counted, in either IP; its own arrive."""
    site, peer = met(net, family)
    watch = Watch(site)
    targets = {4: "10.9.0.1", 6: "fd09::1"}
    for own in ("10.9.0.2", "fd09::2"):
        packet = udp(own, targets[ipaddress.ip_address(own).version], b"mine" * 9)
        peer.send(peer.data(packet))
        until(lambda: packet in watch.came(), 10, f"the packet from {own}")
    delivered = len(watch.came())
    lies = ["10.9.0.3", "10.9.0.4", "0.0.0.0", "255.255.255.255", "224.0.0.1", "127.0.0.1", "192.0.2.1", "10.8.255.2",
            "fd09::3", "fd09::4", "::", "::1", "ff02::1", "fe80::2", "::ffff:10.9.0.2", "::10.9.0.2", "2001:db8::1"]
    for lie in lies:
        peer.send(peer.data(udp(lie, targets[ipaddress.ip_address(lie).version], b"lie" * 9)))
    watch.until_dropped({"source": len(lies)})
    # Our own addresses are no peer's.
    for lie in ("10.9.0.1", "fd09::1"):
        peer.send(peer.data(udp(lie, targets[ipaddress.ip_address(lie).version], b"lie" * 9)))
    watch.until_dropped({"source": len(lies) + 2})
    assert len(watch.came()) == delivered, "a lie came through"
    assert not any(b"lielie" in data for _, data in watch.inside.frames), "a lie came through"


@case()
def lengths(net):
    """What is no whole IP packet is dropped and counted; padding of any length is taken off to the byte."""
    site, peer = met(net)
    watch = Watch(site)
    whole = {4: udp("10.9.0.2", "10.9.0.1", b"x" * 40), 6: udp("fd09::2", "fd09::1", b"x" * 40)}

    def length(version, value):
        """A packet whose header says that it has this many bytes (of payload, for IPv6)."""
        packet, at = bytearray(whole[version]), 2 if version == 4 else 4
        struct.pack_into("!H", packet, at, value)
        return bytes(packet)
    wrong = [whole[4][:cut] for cut in (1, 2, 15, 16, 17, 19)] + [whole[6][:cut] for cut in (1, 6, 16, 39)]
    # Longer than what is there, shorter than its own header.
    wrong += [length(4, value) for value in (len(whole[4]) + 13, 1500, 65535, 0, 1, 19)]
    wrong += [length(6, value) for value in (len(whole[6]) - 40 + 9, 1500, 65535)]
    # Of no version; a header shorter than any, one longer than the packet.
    wrong += [bytes([version << 4 | 5]) + whole[4][1:] for version in (0, 1, 5, 7, 8, 15)]
    wrong += [b"\x44" + whole[4][1:], b"\x40" + whole[4][1:]]
    # Padding to 1 byte, so that nothing after the packet hides that it is short.
    peer.send(*[peer.data(packet, pad=1) for packet in wrong])
    watch.until_dropped({"malformed": len(wrong)})
    assert not watch.came(), f"came through: {[data.hex() for data in watch.came()]}"
    right = [(packet, pad) for packet in whole.values() for pad in (0, 1, 7, 16, 100, 1000)]
    for packet, pad in right:
        peer.send(peer.data(packet + bytes(pad), pad=1))
    until(lambda: len(watch.came()) == len(right), 10, "all that was right")
    assert watch.came() == [packet for packet, _ in right], "padding was left"
    peer.send(*[peer.data(b"") for _ in range(5)])
    watch.until_dropped({"malformed": len(wrong)})


@case(family=("v4", "v6"))
def replayed_by_a_peer(net, family):
    """Each type of message sent again, also from elsewhere, is dropped and counted; endpoint and session stay."""
    site, peer = met(net, family, shake=False)
    endpoint = f"192.0.2.2:{PORT}" if family == "v4" else f"[2001:db8::2]:{PORT}"
    site.device.set("peer", peer.keys.public, "endpoint", endpoint)
    # It asks; it is told to bring a cookie, asks again after 5 s, and gets its answer.
    assert ping(site.host, "10.9.0.2", count=1, wait=0.1) == 0
    asked = peer.receive(INITIATION)
    watch, cookie = Watch(site), peer.cookie(asked)
    peer.send(cookie, cookie, cookie)
    watch.until_dropped({"cookie_stale": 2})
    response = peer.respond(asked)
    peer.send(response)
    assert peer.receive(DATA), "no session"
    again = Handmade(peer.host, site, PORT + 1, family)
    for sender in (peer, again):
        sender.send(response, response)
    watch.until_dropped({"cookie_stale": 2, "unknown_index": 4})
    # Now the other way round: it is asked.
    time.sleep(0.05)
    initiation = peer.initiation()
    peer.send(initiation)
    peer.finish(peer.receive(RESPONSE))
    packets = [peer.data(udp("10.9.0.2", "10.9.0.1", bytes([number]) * 20)) for number in range(20)]
    peer.send(*packets)
    until(lambda: len(watch.came()) == 20, 10, "the packets")
    state = site.device.state().peers[peer.keys.public]
    for sender in (peer, again):
        # Initiations are looked at 20 ms apart.
        for _ in range(3):
            time.sleep(0.03)
            sender.send(initiation)
        sender.send(*packets)
    watch.until_dropped({"cookie_stale": 2, "unknown_index": 4, "timestamp_replayed": 6, "replay": 40})
    assert len(watch.came()) == 20, "something came out twice"
    assert peer.receive(RESPONSE, 0.3) is None and again.receive(RESPONSE, 0.1) is None, "a replay was answered"
    after = site.device.state().peers[peer.keys.public]
    assert (after.endpoint, after.handshake) == (state.endpoint, state.handshake)
    peer.send(peer.data(udp("10.9.0.2", "10.9.0.1", b"still well")))
    until(lambda: len(watch.came()) == 21, 10, "the session after all that")


@case()
def counters(net):
    """Any counter is taken once, as far back as the window reaches; none at the limit of a key, ever."""
    site, peer = met(net)
    watch, limit = Watch(site), 2 ** 64 - 2 ** 13 - 1
    packet = udp("10.9.0.2", "10.9.0.1", b"counted")
    right = [5000, 4999, 100, 1 << 20, (1 << 20) - 8000, 1 << 63, limit - 1]
    for counter in right:
        peer.send(peer.data(packet, counter))
    until(lambda: len(watch.came()) == len(right), 10, "each of them")
    past = [limit, limit + 1, 2 ** 64 - 1]
    behind = [5000, 1 << 20, 1 << 63, limit - 8500, limit - 1]
    peer.send(*[peer.data(packet, counter) for counter in past + behind])
    until(lambda: sum(watch.dropped().values()) == len(past + behind), 15, "the drops", step=0.1)
    assert len(watch.came()) == len(right), f"too many came through; dropped {watch.dropped()}"
    assert watch.dropped().get("replay", 0) >= len(behind), watch.dropped()


@case()
def old_and_early_stamps(net):
    """An initiation with an older stamp than the last is refused, one of tomorrow is not, and then today's is."""
    site, peer = met(net)
    watch, now = Watch(site), time.time()
    for number, wall in enumerate((now - 1, now - 86_400, 0), 1):
        time.sleep(0.05)
        peer.send(peer.initiation(wall))
        watch.until_dropped({"timestamp_replayed": number})
    peer.send(peer.initiation(now + 86_400))
    assert peer.receive(RESPONSE), "a clock that is ahead was refused"
    time.sleep(0.05)
    peer.send(peer.initiation())
    watch.until_dropped({"timestamp_replayed": 4})
    assert peer.receive(RESPONSE, 0.2) is None


@case()
def low_order_points(net):
    """Keys of low order, a peer's or an ephemeral one, lead to no secret: nothing is sent, nothing answered."""
    site, peer = met(net, shake=False)
    watch, wire = Watch(site), Capture(site.host, site.wire)
    for number in LOW_ORDER:
        time.sleep(0.03)
        peer.send(peer.initiation(ephemeral_public=number.to_bytes(32, "little")))
    watch.until_dropped({"bad_handshake": len(LOW_ORDER)})
    for number in LOW_ORDER:
        name = base64.b64encode(number.to_bytes(32, "little")).decode()
        site.device.set("peer", name, "persistent-keepalive", 1, "endpoint", "192.0.2.2:51820")
    time.sleep(1.5)
    wire.stop()
    sent = [datagram for datagram in wire.datagrams(PORT) if datagram.source == "192.0.2.1"]
    assert not sent, f"sent messages of type {[datagram.payload[0] for datagram in sent]}"
    peer.handshake()
