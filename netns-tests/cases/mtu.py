"""Every packet length, up to the edge, for devices of several MTUs; and what it looks like on the wire."""
import random
import socket
import time

from lab.capture import Capture
from lab.case import case
from lab.site import PORT, wired
from lab.traffic import iperf3, ping
from lab.wireguard import PEERS

PROTOCOL = 253      # for experiments (RFC 3692): no header of its own, so a packet may be as short as its IP header
HEADER = {"v4": 20, "v6": 40}
IP_MTU_DISCOVER, IP_PMTUDISC_PROBE = 10, 3
IPV6_MTU_DISCOVER = 23


class RawPackets:
    """Inner IP packets of exact lengths from one site to another, compared byte by byte."""

    def __init__(self, sender, receiver, family):
        kind = socket.AF_INET if family == "v4" else socket.AF_INET6
        level, option = ((socket.IPPROTO_IP, IP_MTU_DISCOVER) if family == "v4"
                         else (socket.IPPROTO_IPV6, IPV6_MTU_DISCOVER))
        self.head, self.target, self.dice = HEADER[family], receiver.inner(family), random.Random(1)
        # What the kernel puts in front of a raw packet it delivers: the IPv4 header, nothing for IPv6.
        self.skip = HEADER[family] if family == "v4" else 0
        self.outlet = sender.host.socket(kind, socket.SOCK_RAW, PROTOCOL)
        self.outlet.setsockopt(level, option, IP_PMTUDISC_PROBE)
        self.inlet = receiver.host.socket(kind, socket.SOCK_RAW, PROTOCOL)
        self.inlet.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)

    def cross(self, length):
        """Sends one packet of `length` bytes, header counted; True when it came out as it went in."""
        sent = self.dice.randbytes(length - self.head)
        self.outlet.sendto(sent, (self.target, 0))
        deadline = time.monotonic() + 5
        while (left := deadline - time.monotonic()) > 0:
            self.inlet.settimeout(left)
            try:
                # One that came too late for its own turn is passed over.
                if self.inlet.recv(65536)[self.skip:] == sent:
                    return True
            except TimeoutError:
                break
        return False


#   a: adit ---- wire (MTU + 80) ---- b: adit
@case(mtu=(1280, 1420, 1500, 9000), limit=60)
def every_length(net, mtu):
    """Inner packets of every length up to the MTU arrive unchanged; one byte more is refused at the sender."""
    pair = wired(net, wire_mtu=mtu + 80).start(mtu)
    for family in ("v4", "v6"):
        assert ping(pair.left.host, pair.right.inner(family)) == 3
        for sender, receiver in ((pair.left, pair.right), (pair.right, pair.left)):
            packets = RawPackets(sender, receiver, family)
            # Above 1,500 every length of a few blocks of 16 around each edge, and a stride that is no multiple of 16.
            lengths = range(packets.head, mtu + 1) if mtu <= 1500 else sorted(
                {*range(packets.head, mtu, 37), *range(1200, 1600), *range(4064, 4128), *range(mtu - 64, mtu + 1)})
            wrong = [length for length in lengths if not packets.cross(length)]
            assert not wrong, f"{family} from {sender.host.name}: lengths {wrong[:20]} of {len(lengths)}"
            try:
                packets.cross(mtu + 1)
                raise AssertionError(f"{mtu + 1} bytes went into a device of MTU {mtu}")
            except OSError as error:
                assert error.errno == 90, error


#   a: adit ---- wire ---- b: adit
@case(mtu=(1280, 1420, 1500, 9000))
def ping_edges(net, mtu):
    """What a person sees: ping -M do passes up to MTU - 28 and no further, and TCP fills the device."""
    pair = wired(net, wire_mtu=mtu + 80).start(mtu)
    for size in (0, 1, 2, 3, 4, 15, 16, 17, 31, 32, 33, 1199, 1200, 1201, mtu - 45, mtu - 44, mtu - 29, mtu - 28):
        assert ping(pair.left.host, pair.right.inner(), count=1, size=size, fragment=False) == 1, f"size {size}"
    assert ping(pair.left.host, pair.right.inner(), count=1, size=mtu - 27, fragment=False, wait=0.3) == 0
    assert ping(pair.left.host, pair.right.inner(), count=1, size=3 * mtu) == 1, "fragments"
    for reverse in (False, True):
        flow = iperf3(pair.left.host, pair.right.host, pair.right.inner("v6"), reverse=reverse, size="8M")
        assert flow.bytes > 2 << 20, flow


#   a: adit ---- wire (1500) ---- b: peer
@case(peer=PEERS[1:], mtu=(1280, 1420), limit=60)
def foreign_peers(net, peer, mtu):
    """Echoes around multiples of 16 and at the MTU go and come back through every peer; longer ones are refused."""
    pair = wired(net, right=peer).start(mtu)
    middle = (48, 49, *range(63, 66), *range(511, 514), *range(1023, 1026))
    lengths = (*middle, *range(mtu - 17, mtu + 1))
    for family, headers in (("v4", 28), ("v6", 48)):
        assert ping(pair.left.host, pair.right.inner(family)) == 3
        wrong = [length for length in lengths
                 if not ping(pair.left.host, pair.right.inner(family), 1, length - headers, fragment=False)]
        assert not wrong, f"{family}: lengths {wrong}"
        assert ping(pair.right.host, pair.left.inner(family), 1, mtu - headers, fragment=False) == 1
        too_long = mtu - headers + 1
        assert ping(pair.left.host, pair.right.inner(family), 1, too_long, fragment=False, wait=0.3) == 0


#   a: adit ---- wire (each packet by itself) ---- b: adit
@case(mtu=(1420, 1419), limit=60)
def padding(net, mtu):
    """On the wire a packet is padded to a multiple of 16, but never past the MTU of the device."""
    pair = wired(net, offload=False).start(mtu)
    assert ping(pair.left.host, pair.right.inner()) == 3
    wire = Capture(pair.left.host, "wire")
    packets = RawPackets(pair.left, pair.right, "v4")
    lengths = [*range(20, 120), *range(mtu - 40, mtu + 1)]
    assert all(packets.cross(length) for length in lengths)
    wire.stop()
    seen = [len(udp.payload) for udp in wire.datagrams(PORT) if udp.source == pair.left.outer()]
    wanted = [min(length + -length % 16, mtu) + 32 for length in lengths]
    missing = set(wanted) - set(seen)
    assert not missing, f"lengths that should be on the wire and are not: {sorted(missing)}"
    # Nothing else may be there but a keepalive (32).
    assert set(seen) - set(wanted) <= {32}, f"unexpected lengths {sorted(set(seen) - set(wanted))}"


#   a: adit ---- wire (1400) ---- b: adit
@case()
def narrow_wire(net):
    """A wire narrower than the device's MTU fragments outer packets or tells the sender: TCP is not stuck."""
    pair = wired(net, wire_mtu=1400).start(1420)
    assert ping(pair.left.host, pair.right.inner()) == 3
    for reverse in (False, True):
        flow = iperf3(pair.left.host, pair.right.host, pair.right.inner(), reverse=reverse, size="8M")
        assert flow.bytes > 1 << 20, flow
