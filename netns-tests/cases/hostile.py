"""What strangers may send to the listen port."""
import base64
import hashlib
import os
import random
import socket
import threading
import time

from lab.capture import Capture
from lab.case import case
from lab.process import Priority, resident
from lab.site import PORT, Site, wired
from lab.traffic import Sequence, ping, reaches
from lab.wait import until

LENGTHS = {1: 148, 2: 92, 3: 64}


def mac1(message, public_key):
    """The message with the mac1 that only who knows the public key can make (BLAKE2s, keyed, 16 bytes)."""
    key = hashlib.blake2s(b"mac1----" + base64.b64decode(public_key)).digest()
    return message[:-32] + hashlib.blake2s(message[:-32], digest_size=16, key=key).digest() + message[-16:]


class Stranger:
    """A host on the wire that is nobody's peer."""

    def __init__(self, host, target, family="v4"):
        self.outlet = host.socket(socket.AF_INET6 if family == "v6" else socket.AF_INET, socket.SOCK_DGRAM)
        self.target = (target, PORT)

    def send(self, data):
        try:
            self.outlet.sendto(data, self.target)
        except OSError:
            pass


#   a: adit ---- wire ---- b: adit, and a stranger on the same host
@case(family=("v4", "v6"), limit=60)
def garbage(net, family):
    """Datagrams of every length and type, random or almost right: adit lives, and a running flow loses no two."""
    pair = wired(net, family=family).start()
    a, b = pair.left, pair.right
    assert ping(a.host, b.inner()) == 3
    before = a.peer_state(b)
    flow = Sequence(b.host, a.host, a.inner())
    stranger, dice = Stranger(b.host, a.outer(family), family), random.Random(2)
    for length in [*range(0, 300), *range(300, 1500, 7), 4096, 9000, 65000, 65507]:
        for kind in (0, 1, 2, 3, 4, 5, 255):
            stranger.send((bytes([kind, 0, 0, 0]) + dice.randbytes(length))[:length])
        if length % 16 == 0 or length > 1500:
            # None is to be lost for want of room: the flow comes by the same socket.
            flow.caught_up()
    for number in range(300):
        for kind, length in LENGTHS.items():
            stranger.send(bytes([kind, 0, 0, 0]) + dice.randbytes(length - 4))
            # Almost right: reserved bytes that are not zero, one byte more, one byte less.
            stranger.send(bytes([kind, 0, 1, 0]) + dice.randbytes(length - 4))
            stranger.send(bytes([kind, 0, 0, 0]) + dice.randbytes(length - 3))
            stranger.send(bytes([kind, 0, 0, 0]) + dice.randbytes(length - 5))
        for length in (16, 31, 32, 33, 48):
            stranger.send(bytes([4, 0, 0, 0]) + dice.randbytes(length - 4))
        if number % 10 == 0:
            flow.caught_up()
    sent, numbers = flow.sent, flow.stop()
    assert a.device.alive(), "the process is gone"
    assert len(numbers) >= sent - 1, f"{len(numbers)} of {sent} arrived"
    after = a.peer_state(b)
    assert after.endpoint == before.endpoint, f"it moved to {after.endpoint}"
    assert ping(a.host, b.inner()) == 3


#   a: adit ---- wire ---- b: adit
@case()
def replay(net):
    """Every datagram of a session sent again, from another port: nothing comes out twice, the endpoint stays."""
    pair = wired(net, offload=False)
    wire = Capture(pair.left.host, "wire")
    pair.start()
    a, b = pair.left, pair.right
    assert ping(a.host, b.inner()) == 3
    flow = Sequence(b.host, a.host, a.inner(), pace=0.002)
    until(lambda: len(flow.arrived) > 150, 10, "a flow")
    heard = [udp.payload for udp in wire.caught_up().datagrams(PORT) if udp.source == b.outer()]
    before = a.peer_state(b)
    stranger = Stranger(b.host, a.outer())
    for _ in range(3):
        for payload in heard:
            stranger.send(payload)
            time.sleep(0.0002)
    numbers = flow.stop()
    assert len(heard) > 100 and any(payload[0] == 4 for payload in heard)
    assert len(numbers) == len(set(numbers)), f"{len(numbers) - len(set(numbers))} came out twice"
    after = a.peer_state(b)
    assert after.endpoint == before.endpoint, f"it moved to {after.endpoint}"
    assert after.handshake == before.handshake, "an old initiation was believed"
    assert ping(a.host, b.inner()) == 3


#   a: adit ---- wire ---- b: adit, and a stranger who knows the public key of a
@case(alone=True, limit=60)
def flood(net):
    """A flood of initiations with a good mac1: cookies are asked for, a running flow goes on, memory hardly grows."""
    # The flood is made by this process, as fast as it can: not at the expense of the two gateways.
    Priority.take()
    pair = wired(net).start()
    a, b = pair.left, pair.right
    assert ping(a.host, b.inner()) == 3
    memory = resident(a.device.process.pid)
    flow = Sequence(b.host, a.host, a.inner(), pace=0.01)
    stranger = Stranger(b.host, a.outer())
    wire, running = Capture(a.host, "wire"), True
    messages = [mac1(b"\1\0\0\0" + os.urandom(144), a.keys.public) for _ in range(4000)]
    end = time.monotonic() + 4

    def pour():
        while running and time.monotonic() < end:
            for message in messages:
                stranger.send(message)
    pourer = threading.Thread(target=pour, daemon=True)
    pourer.start()
    pourer.join(10)
    running = False
    time.sleep(0.3)
    sent, numbers = flow.sent, flow.stop()
    wire.stop()
    assert a.device.alive(), "the process is gone"
    cookies = [udp for udp in wire.datagrams(PORT) if udp.source == a.outer() and udp.payload[:1] == b"\3"]
    assert cookies and all(len(udp.payload) == 64 for udp in cookies), f"{len(cookies)} cookie replies"
    assert len(numbers) > 0.95 * sent, f"{len(numbers)} of {sent} arrived"
    grown = resident(a.device.process.pid) - memory
    assert grown < 20 << 10, f"memory grew by {grown} KiB"
    # A new handshake is possible again at once.
    b.device.stop()
    b.start()
    pair.configure(b)
    assert reaches(b.host, a.inner(), 10) is not None, "no handshake after the flood"


#   a: adit ---- wire ---- b: adit with the key of nobody
@case()
def unknown_peer(net):
    """An initiation that is right in all but its key gets no answer at all."""
    pair = wired(net).start(first=None)
    a, b = pair.left, pair.right
    stranger = Site(b.host, "adit", 3, b.wire)
    b.device.set("private-key", "/dev/stdin", data=stranger.keys.private)
    wire = Capture(a.host, "wire")
    assert ping(b.host, a.inner(), wait=0.5) == 0
    until(lambda: [udp for udp in wire.datagrams(PORT) if udp.source == b.outer() and udp.payload[0] == 1], 10, "an initiation")
    wire.stop()
    answers = [udp.payload[0] for udp in wire.datagrams(PORT) if udp.source == a.outer()]
    assert not answers, f"answered with {answers}"
