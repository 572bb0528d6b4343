"""Somebody on the wire: forged, cut, oversized, copied and replayed frames, and a station that says it is ours.

    x: host [lan] ---- a: bridge, msec0 [wire] ==== switch ==== [wire] b: msec0, bridge ---- [lan] y: host
"""
import os
import random
import socket
import struct
import time

from lab import link_secy as secy
from lab.capture import Capture
from lab.case import case
from lab.link import Link, association
from lab.link_config import PORT
from lab.link_switch import Switch
from lab.process import resident
from lab.traffic import Marker, ping
from lab.wait import until

# Every way in which the standard says that a frame was not taken.
REFUSED = ("InPktsNoTag", "InPktsBadTag", "InPktsUnknownSCI", "InPktsNoSCI", "InPktsNotUsingSA", "InPktsUnusedSA",
           "InPktsInvalid", "InPktsNotValid", "InPktsLate")


class Scene:
    """A link with traffic, whose hosts then say nothing more of their own: what comes out is the stranger's doing."""

    def __init__(self, net, keys="noise", **more):
        self.switch = Switch()
        self.link = Link(net, keys=keys, middle=self.switch.between, **more)
        self.watch = self.switch.watch()
        self.link.start()
        self.link.both_ways()
        assert ping(self.link.x, "10.8.0.2", count=20, size=200) == 20
        self.link.hush()
        self.genuine = self.watch.caught_up().protected()

    def from_a(self):
        """The genuine frames of a: those that carry what x sent."""
        mac = bytes.fromhex(self.link.x.run("cat", "/sys/class/net/lan/address").strip().replace(":", ""))
        return [frame for frame in self.genuine if frame[6:12] == mac]

    def inject(self, frames, reasons=REFUSED, at_least=None):
        """Injects towards b: nothing comes out of either device, and b has refused each frame for one of these reasons."""
        frames = list(frames)
        before = [end.came_out() for end in self.link.ends]
        counts, memory = self.link.b.counts(), self.memory()
        counts = {name: counts[name] for name in REFUSED}
        for frame in frames:
            self.switch.inject("right", frame)
        wanted = len(frames) if at_least is None else at_least

        def grown():
            now = self.link.b.counts()
            return {name: now[name] - counts[name] for name in REFUSED if now[name] > counts[name]}
        self.link.until(lambda: sum(grown().values()) >= wanted, 15, f"{wanted} refused", 0.1)
        found = grown()
        assert set(found) <= set(reasons), f"refused for other reasons: {found}"
        assert [end.came_out() for end in self.link.ends] == before, "something came out"
        assert self.memory() - memory < 8 << 10, "memory grew by more than 8 MiB"
        self.link.both_ways()
        return found

    def memory(self):
        daemon = self.link.b.daemon
        return resident(daemon.process.pid) if daemon.process else 0


def refused(end):
    """How many frames an end has refused so far."""
    counts = end.counts()
    return sum(counts[name] for name in REFUSED)


@case(limit=60)
def forged(net):
    """A frame of which any octet is changed is refused and counted, wherever the octet is."""
    scene = Scene(net)
    frame = scene.from_a()[-1]
    # Not the addresses' first bit, by which the switch would send it elsewhere; nor the EtherType, which is another case.
    places = [*range(6, 12), *range(14, len(frame))]
    changed = [frame[:at] + bytes((frame[at] ^ 1 << at % 8,)) + frame[at + 1:] for at in places if at != 6 or at % 8]
    scene.inject(changed)


@case(limit=60)
def truncated(net):
    """A frame that ends early, at whatever octet, is refused; the kernel has what is shorter than a header."""
    scene = Scene(net)
    frame = scene.from_a()[-1]
    scene.inject([frame[:length] for length in range(16, len(frame))])


