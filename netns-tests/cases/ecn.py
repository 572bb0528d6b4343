"""Congestion marks cross the tunnel both ways (RFC 6040), so that a queue on the wire can speak to the flows inside."""
import socket
import time

from lab import frame
from lab.capture import Capture
from lab.case import case
from lab.impair import Impairer
from lab.site import PORT, wired
from lab.traffic import ping

NOT_ECT, ECT1, ECT0, CE = 0, 1, 2, 3


def send(host, address, tos, count=5):
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    level, option = (socket.IPPROTO_IPV6, socket.IPV6_TCLASS) if ":" in address else (socket.IPPROTO_IP, socket.IP_TOS)
    outlet = host.socket(family, socket.SOCK_DGRAM)
    outlet.setsockopt(level, option, tos)
    for _ in range(count):
        try:
            outlet.sendto(b"marked", (address, 7777))
        except ConnectionRefusedError:
            pass
        time.sleep(0.01)


#   a: adit ---- wire (each packet by itself) ---- b: peer
@case(mark=(NOT_ECT, ECT1, ECT0, CE), inner=("v4", "v6"), outer=("v4", "v6"))
def mark_goes_out(net, mark, inner, outer):
    """The outer header carries the ECN mark of the inner one, and nothing of its DSCP."""
    pair = wired(net, right="wireguard-go", family=outer, offload=False).start()
    assert ping(pair.left.host, pair.right.inner()) == 3
    time.sleep(0.1)
    wire = Capture(pair.left.host, "wire")
    send(pair.left.host, pair.right.inner(inner), 0xB8 | mark)
    wire.stop()
    seen = [udp.tos for udp in wire.datagrams(PORT)
            if udp.source == pair.left.outer(outer) and udp.payload[0] == 4 and len(udp.payload) > 32]
    assert len(seen) >= 5 and set(seen) == {mark}, f"outer tos {seen}, wanted {mark}"


#   a: peer ---- a queue that marks everything ---- b: adit
@case(inner=("v4", "v6"), outer=("v4", "v6"), mark=(ECT0, NOT_ECT))
def mark_comes_in(net, inner, outer, mark):
    """CE set on the wire arrives inside on packets that can carry it, and never on those that cannot."""
    pair = wired(net, family=outer, middle=Impairer(
        rewrite=lambda direction, data: frame.set_ecn(data, CE) if data[12:14] in (b"\x08\0", b"\x86\xdd") else data).between)
    pair.start()
    assert ping(pair.left.host, pair.right.inner()) == 3
    inside = Capture(pair.right.host, pair.right.device.name, link_header=0)
    send(pair.left.host, pair.right.inner(inner), 0xB8 | mark)
    inside.stop()
    seen = [udp.tos for udp in inside.datagrams(7777)]
    if mark == ECT0:
        assert len(seen) >= 5 and set(seen) == {0xB8 | CE}, f"inner tos {seen}"
    else:
        # RFC 6040 wants them dropped, the kernel hands them on unmarked: both are safe.
        assert set(seen) <= {0xB8}, f"inner tos {seen}"
