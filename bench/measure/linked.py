"""Encrypted Ethernet links beside others, and beside what carries frames in clear."""
import json
import time

from lab.capture import Capture
from lab.process import Failed, run
from lab.traffic import Marker, reaches
from measure import udp
from measure.ethernet import CIPHERED, GCM, IN_CLEAR, Ethernet
from measure.figures import DIRECTIONS, FRAMES
from measure.tcp import loaded, tcp
from measure.turn import Turn

# Bytes of Ethernet and IP headers and FCS around a UDP payload: a frame of 64 has 18 octets of it.
AROUND = 14 + 20 + 8 + 4
# Frames a second whose price is asked for: no end is busy with them, whatever carries them.
STEADY = 20_000
# Octets of a SecTAG with its SCI and of both addresses, which are authenticated only.
READABLE = 28


class Linked(Turn):
    """`wanted` is link."""

    def measure(self):
        self.ends = Ethernet(self.net, self.implementation)
        found = reaches(self.ends.a, self.ends.address, 15)
        assert found is not None, f"{self.implementation}: no echo"
        self.check_wire()
        for way in DIRECTIONS:
            self.figure(self.stream, way)
        with udp.sink(self.ends.b, self.ends.address):
            for size in FRAMES:
                if size - AROUND + 28 <= self.ends.mtu:
                    self.figure(self.frames, size)
            self.figure(self.steady)
            self.figure(self.trips_idle)
            self.figure(self.trips_loaded)

        if self.implementation in CIPHERED:
            self.figure(self.cipher_alone)

    def check_wire(self):
        """What encrypts must, and what is measured as not encrypting must not: or the comparison means nothing."""
        marker, wire = Marker("seen by everybody on the wire"), Capture(self.ends.a, "wire")
        marker.send(self.ends.a, self.ends.address)
        wire.stop()
        assert wire.frames, "nothing was seen on the wire"
        hidden, clear = not wire.holds(marker.bytes[:32]), self.implementation in IN_CLEAR
        assert hidden != clear, f"{self.implementation}: plaintext {'not ' * hidden}on the wire"

    def stream(self, way):
        before = self.ends.used()
        flow = tcp(self.ends.a, self.ends.b, self.ends.address, 1, way, self.settings.tcp, self.settings.omit)
        after = self.ends.used()
        self.note(f"link_tcp_{way}", flow["bits_per_second"], **flow)
        if way == "out":
            self.cost("link_cpu", before, after)

    def cost(self, key, before, after):
        """Processor time of both ends, for what came out of both devices meanwhile."""
        if self.ends.processes:
            cpu = [end - start for start, end in zip(before["cpu"], after["cpu"])]
            carried = after["bytes"] - before["bytes"]
            self.note(key, sum(cpu) / carried * 1e9, cpu_seconds=cpu, bytes=carried)

    def steady(self):
        """Full frames, one by one, at a rate that none loses."""
        before = self.ends.used()
        found = udp.at_rate(self.ends.a, self.ends.address, self.ends.mtu - 28, self.settings.tcp, STEADY)
        assert found["loss"] < 0.01, f"{found['loss']:.1%} of {STEADY} frames a second were lost"
        self.cost("link_cpu_udp", before, self.ends.used())

    def cipher_alone(self):
        """What sealing and opening a full frame takes by itself, on data in the cache."""
        _, output = run([GCM, str(self.ends.mtu + 2), "--aad", str(READABLE)])
        found = json.loads(output)
        self.note("link_gcm", found["seal_ns"] + found["open_ns"], **found)

    def frames(self, size):
        """Frames one by one, of so many octets with their FCS."""
        payload = max(size - AROUND, 24)
        found = udp.search(self.ends.a, self.ends.address, payload, self.settings.udp, self.settings.steps, False)
        best = found["best"]
        self.note(f"link_udp_{size}", best["delivered"] if best else 0.0, **found)

    def trips_idle(self):
        time.sleep(0.2)
        self.trips("idle", udp.ping(self.ends.a, self.ends.address, self.settings.idle))

    def trips_loaded(self):
        with loaded(self.ends.a, self.ends.b, self.ends.address, seconds=int(self.settings.load) + 8):
            self.trips("load", udp.ping(self.ends.a, self.ends.address, self.settings.load))

    def trips(self, when, found):
        if found["median_us"] is None:
            raise Failed("no ping was answered")
        self.note(f"link_trip_{when}", found["median_us"], **found)
