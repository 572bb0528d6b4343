"""What an eavesdropper on the wire sees."""
import time

from lab.capture import Capture, read_pcap
from lab.case import case
from lab.frame import parse_udp
from lab.site import PORT, wired
from lab.traffic import Marker, iperf3, ping
from lab.wait import until

LENGTHS = {1: 148, 2: 92, 3: 64}


#   a: adit ---- wire (each packet by itself) ---- b: peer
@case(peer=("adit", "wireguard-go"), family=("v4", "v6"))
def no_plaintext(net, peer, family):
    """A marker sent through the tunnel is on both inner links and never on the wire; all there is WireGuard."""
    pair = wired(net, right=peer, family=family, offload=False).start()
    wire = Capture(pair.left.host, "wire")
    inside = [Capture(site.host, site.device.name, link_header=0) for site in (pair.left, pair.right)]
    marker = Marker("this text is nobody else's business")
    for target in (pair.right.inner(), pair.right.inner("v6")):
        marker.send(pair.left.host, target)
    marker.send(pair.right.host, pair.left.inner())
    iperf3(pair.left.host, pair.right.host, pair.right.inner(), size="1M")
    for capture in inside:
        capture.wait_holds(marker.bytes)
    wire.stop()
    for piece in (marker.bytes, marker.bytes[:24], marker.bytes[8:24]):
        assert not wire.holds(piece), f"{piece!r} crossed the wire"
    assert wire.dropped() == 0, "the capture is not complete, so it proves nothing"
    datagrams = wire.datagrams()
    assert datagrams and all(PORT in (udp.source_port, udp.target_port) for udp in datagrams)
    kinds = {kind: [udp.payload for udp in datagrams if udp.payload[0] == kind] for kind in range(256)}
    assert len(kinds[1]) >= 1 and len(kinds[2]) >= 1 and len(kinds[4]) > 100
    for udp in datagrams:
        kind = udp.payload[0]
        assert kind in (1, 2, 4) and udp.payload[1:4] == b"\0\0\0", f"message of type {udp.payload[:4].hex()}"
        if kind == 4:
            length = len(udp.payload)
            assert length >= 32 and (length % 16 == 0 or length == pair.left.mtu + 32), f"data of {length} bytes"
        else:
            assert len(udp.payload) == LENGTHS[kind], f"type {kind} with {len(udp.payload)} bytes"
    for source in (pair.left.outer(family), pair.right.outer(family)):
        counters = [int.from_bytes(udp.payload[8:16], "little") for udp in datagrams
                    if udp.source == source and udp.payload[0] == 4]
        assert len(counters) == len(set(counters)), f"{source} used a counter twice"


#   a: adit ---- wire ---- b: adit
@case()
def tcpdump_agrees(net):
    """The same by tcpdump, in case our own capture is at fault."""
    pair = wired(net, offload=False)
    file = f"{net.folder}/wire.pcap"
    dump = pair.left.host.start("tcpdump", "-i", "wire", "-U", "--immediate-mode", "-Z", "root", "-w", file)
    dump.wait_output("listening on", 15)
    pair.start()
    marker = Marker("this text is nobody else's business")
    marker.send(pair.left.host, pair.right.inner(), count=50)
    assert ping(pair.left.host, pair.right.inner()) == 3
    frames = lambda: [data for _, data in read_pcap(file)]
    until(lambda: sum(parse_udp(data) is not None for data in frames()) > 50, 10, "datagrams in the file")
    dump.stop()
    assert not any(marker.bytes[:24] in data for data in frames())


#   a: adit ---- wire ---- b: adit
@case()
def keepalive(net):
    """A persistent keepalive of 1 s puts an empty message on the wire each second, and only from its side."""
    pair = wired(net, offload=False).start()
    assert ping(pair.left.host, pair.right.inner()) == 3
    wire = Capture(pair.left.host, "wire")
    pair.left.device.set("peer", pair.right.keys.public, "persistent-keepalive", 1)

    def empty():
        """When each keepalive was seen, and from where it came."""
        seen = [(moment, parse_udp(data)) for moment, data in list(wire.frames)]
        return [(moment, udp.source) for moment, udp in seen if udp and udp.payload[:1] == b"\4" and len(udp.payload) == 32]
    until(lambda: len(empty()) >= 5, 20, "keepalives")
    wire.stop()
    moments = [moment for moment, _ in empty()]
    gaps = sorted(later - earlier for earlier, later in zip(moments, moments[1:]))
    # The one in the middle: another process may have had the processor for a moment.
    assert 0.7 < gaps[len(gaps) // 2] < 1.6, f"keepalives {gaps} s apart"
    assert {source for _, source in empty()} == {pair.left.outer()}, "a keepalive was answered with a keepalive"


#   a: adit ---- wire ---- b: adit
@case(limit=60)
def silent_when_idle(net):
    """One packet and its answer are followed by a single keepalive, 10 s later, and then by silence."""
    pair = wired(net, offload=False).start()
    assert ping(pair.left.host, pair.right.inner()) == 3
    time.sleep(0.2)
    wire = Capture(pair.left.host, "wire")
    # Nobody listens there: the answer is an ICMP error, and no other packet follows.
    Marker("anybody?").send(pair.left.host, pair.right.inner(), count=1, port=4000)
    until(lambda: len(wire.datagrams(PORT)) > 2, 20, "a packet, its answer, and a keepalive")
    time.sleep(2)
    wire.stop()
    seen = [(udp.source, len(udp.payload) == 32) for udp in wire.datagrams(PORT)]
    left, right = pair.left.outer(), pair.right.outer()
    assert seen == [(left, False), (right, False), (left, True)], f"(source, is a keepalive): {seen}"
