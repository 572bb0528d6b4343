"""Congestion marks cross the tunnel both ways (RFC 6040), so that a queue on the wire can speak to the flows inside."""
import socket
import time

from lab import frame
from lab.capture import Capture
from lab.case import case
from lab.impair import Impairer
from lab.site import PORT, wired
from lab.traffic import ping
from lab.wait import until

NOT_ECT, ECT1, ECT0, CE = 0, 1, 2, 3
BEHIND = 7778
DSCP = 0xB8      # expedited forwarding: it says what kind of traffic this is, so it stays inside


def send(host, address, tos, count=5, port=7777):
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    level, option = (socket.IPPROTO_IPV6, socket.IPV6_TCLASS) if ":" in address else (socket.IPPROTO_IP, socket.IP_TOS)
    outlet = host.socket(family, socket.SOCK_DGRAM)
    outlet.setsockopt(level, option, tos)
    for _ in range(count):
        try:
            outlet.sendto(b"marked", (address, port))
        except ConnectionRefusedError:
            pass
        time.sleep(0.01)


def marks(wire, source, count=5):
    """The outer marks of what carries data from there, of which there have to be so many."""
    seen = lambda: [udp.tos for udp in wire.datagrams(PORT)
                    if udp.source == source and udp.payload[0] == 4 and len(udp.payload) > 32]
    until(lambda: len(seen()) >= count, 10, f"{count} datagrams from {source}")
    wire.stop()
    return seen()


#   a: adit ---- wire (each packet by itself) ---- b: adit
@case(outer=("v4", "v6"))
def mark_goes_out(net, outer):
    """The outer header carries the ECN mark of the inner one, and nothing of its DSCP."""
    pair = wired(net, family=outer, offload=False).start()
    assert ping(pair.left.host, pair.right.inner()) == 3
    for inner in ("v4", "v6"):
        for mark in (NOT_ECT, ECT1, ECT0, CE):
            wire = Capture(pair.left.host, pair.left.wire)
            send(pair.left.host, pair.right.inner(inner), DSCP | mark)
            seen = marks(wire, pair.left.outer(outer))
            assert set(seen) == {mark}, f"inner {inner} {mark}: outer tos {seen}"


#   a: adit ---- a queue that marks everything ---- b: adit
@case(outer=("v4", "v6"))
def mark_comes_in(net, outer):
    """CE set on the wire arrives inside on packets that can carry it, and a packet that cannot is dropped."""
    def mark_all(_direction, data):
        return frame.set_ecn(data, CE) if data[12:14] in (b"\x08\0", b"\x86\xdd") else data

    queue = Impairer()
    pair = wired(net, family=outer, middle=queue.between).start()
    assert ping(pair.left.host, pair.right.inner()) == 3
    queue.rewrite = mark_all
    for inner in ("v4", "v6"):
        for mark in (ECT0, ECT1, CE, NOT_ECT):
            inside = Capture(pair.right.host, pair.right.device.name, link_header=0)
            send(pair.left.host, pair.right.inner(inner), DSCP | mark)
            # What comes behind it can carry the mark: once that is there, it has been looked at.
            send(pair.left.host, pair.right.inner(inner), ECT0, count=1, port=BEHIND)
            until(lambda: inside.datagrams(BEHIND), 10, "what was sent behind it")
            inside.stop()
            seen = [udp.tos for udp in inside.datagrams(7777)]
            if mark == NOT_ECT:
                # RFC 6040 section 4.2: what cannot carry the mark is dropped, or the queue would not be heard.
                assert not seen, f"inner {inner} {mark}: tos {seen}"
            else:
                assert len(seen) >= 5 and set(seen) == {DSCP | CE}, f"inner {inner} {mark}: tos {seen}"


#   a: adit ---- wire (each packet by itself) ---- b: kernel
@case(outer=("v4", "v6"))
def kernel_agrees(net, outer):
    """Between adit and the kernel, marks go out as they do between two kernels, in both directions."""
    pair = wired(net, right="kernel", family=outer).start()
    assert ping(pair.left.host, pair.right.inner()) == 3
    for sender in (pair.right, pair.left):
        for mark in (NOT_ECT, ECT0, ECT1):
            wire = Capture(pair.left.host, pair.left.wire)
            sender.host.run("ping", "-n", "-q", "-c", 5, "-i", 0.02, "-Q", DSCP | mark, pair.other(sender).inner())
            seen = marks(wire, sender.outer(outer))
            assert set(seen) == {mark}, f"{sender.device.implementation}, {mark}: outer tos {seen}"
