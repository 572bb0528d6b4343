"""MACsec with the guest's kernel, under static keys.

    a: msec0, ours [wire] ---- middle: bridge ---- [eth0] b: the guest's kernel, macsec0
"""
import os

from lab import link_secy as secy
from lab.capture import Capture
from lab.case import case
from lab.daemon import Daemon
from lab.link import BY_HAND, association, copy
from lab.link_config import counters, put, set_numbers, static
from lab.link_guest import Cable
from lab.link_kernel import MAC as KERNEL_MAC, SCI as KERNEL_SCI, KernelLink
from lab.link_raw import Raw, Tagged
from lab.link_secy import Association
from lab.link_station import Station
from lab.traffic import Marker, iperf3, ping
from lab.wait import until

# ADIT_LINK=by-hand: a station by hand in the daemon's place shows the cases to be right.
MAC = "02:00:5e:10:00:01"
SCI = secy.octets(MAC) + b"\0\1"
# A host behind ours.
HOST = "02:00:5e:10:00:99"


class Scene:
    """Both ends with their keys: `a` is ours, `b` the kernel.

    `sent` and `answered` are the associations of ours and of the kernel. More words go to both ends.
    """

    def __init__(self, net, suite="gcm-aes-256", sent=None, answered=None, known=None, encrypt=True,
                 sci_mode="included", window=None, our_window=0, clear=0, kernel_link="eth0"):
        self.cable, self.suite = Cable(net), suite
        self.a, self.b = self.cable.a, self.cable.b
        self.sent = sent or association(suite, 1)
        self.answered = answered or association(suite, 2)
        self.wire = Capture(self.cable.middle, "left")
        if kernel_link != "eth0":
            self.b.ip(f"link add link eth0 name {kernel_link} type vlan id 7")
            self.b.ip(f"link set {kernel_link} up")
        # What ours knows of the kernel; another copy, as either side counts for itself.
        known = known or copy(self.answered)
        self.start(known, encrypt, sci_mode, our_window, clear)
        self.kernel = KernelLink(self.b, suite, self.answered, SCI, {self.sent.an: self.sent}, encrypt, sci_mode,
                                 window, kernel_link)
        self.a.address("msec0", "10.8.0.1/24", "fd08::1/64")
        self.b.address("macsec0", "10.8.0.2/24", "fd08::2/64")

    def start(self, known, encrypt, sci_mode, window, clear):
        if BY_HAND:
            # It sends under a copy, since the kernel is told where to begin.
            self.station = Station(self.a, "wire", "msec0", MAC, copy(self.sent), KERNEL_SCI, {known.an: known}, encrypt, sci_mode,
                                   window, clear)
            return
        self.daemon = Daemon(self.a)
        table = static(self.daemon, "uplink", self.suite, self.sent, KERNEL_SCI, {known.an: known})
        table.update(link="wire", tap="msec0", mac=MAC, mtu=1400, sci=sci_mode, replay_window=window, clear_tags=clear)
        table.update({} if encrypt else {"integrity_only": True, "allow_integrity_only": True})
        put(self.daemon, "uplink", table)
        self.daemon.start()
        if self.sent.number > 1:
            self.daemon.stop()
            set_numbers(self.daemon, self.sent.number)
            self.daemon.start()

    def counts(self):
        """Our counters, by the standard's names."""
        return self.station.counts if BY_HAND else counters(self.daemon, "uplink")

    def both_ways(self):
        assert ping(self.a, "10.8.0.2") == 3, f"no echo from the kernel; {self.all()}"
        assert ping(self.b, "10.8.0.1") == 3, f"no echo to the kernel; {self.all()}"

    def all(self):
        """What both ends count, for the report of a failure."""
        return f"ours {dict(self.counts())}, the kernel's {self.kernel.counters()}"

    def frames(self, source):
        """The frames of one end on the wire so far, but those to groups: the guest's card has joined none."""
        mac = secy.octets(source)
        frames = [frame for _, frame in list(self.wire.caught_up().frames) if frame[6:12] == mac]
        return [frame for frame in frames if not frame[0] & 1 or frame[:6] == b"\xff" * 6]

    def hush(self):
        """Neither end asks for the other's address any more, nor has an IPv6 stack: what comes now somebody else sent."""
        self.a.sysctl("net.ipv6.conf.msec0.disable_ipv6", 1)
        self.b.shell("echo 1 > /proc/sys/net/ipv6/conf/macsec0/disable_ipv6")
        self.a.ip(f"neigh replace 10.8.0.2 lladdr {KERNEL_MAC} dev msec0 nud permanent")
        self.b.ip(f"neigh replace 10.8.0.1 lladdr {MAC} dev macsec0 nud permanent")

    def protected_only(self):
        """What the wire has seen but MACsec, each EtherType once."""
        return {f"{kind:#06x}" for _, frame in list(self.wire.frames)
                if (kind := secy.ether_type(frame, 1)[0]) != secy.MACSEC}


