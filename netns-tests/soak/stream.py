"""Numbered datagrams through every tunnel, both ways and by both IPs: when nothing arrives, a peer is stuck."""
import random
import select
import socket
import struct
import threading
import time

# Seconds between the datagrams of a stream.
PACE = 0.1
# A pause in the arrivals that is worth a line.
NOTEWORTHY = 1.0
HEAD = struct.Struct("!Q")


class Stream:
    """One direction of one tunnel. `receiver` is a host; `address` is its, inside."""

    def __init__(self, name, tunnel, sender, receiver, address, port):
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self.name, self.tunnel, self.target = name, tunnel, (address, port)
        self.inlet = receiver.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self.inlet.bind(("::" if ":" in address else "0.0.0.0", port))
        self.outlet = sender.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self.sent, self.refused, self.arrived, self.highest, self.behind, self.bytes = 0, 0, 0, -1, 0, 0
        self.expected, self.last = False, 0.0
        self.worst, self.told = 0.0, False

    def expect(self, expected):
        """Whether its tunnel is there at both ends, from now on."""
        if expected and not self.expected:
            self.last, self.told = time.monotonic(), False
        self.expected = expected


class Streams:
    """All of them, in one thread. `record` is told of every pause."""

    def __init__(self, record, seed, limit):
        self.record, self.dice, self.limit, self.streams, self.running = record, random.Random(seed), limit, [], True

    def add(self, *words):
        self.streams.append(Stream(*words))

    def begin(self, stack):
        thread = threading.Thread(target=self.work, daemon=True)
        thread.start()
        stack.callback(self.stop, thread)

    def stop(self, thread):
        self.running = False
        thread.join(2)

    def expect(self, tunnel, expected):
        for stream in self.streams:
            if stream.tunnel == tunnel:
                stream.expect(expected)

    def work(self):
        inlets = {stream.inlet: stream for stream in self.streams}
        due = time.monotonic()
        while self.running:
            if time.monotonic() >= due:
                due = max(due + PACE, time.monotonic() - 1)
                for stream in self.streams:
                    self.send(stream)
            ready, _, _ = select.select(list(inlets), [], [], max(0.0, min(PACE, due - time.monotonic())))
            for inlet in ready:
                self.receive(inlets[inlet])

    def send(self, stream):
        # Most are small; now and then one fills the tunnel.
        size = 1300 if self.dice.random() < 0.05 else self.dice.randint(8, 200)
        try:
            stream.outlet.sendto(HEAD.pack(stream.sent).ljust(size, b"."), stream.target)
        except OSError:
            stream.refused += 1     # a guard, or no tunnel just now
        stream.sent += 1

    def receive(self, stream):
        try:
            data = stream.inlet.recv(65536)
        except OSError:
            return
        now, number = time.monotonic(), HEAD.unpack_from(data)[0]
        stream.arrived, stream.bytes = stream.arrived + 1, stream.bytes + len(data)
        stream.behind += number < stream.highest
        stream.highest = max(stream.highest, number)
        if stream.expected:
            gap = now - stream.last
            if gap > NOTEWORTHY:
                end = self.record.now()
                self.record.write("gap", stream=stream.name, seconds=round(gap, 2), begin=round(end - gap, 2),
                                  during=self.record.events_between(end - gap - 1, end))
            stream.worst = max(stream.worst, gap)
            stream.last, stream.told = now, False

    def check(self):
        """Tells of streams that are stuck, once each time."""
        for stream in self.streams:
            silent = time.monotonic() - stream.last
            if stream.expected and silent > self.limit and not stream.told:
                stream.told, stream.worst = True, max(stream.worst, silent)
                self.record.violation(f"stuck: nothing through {stream.name} for {self.limit} s")
