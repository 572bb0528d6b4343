"""One turn of one implementation: all its figures, each written down as soon as it is known.

    a: device ---- wire (veth with its offloads) ---- b: the same implementation
"""
import time
from dataclasses import asdict, dataclass

from lab.capture import Capture
from lab.process import Failed
from lab.site import wired
from lab.traffic import Marker, reaches
from lab.wait import TimedOut
from measure import results, udp
from measure.cost import cpu_seconds, peak_bytes
from measure.figures import DIRECTIONS, SINGLES, SIZES
from measure.implementation import VETH, encrypts
from measure.tcp import CONGESTION, loaded, tcp

MTU = 1420


@dataclass(frozen=True)
class Settings:
    """How long each measurement takes. Seconds, but for the steps of a search."""
    tcp: int = 3
    omit: int = 1
    udp: float = 0.8
    steps: int = 8
    idle: float = 1.5
    load: float = 3.0


QUICK = Settings(tcp=1, omit=0, udp=0.3, steps=6, idle=0.5, load=1.0)


class Turn:
    """A turn in namespaces of its own. What fails is written down as such, and the next figure is measured."""

    def __init__(self, net, implementation, turn, settings, path):
        self.implementation, self.turn, self.settings, self.path = implementation, turn, settings, path
        self.failed = []
        self.pair = wired(net, left=implementation, right=implementation)
        self.a, self.b = self.pair.left.host, self.pair.right.host
        self.tunnel = implementation != VETH
        self.address = self.pair.right.inner() if self.tunnel else self.pair.right.outer()
        self.sites = (self.pair.left, self.pair.right) if self.tunnel else ()

    def run(self):
        if self.tunnel:
            self.pair.start(MTU)
            assert reaches(self.a, self.address, 10) is not None, f"{self.implementation}: no echo through the tunnel"
            self.check_wire()
        with udp.sink(self.b, self.address):
            self.figure(self.trips_idle)
            for streams in (1, 4):
                for way in DIRECTIONS:
                    self.figure(self.streams, streams, way)
            for size in SIZES:
                self.figure(self.udp, size, True)
            for size in SINGLES:
                self.figure(self.udp, size, False)
            self.figure(self.trips_loaded)
        if self.tunnel:
            self.figure(self.memory)
        assert not self.failed, "; ".join(self.failed)

    def check_wire(self):
        """What encrypts must, and what is measured as not encrypting must not: or the comparison means nothing."""
        marker, wire = Marker("seen by everybody on the wire"), Capture(self.a, "wire")
        marker.send(self.a, self.address)
        wire.stop()
        hidden = not wire.holds(marker.bytes[:32])
        assert wire.frames, "nothing was seen on the wire"
        assert hidden == encrypts(self.implementation), f"{self.implementation}: plaintext {'not ' * hidden}on the wire"

    def figure(self, measure, *words):
        try:
            measure(*words)
        except (Failed, TimedOut, AssertionError) as error:
            what = " ".join(map(str, (measure.__name__, *words)))
            self.failed.append(f"{what}: {error}")
            results.append(self.path, {"kind": "failure", "round": self.turn, "implementation": self.implementation,
                                       "what": what, "error": type(error).__name__})

    def note(self, key, value, **detail):
        results.append(self.path, {"kind": "figure", "round": self.turn, "implementation": self.implementation,
                                   "figure": key, "value": value, "detail": detail})

    def streams(self, streams, way):
        before = self.used()
        flow = tcp(self.a, self.b, self.address, streams, way, self.settings.tcp, self.settings.omit)
        after = self.used()
        self.note(f"tcp{streams}_{way}", flow["bits_per_second"], **flow)
        if self.tunnel and way == "out":
            cpu = [end - start for start, end in zip(before["cpu"], after["cpu"])]
            carried = after["bytes"] - before["bytes"]
            self.note(f"cpu{streams}", sum(cpu) / carried * 1e9, cpu_seconds=cpu, bytes=carried)

    def used(self):
        """Processor time of each end, and the bytes of inner packets that came out of the tunnel at both."""
        return {"cpu": [cpu_seconds(site.device.process.pid) for site in self.sites],
                "bytes": sum(site.host.statistic(site.device.name, "rx_bytes") for site in self.sites)}

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
        each = [peak_bytes(site.device.process.pid) for site in self.sites]
        self.note("memory", max(each), each=each)


def described(settings):
    return {**asdict(settings), "mtu": MTU, "congestion": CONGESTION, "udp_loss_limit": 0.001}
