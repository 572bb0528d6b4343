"""A turn: one implementation, in namespaces of its own. Each figure is written down as soon as it is known."""
from dataclasses import asdict, dataclass

from lab.capture import Capture
from lab.process import Failed
from lab.site import wired
from lab.traffic import Marker, reaches
from lab.wait import TimedOut
from measure import results
from measure.cost import cpu_seconds
from measure.implementation import VETH, encrypts, environment
from measure.tcp import CONGESTION

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
    # Of crowds: each search is shorter, since there are many.
    throng: float = 0.6
    throng_steps: int = 6
    # Of each run of clients of what ends TLS.
    tls: float = 2.0


QUICK = Settings(tcp=1, omit=0, udp=0.3, steps=6, idle=0.5, load=1.0, throng=0.3, throng_steps=3, tls=0.5)


class Ends:
    """Two ends of the same implementation on one cable with its offloads, and what is between them.

        a: device ---- wire ---- b: the same implementation
    """

    def __init__(self, net, implementation, workers=None, wire_mtu=1500):
        self.implementation, self.tunnel = implementation, implementation != VETH
        self.pair = wired(net, left=implementation, right=implementation, wire_mtu=wire_mtu)
        self.left, self.right = self.pair.left, self.pair.right
        self.a, self.b = self.left.host, self.right.host
        self.sites = (self.left, self.right) if self.tunnel else ()
        for site in self.sites:
            site.device.environment.update(environment(implementation, workers))

    def start(self, mtu=MTU):
        if self.tunnel:
            self.pair.start(mtu)
            found = reaches(self.a, self.address(), 10)
            assert found is not None, f"{self.implementation}: no echo through the tunnel"
            self.check_wire()
        return self

    def address(self, site=None, family="v4"):
        """Where the generators of a site, b unless said, are reached: in the tunnel, if there is one."""
        site = site or self.right
        return site.inner(family) if self.tunnel else site.outer(family)

    def link(self, site=None):
        """The device that inner packets take at a site, a unless said; and the length of its link header."""
        site = site or self.left
        return (site.device.name, 0) if self.tunnel else (site.wire, 14)

    def check_wire(self):
        """What encrypts must, and what is measured as not encrypting must not: or the comparison means nothing."""
        marker, wire = Marker("seen by everybody on the wire"), Capture(self.a, "wire")
        marker.send(self.a, self.address())
        wire.stop()
        hidden = not wire.holds(marker.bytes[:32])
        assert wire.frames, "nothing was seen on the wire"
        assert hidden == encrypts(self.implementation), f"{self.implementation}: plaintext {'not ' * hidden}on the wire"

    def used(self):
        """Processor time of each end, and the bytes of inner packets that came out of the tunnel at both."""
        return {"cpu": [cpu_seconds(site.device.process.pid) for site in self.sites],
                "bytes": sum(site.host.statistic(site.device.name, "rx_bytes") for site in self.sites)}


class Turn:
    """Keeps the books of a turn. What fails is written down as such, and the next figure is measured."""

    def __init__(self, net, implementation, number, wanted, settings, path):
        self.net, self.implementation, self.number = net, implementation, number
        self.wanted, self.settings, self.path = wanted, settings, path
        self.failed = []

    def run(self):
        self.measure()
        assert not self.failed, "; ".join(self.failed)

    def measure(self):
        """All figures of this kind of turn."""
        raise NotImplementedError

    def figure(self, measure, *words):
        try:
            measure(*words)
        except (Failed, TimedOut, AssertionError) as error:
            what = " ".join(map(str, (measure.__name__, *words)))
            self.failed.append(f"{what}: {error}")
            results.append(self.path, {"kind": "failure", "round": self.number, "implementation": self.implementation,
                                       "what": what, "error": type(error).__name__})

    def note(self, key, value, **detail):
        results.append(self.path, {"kind": "figure", "round": self.number, "implementation": self.implementation,
                                   "figure": key, "value": value, "detail": detail})


def described(settings):
    return {**asdict(settings), "mtu": MTU, "congestion": CONGESTION, "udp_loss_limit": 0.001}