@case(limit=60)
def prolonged(net):
    """A frame with octets behind its end is refused; what is longer than the link takes is dropped, and nothing breaks."""
    scene = Scene(net)
    frame = scene.from_a()[-1]
    scene.inject([frame + bytes(more) for more in (1, 2, 100, 1200)])
    scene.switch.middle.ip("link set bridge mtu 9000")
    scene.switch.middle.ip("link set right mtu 9000")
    before = [end.came_out() for end in scene.link.ends]
    for length in (1700, 2000, 4096, 9000):
        try:
            scene.switch.inject("right", (frame + os.urandom(9000))[:length])
        except OSError:
            pass        # a cable of 1600 octets carries no more
    time.sleep(0.2)
    assert [end.came_out() for end in scene.link.ends] == before
    scene.link.both_ways()


@case(limit=60)
def malformed_tags(net):
    """SecTAGs against the rules of the standard: version, SC with ES or SCB, C without E, reserved bits, lengths, PN 0."""
    scene = Scene(net, keys="static", suite="gcm-aes-128")
    key, sci, clear = scene.link.a.transmit, scene.link.a.sci, scene.from_a()[-1][:12] + b"\x88\xb6" + bytes(60)
    good = 0x2C
    # Each sealed under the right key: what is refused is the tag, not what is wrong with the seal.
    bad = [secy.seal(clear, key, sci, 0)]
    # A version, ES beside an SCI, SCB beside an SCI, C without E.
    for tci in (good | secy.VERSION, good | secy.ES, good | secy.SCB, secy.SC | secy.C):
        bad += [secy.seal(clear, key, sci, 1 << 20, tci=tci)] * 3
    # A reserved bit, the other one, a short length of 48, one of 63.
    for octet in (0x40, 0x80, 48, 63):
        frame = bytearray(secy.seal(clear, key, sci, 1 << 20))
        frame[15] = octet
        bad.append(bytes(frame))
    scene.inject(bad, ("InPktsBadTag",))


@case(keys=("noise", "static"), limit=60)
def replayed(net, keys):
    """Every frame that was on the wire, put there again, in order and in reverse, is late."""
    scene = Scene(net, keys)
    frames = scene.from_a()
    assert len(frames) > 20
    scene.inject(frames, ("InPktsLate",))
    scene.inject(reversed(frames), ("InPktsLate",))


@case(limit=60)
def reflected(net):
    """What an end sent comes back to itself: it is of an SCI that it does not know, its own."""
    scene = Scene(net)
    before, came = refused(scene.link.a), scene.link.a.came_out()
    frames = scene.from_a()
    scene.switch.inject("left", *frames)
    until(lambda: refused(scene.link.a) >= before + len(frames), 15, "refused by a", 0.1)
    assert scene.link.a.came_out() == came, "a took its own frames"
    scene.link.both_ways()


@case(limit=60)
def our_sci(net):
    """A station that uses the SCI of an end, under a key of its own, changes nothing but counters."""
    scene = Scene(net, keys="static")
    stranger = association(scene.link.a.table["cipher"], 9)
    clear = scene.from_a()[-1][:12] + b"\x08\0" + Marker("stranger").bytes
    frames = [secy.seal(clear, stranger, scene.link.a.sci, number) for number in range(1 << 20, (1 << 20) + 50)]
    grown = scene.inject(frames, ("InPktsNotValid",))
    # Packet numbers of what is not authentic move no window: the genuine ones, which are lower, still pass.
    assert grown["InPktsNotValid"] >= 50, grown
    assert ping(scene.link.x, "10.8.0.2", count=10, interval=0.01) == 10


@case(limit=60)
def other_association(net):
    """Frames under an AN that has no key, and of stations that nobody knows, are refused."""
    scene = Scene(net, keys="static")
    stranger = association(scene.link.a.table["cipher"], 9)
    clear = scene.from_a()[-1][:12] + b"\x08\0" + bytes(100)
    unused = []
    for an in (1, 2, 3):
        stranger.an = an
        unused.append(secy.seal(clear, stranger, scene.link.a.sci, 1 << 20))
    scene.inject(unused, ("InPktsNotUsingSA", "InPktsUnusedSA"))
    scene.inject([secy.seal(clear, stranger, os.urandom(8), 1 << 20) for _ in range(50)], ("InPktsNoSCI", "InPktsUnknownSCI"))


