"""Encrypted Ethernet links beside others, and beside what carries frames in clear."""
import time

from lab.capture import Capture
from lab.process import Failed
from lab.traffic import Marker, reaches
from measure import udp
from measure.ethernet import IN_CLEAR, Ethernet
from measure.figures import DIRECTIONS, FRAMES
from measure.tcp import loaded, tcp
from measure.turn import Turn

# Bytes of Ethernet and IP headers and FCS around a UDP payload: a frame of 64 has 18 octets of it.
AROUND = 14 + 20 + 8 + 4


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
            self.figure(self.trips_idle)
            self.figure(self.trips_loaded)

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
        if self.ends.processes and way == "out":
            cpu = [end - start for start, end in zip(before["cpu"], after["cpu"])]
            carried = after["bytes"] - before["bytes"]
            self.note("link_cpu", sum(cpu) / carried * 1e9, cpu_seconds=cpu, bytes=carried)

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
