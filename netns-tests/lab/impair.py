"""A bad network between two hosts: loss, copies, reordering and rewriting, in a program of ours.

Not every kernel has netem, and netem cannot rewrite. A namespace sits in the cable, and a thread carries frames from
one side to the other:

    a [wire] ---- [left] middle [right] ---- [wire] b

The same seed makes the same decisions in the same order, for each direction by itself.
"""
import random
import select
import socket
import threading
from collections import Counter

from lab.capture import ETH_P_ALL, SNAP, SOL_PACKET

PACKET_IGNORE_OUTGOING = 23


class Impairer:
    """Give `Impairer(...).between` to `wired`. Probabilities are from 0 to 1; all can be changed while it runs.

    `rewrite(direction, frame)` returns the frame to carry, or None to lose it; direction is "right" or "left", where
    the frame is going.
    """

    def __init__(self, loss=0.0, duplicate=0.0, reorder=0.0, seed=1, rewrite=None):
        self.loss, self.duplicate, self.reorder, self.rewrite = loss, duplicate, reorder, rewrite
        self.dice = {side: random.Random(f"{seed}{side}") for side in ("left", "right")}
        self.held = {"left": [], "right": []}
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
            port.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16 << 20)
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
            ready, _, _ = select.select(list(names), [], [], 0.02)
            for port in ready:
                self.carry("right" if names[port] == "left" else "left", port.recv(SNAP))
            if not ready:
                # Nothing moves any more: what was held back for reordering goes on now.
                for direction in self.held:
                    self.release(direction)

    def carry(self, direction, data):
        dice = self.dice[direction]
        lose, copy, hold = dice.random() < self.loss, dice.random() < self.duplicate, dice.random() < self.reorder
        if lose:
            self.count["lost"] += 1
            return
        if self.rewrite:
            data = self.rewrite(direction, data)
            if data is None:
                self.count["lost"] += 1
                return
        if hold and len(self.held[direction]) < 8:
            self.count["reordered"] += 1
            self.held[direction].append(data)
            return
        for _ in range(2 if copy else 1):
            self.put(direction, data)
        self.count["duplicated"] += copy
        # What was held back comes after a few that were sent later.
        if len(self.held[direction]) >= 3:
            self.release(direction)

    def release(self, direction):
        held, self.held[direction] = self.held[direction], []
        for data in reversed(held):
            self.put(direction, data)

    def put(self, direction, data):
        try:
            self.ports[direction].send(data)
            self.count["carried"] += 1
        except OSError:
            self.count["refused"] += 1