@case(limit=60, suite=secy.SUITES)
def suites(net, suite):
    """Both IPs and every size both ways, TCP both ways, an AN that is not 0; on the wire nothing but MACsec."""
    sent, answered = association(suite, 1, an=1), association(suite, 2, an=3)
    scene = Scene(net, suite, sent, answered)
    scene.both_ways()
    # Up to 47 octets of secure data the tag tells the length, and the frame on the wire is padded or not.
    for size in (*range(0, 24), 56, 500, 1372):
        assert ping(scene.a, "10.8.0.2", 1, size=size, fragment=False) == 1, f"{size} bytes; {scene.all()}"
    assert ping(scene.a, "fd08::2") == 3 and ping(scene.b, "fd08::1") == 3, "no echo over IPv6"
    for reverse in (False, True):
        flow = iperf3(scene.a, scene.b, "10.8.0.2", reverse=reverse, size="2M")
        assert flow.bytes > 1 << 20, flow
    kernel, counts = scene.kernel.counters(), scene.counts()
    assert kernel["InPktsOK"] > 100 and kernel["InPktsNotValid"] == 0, kernel
    assert counts["InPktsOK"] > 100, scene.all()
    scene.wire.stop()
    # A bridge that comes up is told of by nobody: the middle has neither IP nor spanning tree.
    assert not scene.protected_only(), scene.protected_only()
    opened = [secy.opens(frame, [scene.answered]) for frame in scene.frames(KERNEL_MAC)]
    assert opened and all(opened), "frames of the kernel that its key does not open: the capture shows something else"


@case(suite=("gcm-aes-xpn-128", "gcm-aes-xpn-256"))
def past_32_bits(net, suite):
    """Extended packet numbers of the kernel pass 2^32: the upper half, which the wire does not show, is found by ours."""
    answered = association(suite, 2, number=(1 << 32) - 40)
    known = Association(answered.key, 0, answered.salt, answered.ssci)
    scene = Scene(net, suite, answered=answered, known=known)
    assert ping(scene.a, "10.8.0.2", count=100, interval=0.01) == 100, scene.all()
    low = [secy.parse(frame).number for frame in scene.frames(KERNEL_MAC)]
    assert low[0] > 0xFFFFFF00 and low[-1] < 1000, f"the numbers did not pass 2^32: {low[0]:#x} to {low[-1]:#x}"


@case(suite=("gcm-aes-xpn-128", "gcm-aes-xpn-256"))
def past_32_bits_out(net, suite):
    """Extended packet numbers of ours pass 2^32, and the kernel follows."""
    sent = association(suite, 1, number=(1 << 32) - 40)
    scene = Scene(net, suite, sent=sent)
    assert ping(scene.a, "10.8.0.2", count=100, interval=0.01) == 100, scene.all()
    low = [secy.parse(frame).number for frame in scene.frames(MAC)]
    assert low[0] > 0xFFFFFF00 and low[-1] < 1000, f"the numbers did not pass 2^32: {low[0]:#x} to {low[-1]:#x}"


@case(suite=("gcm-aes-128", "gcm-aes-xpn-256"))
def replayed(net, suite):
    """With a window of 0 every frame of the wire, put there again, is late at either end, and nobody hears of it."""
    scene = Scene(net, suite, window=0, our_window=0)
    scene.hush()
    scene.both_ways()
    before, heard = (scene.kernel.counters(), scene.counts()["InPktsLate"]), scene.a.statistic("msec0", "rx_packets")
    ours_, kernels = scene.frames(MAC), scene.frames(KERNEL_MAC)
    assert len(ours_) > 5 and len(kernels) > 5
    scene.cable.inject("guest", *ours_)
    scene.cable.inject("left", *kernels)
    until(lambda: scene.kernel.counters()["InPktsLate"] >= before[0]["InPktsLate"] + len(ours_), 15, "late at the kernel", 0.1)
    until(lambda: scene.counts()["InPktsLate"] >= before[1] + len(kernels), 15, "late at ours", 0.1)
    assert scene.kernel.counters()["InPktsOK"] == before[0]["InPktsOK"], "the kernel took a frame twice"
    assert scene.a.statistic("msec0", "rx_packets") == heard, "ours took a frame twice"
    scene.both_ways()


