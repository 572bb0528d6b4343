"""A bad network between two hosts: loss, copies, reordering, delay, a narrow link, fragments, no ICMP, and rewriting.

Not every kernel has netem, and netem can neither cut packets nor rewrite them. A namespace sits in the cable, and a
thread carries frames from one side to the other:

    a [wire] ---- [left] middle [right] ---- [wire] b

The same seed makes the same decisions in the same order, for each direction by itself.
"""
import heapq
import random
import select
import socket
import threading
import time
from collections import Counter

from lab import frame
from lab.capture import ETH_P_ALL, SNAP, SO_RCVBUFFORCE, SOL_PACKET

PACKET_IGNORE_OUTGOING = 23
# Seconds of traffic that a narrow link holds before it drops.
QUEUE = 0.1


class Impairer:
    """Give `Impairer(...).between` to `wired`. All can be changed while it runs.

    `loss`, `duplicate`, `reorder`  probabilities from 0 to 1
    `delay`, `jitter`               seconds; each packet waits for `delay` and up to `jitter` more, so jitter reorders
    `rate`                          bytes a second of each direction; what has no room in its queue is lost
    `mtu`                           IP packets longer than this are cut, or lost where they forbid it, without a word
    `icmp`                          whether ICMP errors pass; echoes do anyway
    `rewrite(direction, frame)`     returns the frame to carry, or None to lose it
    `only(frame)`                   loss, copies, reordering and delay befall only the frames it is true of

    A direction is "right" or "left", where the frame is going. Fragments of a cut are frames of their own: they are
    lost, copied and reordered one by one.
    """

    def __init__(self, loss=0.0, duplicate=0.0, reorder=0.0, seed=1, rewrite=None, delay=0.0, jitter=0.0, rate=None,
                 mtu=None, icmp=True, only=None):
        self.loss, self.duplicate, self.reorder, self.rewrite = loss, duplicate, reorder, rewrite
        self.delay, self.jitter, self.rate, self.mtu, self.icmp, self.only = delay, jitter, rate, mtu, icmp, only
        self.dice = {side: random.Random(f"{seed}{side}") for side in ("left", "right")}
        self.held = {"left": [], "right": []}
        # When a narrow link has sent all that it took so far.
        self.free = {"left": 0.0, "right": 0.0}
        self.late, self.number = [], 0
        self.count, self.running = Counter(), True

    def between(self, net, a, b):
        """Lays the cable. Offloads are off: a frame that is sent again must carry a finished checksum."""
        middle = net.host("middle")
        # Neither IP stack of the middle may answer or send anything of its own.
        middle.sysctl("net.ipv6.conf.default.disable_ipv6", 1)
        net.link(a, "wire", middle, "left", offload=False)
        net.link(b, "wire", middle, "right", offload=False)
        self.ports = {}
        for side in ("left", "right"):
            port = self.ports[side] = middle.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
            port.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)
            port.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 32 << 20)
            port.bind((side, ETH_P_ALL))
        thread = threading.Thread(target=self.work, daemon=True)
        thread.start()
        net.stack.callback(self.stop, thread)

    def stop(self, thread):
        self.running = False
        thread.join(2)

    def work(self):
        names = {port: side for side, port in self.ports.items()}
        while self.running:
            patience = max(0, min(0.02, self.late[0][0] - time.monotonic())) if self.late else 0.02
            ready, _, _ = select.select(list(names), [], [], patience)
            for port in ready:
                self.carry("right" if names[port] == "left" else "left", port.recv(SNAP))
            self.send_late()
            if not ready and not self.late:
                # Nothing moves any more: what was held back for reordering goes on now.
                for direction in self.held:
                    self.release(direction)

    def carry(self, direction, data):
        if self.rewrite:
            data = self.rewrite(direction, data)
        if data is None or not self.icmp and frame.is_icmp_error(data):
            self.count["lost"] += 1
            return
        pieces = frame.fragments(data, self.mtu) if self.mtu else [data]
        if not pieces:
            self.count["too_long"] += 1
        self.count["cut"] += len(pieces) > 1
        for piece in pieces:
            self.befall(direction, piece)

    def befall(self, direction, data):
        """What happens to one frame on the way."""
        dice = self.dice[direction]
        lose, copy, hold = dice.random() < self.loss, dice.random() < self.duplicate, dice.random() < self.reorder
        spared = self.only and not self.only(data)
        if spared:
            lose = copy = hold = False
        if lose:
            self.count["lost"] += 1
            return
        if hold and len(self.held[direction]) < 8:
            self.count["reordered"] += 1
            self.held[direction].append(data)
            return
        for _ in range(2 if copy else 1):
            self.put(direction, data, spared)
        self.count["duplicated"] += copy
        # What was held back comes after a few that were sent later.
        if len(self.held[direction]) >= 3:
            self.release(direction)

    def release(self, direction):
        held, self.held[direction] = self.held[direction], []
        for data in reversed(held):
            self.put(direction, data)

    def put(self, direction, data, spared=False):
        """Sends a frame, now or when its time has come."""
        now = time.monotonic()
        due = now
        if self.rate:
            begin = max(now, self.free[direction])
            if begin - now > QUEUE:
                self.count["queue_full"] += 1
                return
            due = self.free[direction] = begin + len(data) / self.rate
        if not spared and (self.delay or self.jitter):
            due += self.delay + self.dice[direction].random() * self.jitter
        if due <= now:
            self.send(direction, data)
        else:
            self.number += 1
            heapq.heappush(self.late, (due, self.number, direction, data))

    def send_late(self):
        while self.late and self.late[0][0] <= time.monotonic():
            _, _, direction, data = heapq.heappop(self.late)
            self.send(direction, data)

    def send(self, direction, data):
        try:
            self.ports[direction].send(data)
            self.count["carried"] += 1
        except OSError:
            self.count["refused"] += 1