@case(limit=60)
def garbage(net):
    """Thirty thousand frames of noise with our EtherTypes: no memory, no end of the daemon, and traffic goes on."""
    scene = Scene(net)
    dice, head = random.Random(5), scene.from_a()[-1][:12]
    before, memory = [end.came_out() for end in scene.link.ends], scene.memory()
    refusals = refused(scene.link.b)
    for number in range(30_000):
        kind = (secy.MACSEC, secy.NOISE, secy.EAPOL)[number % 3]
        scene.switch.inject("right", head + struct.pack("!H", kind) + dice.randbytes(dice.choice((2, 10, 46, 148, 500, 1400))))
    scene.link.until(lambda: refused(scene.link.b) > refusals + 500, 15, "the noise, refused", 0.1)
    assert [end.came_out() for end in scene.link.ends] == before, "something came out"
    assert scene.memory() - memory < 16 << 10, "memory grew by more than 16 MiB"
    scene.link.both_ways()


@case(limit=60)
def handshake_replayed(net):
    """Handshake messages of the capture, put on the wire again, make no new session and break none."""
    scene = Scene(net)
    told = scene.link.b.daemon.status()["macsec"]["uplink"]["key_agreement"]["handshakes"]
    messages = [frame for _, frame in scene.watch.frames if secy.ether_type(frame)[0] == secy.NOISE]
    assert len(messages) >= 2, "no handshake was seen"
    for frame in messages * 20:
        scene.switch.inject("right", frame)
        scene.switch.inject("left", frame)
    time.sleep(0.5)
    assert scene.link.b.daemon.status()["macsec"]["uplink"]["key_agreement"]["handshakes"] == told, "a session was made"
    scene.link.both_ways()


@case(limit=60)
def over_udp(net):
    """Datagrams of anybody: of other types, cut, forged, replayed, from another address; none comes out."""
    link = Link(net, "udp")
    wire = Capture(link.a.host, "wire")
    # b is there first, so that it has had all that a sends: a message that never arrived is no replay from anywhere.
    link.start(link.b, link.a)
    link.fit()
    link.both_ways()
    assert ping(link.x, "10.8.0.2", count=20) == 20
    link.hush()
    genuine = [udp.payload for udp in wire.caught_up().datagrams(PORT) if udp.source == "192.0.2.1"]
    data = [payload for payload in genuine if payload[0] == 16]
    assert len(data) > 20 and any(payload[0] in (1, 2) for payload in genuine), "no handshake and data in the capture"
    link.a.host.address("wire", "192.0.2.66/24")
    outlet = link.a.host.socket(socket.AF_INET, socket.SOCK_DGRAM)
    outlet.bind(("192.0.2.66", PORT + 1))
    before, refusals = link.b.came_out(), refused(link.b)
    last = data[-1]
    bad = [*data, *genuine, b"", b"\x10", bytes(4), last[:4], *(last[:length] for length in range(0, len(last), 7)),
           *(last[:at] + bytes((last[at] ^ 1,)) + last[at + 1:] for at in range(len(last))),
           *(bytes((kind, 0, 0, 0)) + os.urandom(144) for kind in range(256)), os.urandom(1400)]
    for payload in bad:
        outlet.sendto(payload, ("192.0.2.2", PORT))
    # Each of those that were replayed has been looked at by then.
    link.until(lambda: refused(link.b) >= refusals + len(data), 15, "the refusals", 0.1)
    assert link.b.came_out() == before, "a datagram of a stranger came out"
    endpoint = link.b.daemon.status()["macsec"]["uplink"]["udp"]["endpoint"]
    assert endpoint == f"192.0.2.1:{PORT}", f"the endpoint moved to {endpoint}"
    link.both_ways()