@case()
def window(net):
    """Within a window of 16 frames may overtake one another, at either end; what lies behind it is late."""
    scene = Scene(net, "gcm-aes-128", window=16, our_window=16)
    scene.both_ways()
    for side, frames, late in (
            ("guest", scene.frames(MAC), lambda: scene.kernel.counters()["InPktsLate"]),
            ("left", scene.frames(KERNEL_MAC), lambda: scene.counts()["InPktsLate"])):
        # The newest lies in the window, where the standard takes it a second time.
        before = late()
        scene.cable.inject(side, frames[-1])
        scene.both_ways()
        assert late() == before, f"{side}: a frame in the window is late; {scene.all()}"
    assert ping(scene.a, "10.8.0.2", count=20, interval=0.01) == 20
    before = scene.kernel.counters()["InPktsLate"], scene.counts()["InPktsLate"]
    scene.cable.inject("guest", scene.frames(MAC)[0])
    scene.cable.inject("left", scene.frames(KERNEL_MAC)[0])
    until(lambda: scene.kernel.counters()["InPktsLate"] == before[0] + 1, 15, "late at the kernel", 0.1)
    until(lambda: scene.counts()["InPktsLate"] == before[1] + 1, 15, "late at ours", 0.1)


@case(suite=("gcm-aes-256", "gcm-aes-xpn-128"))
def integrity_only(net, suite):
    """With integrity alone everything can be read on the wire, and an octet that is changed there is noticed by both."""
    scene = Scene(net, suite, encrypt=False)
    assert ping(scene.a, "10.8.0.2", size=600) == 3 and ping(scene.b, "10.8.0.1", size=600) == 3, scene.all()
    marker = Marker("to be read by all")
    marker.send(scene.a, "10.8.0.2")
    # What is not encrypted can be read.
    scene.wire.wait_holds(marker.bytes)
    ours_, kernels = scene.frames(MAC)[-1], scene.frames(KERNEL_MAC)[-1]
    bad = scene.kernel.counters()["InPktsNotValid"], scene.counts()["InPktsNotValid"]
    for side, frame in (("guest", ours_), ("left", kernels)):
        # A number that was not there yet, or it would be late. That changes what the tag is over, and so does the octet.
        later = bytearray(frame)
        later[16:20] = (int.from_bytes(frame[16:20], "big") + 100).to_bytes(4, "big")
        later[100] ^= 1
        scene.cable.inject(side, bytes(later))
    until(lambda: scene.kernel.counters()["InPktsNotValid"] == bad[0] + 1, 15, "not valid at the kernel", 0.1)
    until(lambda: scene.counts()["InPktsNotValid"] == bad[1] + 1, 15, "not valid at ours", 0.1)
    scene.both_ways()


@case(suite=("gcm-aes-128", "gcm-aes-xpn-256"), sci_mode=("end-station", "none"))
def no_sci(net, suite, sci_mode):
    """Frames without an SCI in them are understood both ways: as those of an end station, and of the only other one."""
    scene = Scene(net, suite, sci_mode=sci_mode)
    scene.both_ways()
    flags = {secy.parse(frame).tci & (secy.ES | secy.SC) for source in (MAC, KERNEL_MAC) for frame in scene.frames(source)}
    assert flags == {secy.ES if sci_mode == "end-station" else 0}, flags


