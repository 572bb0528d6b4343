"""Bad networks: loss, copies, reordering. The tunnel adds no trouble of its own."""
from lab.case import case
from lab.impair import Impairer
from lab.site import wired
from lab.traffic import Sequence, iperf3, ping, reaches
from lab.wait import until


#   a: adit ---- impairer ---- b: peer
@case(peer=("adit", "wireguard-go"))
def copies_are_dropped(net, peer):
    """When every packet comes twice on the wire, each comes once out of the tunnel."""
    bad = Impairer(duplicate=1.0)
    pair = wired(net, right=peer, middle=bad.between).start()
    assert ping(pair.left.host, pair.right.inner()) == 3
    flow = Sequence(pair.right.host, pair.left.host, pair.left.inner(), pace=0.001)
    until(lambda: flow.sent > 500 and bad.count["duplicated"] > 100, 20, "a flow")
    sent, numbers = flow.sent, flow.stop()
    assert len(numbers) == len(set(numbers)), f"{len(numbers) - len(set(numbers))} copies came through"
    assert len(set(numbers)) >= sent - 2, f"{len(set(numbers))} of {sent} arrived"


#   a: adit ---- impairer ---- b: peer
@case(peer=("adit", "wireguard-go"))
def late_is_not_lost(net, peer):
    """Packets that overtake one another on the wire all arrive."""
    bad = Impairer()
    pair = wired(net, right=peer, middle=bad.between).start()
    assert ping(pair.left.host, pair.right.inner()) == 3
    bad.reorder = 0.3
    flow = Sequence(pair.right.host, pair.left.host, pair.left.inner(), pace=0.001)
    until(lambda: flow.sent > 500 and bad.count["reordered"] > 50, 20, "a flow")
    sent, numbers = flow.sent, flow.stop()
    assert numbers != sorted(numbers), "nothing was reordered: the test proves nothing"
    assert len(set(numbers)) >= sent - 2, f"{len(set(numbers))} of {sent} arrived"


#   a: adit ---- wire ---- b: adit
@case()
def order_is_kept(net):
    """On a good wire what goes in in order comes out in order."""
    pair = wired(net).start()
    assert ping(pair.left.host, pair.right.inner()) == 3
    flow = Sequence(pair.left.host, pair.right.host, pair.right.inner(), pace=0)
    until(lambda: len(flow.arrived) > 5000, 20, "a flow")
    numbers = flow.stop()
    assert numbers == sorted(numbers), "reordered"


#   a: adit ---- impairer ---- b: adit
@case(limit=60)
def handshake_through_loss(net):
    """At 40 % loss each way the handshake is tried again until it succeeds."""
    bad = Impairer(loss=0.4, seed=3)
    pair = wired(net, middle=bad.between).start()
    assert reaches(pair.left.host, pair.right.inner(), 45) is not None
    assert bad.count["lost"] > 0


#   a: adit ---- impairer ---- b: peer
@case(peer=("adit", "wireguard-go"))
def tcp_through_trouble(net, peer):
    """TCP both ways moves its data through 1 % loss, 2 % copies and 2 % reordering."""
    bad = Impairer(loss=0.01, duplicate=0.02, reorder=0.02)
    pair = wired(net, right=peer, middle=bad.between).start()
    assert reaches(pair.left.host, pair.right.inner(), 8) is not None
    for reverse in (False, True):
        flow = iperf3(pair.left.host, pair.right.host, pair.right.inner(), reverse=reverse, size="2M")
        assert flow.bytes > 1 << 19, flow


#   a: adit ---- impairer that breaks bits ---- b: adit
@case()
def broken_bits(net):
    """A packet changed on the wire is dropped, whichever byte it is; the others all arrive."""
    count = {"seen": 0, "damaged": 0}

    def damage(direction, data):
        # Only data messages to b. Without a UDP checksum, or the kernel would drop them before the tunnel sees them.
        if direction != "right" or data[12:14] != b"\x08\0" or data[23] != 17 or data[42] != 4 or len(data) < 100:
            return data
        data = bytearray(data)
        data[40:42] = b"\0\0"
        count["seen"] += 1
        if count["seen"] % 3 == 0:
            # From the first byte of the message to the last one of its tag.
            data[42 + count["damaged"] % (len(data) - 42)] ^= 0x40
            count["damaged"] += 1
        return bytes(data)

    bad = Impairer()
    pair = wired(net, middle=bad.between).start()
    assert ping(pair.left.host, pair.right.inner()) == 3
    bad.rewrite = damage
    flow = Sequence(pair.left.host, pair.right.host, pair.right.inner(), pace=0.002)
    until(lambda: count["damaged"] > 100, 20, "packets that are changed")
    numbers = flow.stop()
    # Some of those that told of the end were changed as well.
    assert abs(len(numbers) - (flow.sent - count["damaged"])) <= 3, f"{len(numbers)} of {flow.sent} arrived, {count}"
    assert ping(pair.left.host, pair.right.inner(), count=9, wait=2) == 6
