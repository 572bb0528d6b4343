"""A flow that is faster than a session comes about: what had to wait for it is not overtaken by what did not."""
import socket
import struct
import threading
import time

from cases.steering import late
from lab.case import case
from lab.site import wired
from lab.traffic import ping

PORT, SIZE, TRAIN = 7000, 64, 40
STARTS, SECONDS, PAUSE = 20, 0.12, 0.0001
UDP_SEGMENT, SO_RCVBUFFORCE = 103, 33
# The receiver hears no initiation: 148 bytes behind a UDP header.
DEAF = "table inet deaf { chain input { type filter hook input priority 0; udp length 156 drop; }; }"


class Flow:
    """Numbered datagrams from one site to another."""

    def __init__(self, sender, receiver):
        self.outlet = sender.host.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.outlet.setsockopt(socket.SOL_UDP, UDP_SEGMENT, SIZE)
        self.outlet.connect((receiver.inner(), PORT))
        self.inlet = receiver.host.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.inlet.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 64 << 20)
        self.inlet.bind((receiver.inner(), PORT))
        self.inlet.setblocking(False)
        self.next = 0

    def send(self):
        """Trains of datagrams, one close upon the other. They wait in the socket that receives them."""
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            numbers = range(self.next, self.next + TRAIN)
            self.next += TRAIN
            self.outlet.send(b"".join(struct.pack(f"!Q{SIZE - 8}x", number) for number in numbers))
            time.sleep(PAUSE)

    def receive(self):
        """The numbers that arrived, in order of arrival."""
        found = []
        try:
            while True:
                found.append(struct.unpack("!Q", self.inlet.recv(SIZE)[:8])[0])
        except BlockingIOError:
            return found


#   a: adit, 1 or 2 workers ---- wire ---- b: adit
@case(limit=60, alone=True, begins=("sender", "receiver"), workers=(1, 2))
def across_a_new_session(net, begins, workers):
    """No datagram of a flow that runs while its session is made anew comes late, whoever begins the handshake."""
    pair = wired(net)
    a, b = pair.left, pair.right
    a.device.environment["ADIT_WORKERS"] = str(workers)
    pair.start()
    assert ping(a.host, b.inner()) == 3
    if begins == "receiver":
        b.host.run("nft", "-f", "-", data=DEAF)
    flow, arrived, came_late = Flow(a, b), 0, []
    for _ in range(STARTS):
        sending = threading.Thread(target=flow.send)
        sending.start()
        time.sleep(0.02)        # An initiation so soon after another is not answered.
        # Its sessions end with the peer that they were of.
        pair.configure(a)
        if begins == "receiver":
            pair.configure(b, keepalive=1)
        sending.join()
        numbers, end = [], time.monotonic() + 2
        while numbers[-1:] <= [flow.next - 100 * TRAIN] and time.monotonic() < end:
            time.sleep(0.02)
            numbers += flow.receive()
        assert a.peer_state(b).handshake, "there is no new session"
        assert numbers[-1:] > [flow.next - 100 * TRAIN], f"the flow stopped: {numbers[-1:]} of {flow.next}"
        arrived += len(numbers)
        came_late.append(late(numbers))
    print(f"{arrived} of {flow.next} datagrams arrived, late: {came_late}", flush=True)
    assert not any(came_late), f"{sum(came_late)} of {arrived} datagrams came late"