@case(wrong=("ours", "kernel", "salt", "ssci", "suite"))
def wrong_key(net, wrong):
    """With a wrong key, salt or SSCI at one end nothing passes in that direction, each frame is counted as not valid."""
    suite = "gcm-aes-xpn-256" if wrong in ("salt", "ssci") else "gcm-aes-256"
    sent, answered = association(suite, 1), association(suite, 2)
    known = copy(answered)
    if wrong == "salt":
        known.salt = bytes(12)
    elif wrong == "ssci":
        known.ssci = 3
    else:
        known.key = os.urandom(len(known.key))
    if wrong in ("kernel", "suite"):
        known.key = answered.key
    scene = Scene(net, suite, sent, answered, known)
    if wrong in ("kernel", "suite"):
        # The kernel has another key for ours, or is set to another suite under the same octets.
        scene.kernel.delete()
        other = Association(os.urandom(32)) if wrong == "kernel" else Association(sent.key[:16])
        cipher = suite if wrong == "kernel" else "gcm-aes-128"
        answer = answered if wrong == "kernel" else Association(answered.key[:16])
        scene.kernel = KernelLink(scene.b, cipher, answer, SCI, {0: other})
        scene.b.address("macsec0", "10.8.0.2/24")
        ping(scene.a, "10.8.0.2", wait=0.5)
        until(lambda: scene.kernel.counters()["InPktsNotValid"] > 0, 15, "not valid at the kernel", 0.1)
        assert scene.kernel.counters()["InPktsOK"] == 0
        return
    assert ping(scene.b, "10.8.0.1", wait=0.5) == 0, "an echo under a wrong key"
    until(lambda: scene.counts()["InPktsNotValid"] > 0, 15, "not valid at ours", 0.1)
    assert scene.a.statistic("msec0", "rx_packets") == 0, "something of a wrong key came out"


@case()
def unknown_station(net):
    """Frames of an SCI that the other end does not know, under the right key, are not taken by either."""
    scene = Scene(net)
    scene.hush()
    scene.both_ways()
    # ARP requests of somebody: what is in them does not matter.
    clear = b"\xff" * 6 + bytes.fromhex("020000000009") + b"\x08\x06" + bytes(46)
    stranger = bytes.fromhex("0200000000090001")
    frames = {"guest": secy.seal(clear, scene.sent, stranger, 500), "left": secy.seal(clear, scene.answered, stranger, 500)}
    before = scene.kernel.counters(), scene.counts(), scene.a.statistic("msec0", "rx_packets")
    before = before[0]["InPktsNoSCI"], before[1]["InPktsUnknownSCI"] + before[1]["InPktsNoSCI"], before[2]
    for side, frame in frames.items():
        scene.cable.inject(side, frame)
    until(lambda: scene.kernel.counters()["InPktsNoSCI"] == before[0] + 1, 15, "at the kernel", 0.1)
    until(lambda: scene.counts()["InPktsUnknownSCI"] + scene.counts()["InPktsNoSCI"] == before[1] + 1, 15,
          "at ours", 0.1)
    assert scene.a.statistic("msec0", "rx_packets") == before[2], "a stranger's frame came out"


@case()
def vlan_inside(net):
    """A VLAN on the encrypted device: its tag is within what is encrypted."""
    scene = Scene(net)
    scene.b.ip("link add link macsec0 name macsec0.5 type vlan id 5")
    scene.b.ip("link set macsec0.5 up")
    scene.b.address("macsec0.5", "10.5.0.2/24")
    host = Tagged(scene.a, "msec0", secy.octets(HOST), "10.5.0.1", 5)
    for size in (56, 1368):
        assert ping(scene.b, "10.5.0.1", size=size, fragment=False) == 3, scene.all()
    assert host.answered == 6
    assert not scene.protected_only(), scene.protected_only()


@case()
def vlan_outside(net):
    """A VLAN around the encrypted frames: ours leaves the hosts' tag in clear, for a VLAN device below the kernel's."""
    scene = Scene(net, clear=1, kernel_link="eth0.7")
    # What our own stack says of itself has no tag to be left in clear.
    scene.a.sysctl("net.ipv6.conf.msec0.disable_ipv6", 1)
    outside = Raw(scene.cable.middle, "left"), Raw(scene.cable.middle, "guest")
    host = Tagged(scene.a, "msec0", secy.octets(HOST), "10.8.0.9", 7)
    for size in (56, 1300):
        assert ping(scene.b, "10.8.0.9", size=size, fragment=False) == 3, scene.all()
    assert host.answered == 6
    for side in outside:
        seen = [secy.ether_type(frame, 1) for frame in side.frames]
        assert len(seen) >= 6 and all(found == (secy.MACSEC, 16) for found in seen), seen
