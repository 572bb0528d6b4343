"""What most traffic is: TCP, UDP of one size, round trips; with their cost and the memory they take."""
import time

from lab.process import Failed
from measure import udp
from measure.cost import peak_bytes
from measure.figures import DIRECTIONS, SINGLES, SIZES
from measure.tcp import loaded, tcp
from measure.turn import Ends, Turn


class Plain(Turn):
    """`wanted` are some of tcp, udp, trips, memory."""

    def measure(self):
        self.ends = Ends(self.net, self.implementation).start()
        self.a, self.b, self.address = self.ends.a, self.ends.b, self.ends.address()
        with udp.sink(self.b, self.address):
            if "trips" in self.wanted:
                self.figure(self.trips_idle)
            # Memory is that of full load, so there has to be some.
            if "tcp" in self.wanted or "memory" in self.wanted:
                for streams in (1, 4):
                    for way in DIRECTIONS:
                        self.figure(self.streams, streams, way)
            if "udp" in self.wanted:
                for size in SIZES:
                    self.figure(self.udp, size, True)
                for size in SINGLES:
                    self.figure(self.udp, size, False)
            if "trips" in self.wanted:
                self.figure(self.trips_loaded)
        if "memory" in self.wanted and self.ends.tunnel:
            self.figure(self.memory)

    def streams(self, streams, way):
        before = self.ends.used()
        flow = tcp(self.a, self.b, self.address, streams, way, self.settings.tcp, self.settings.omit)
        after = self.ends.used()
        self.note(f"tcp{streams}_{way}", flow["bits_per_second"], **flow)
        if self.ends.tunnel and way == "out":
            cpu = [end - start for start, end in zip(before["cpu"], after["cpu"])]
            carried = after["bytes"] - before["bytes"]
            self.note(f"cpu{streams}", sum(cpu) / carried * 1e9, cpu_seconds=cpu, bytes=carried)

    def udp(self, size, trains):
        found = udp.search(self.a, self.address, size, self.settings.udp, self.settings.steps, trains)
        best = found["best"]
        self.note(f"udp{size}" + ("" if trains else "_single"), best["delivered"] if best else 0.0, **found)

    def trips_idle(self):
        time.sleep(0.2)
        self.trips("idle", udp.ping(self.a, self.address, self.settings.idle))

    def trips_loaded(self):
        with loaded(self.a, self.b, self.address, seconds=int(self.settings.load) + 8):
            self.trips("load", udp.ping(self.a, self.address, self.settings.load))

    def trips(self, when, found):
        for which in ("median", "p99"):
            if found[f"{which}_us"] is None:
                raise Failed("no ping was answered")
            self.note(f"trip_{when}_{which}", found[f"{which}_us"], **found)

    def memory(self):
        each = [peak_bytes(site.device.process.pid) for site in self.ends.sites]
        self.note("memory", max(each), each=each)
