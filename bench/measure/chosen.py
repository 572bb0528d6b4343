"""A turn of one of two commits that are compared: only the figures that were asked for."""
import re

from measure import implementation, udp
from measure.figures import FIGURES
from measure.plain import Plain
from measure.turn import Ends, Settings

SIDES = ("A", "B")
# Short: pairs tell more than long measurements.
BRIEF = Settings(tcp=2, omit=1, udp=0.5, steps=6, idle=1.0, load=2.0)
# What is measured for which figures, in the order of a turn; the groups are the words of the method.
MEASUREMENTS = (
    (r"trip_idle_\w+", "trips_idle"),
    (r"(?:tcp|cpu)(1|4)(?:_(out|back|both))?", "streams"),
    (r"udp(\d+)(_single)?", "udp"),
    (r"trip_load_\w+", "trips_loaded"),
    (r"memory", "memory"),
)


def measurements(keys):
    """The methods and their words that yield these figures, each once; a figure without one is a KeyError."""
    found = {}
    # Memory is that of full load, so there has to be some.
    for key in (*keys, *["tcp4_both"] * ("memory" in keys)):
        for place, (pattern, method) in enumerate(MEASUREMENTS):
            if match := re.fullmatch(pattern, key):
                found[place, method, words(method, match)] = None
                break
        else:
            raise KeyError(key)
    return [(method, arguments) for _, method, arguments in sorted(found)]


def words(method, match):
    if method == "streams":
        return int(match[1]), match[2] or "out"
    return (int(match[1]), not match[2]) if method == "udp" else ()


def measurable():
    """The keys of all figures that can be asked for."""
    return [figure.key for figure in FIGURES if any(re.fullmatch(pattern, figure.key) for pattern, _ in MEASUREMENTS)]


def enter(programs, generator):
    """Makes the sides known as implementations. `programs` are the paths of A and B, `generator` udpload's."""
    udp.UDPLOAD = generator
    for side, path in zip(SIDES, programs):
        implementation.PROGRAMS[side] = [path, "-f"]
    implementation.TUNNELS = (*implementation.TUNNELS, *SIDES)


class Chosen(Plain):
    """`wanted` are keys of figures."""

    def measure(self):
        self.ends = Ends(self.net, self.implementation).start()
        self.a, self.b, self.address = self.ends.a, self.ends.b, self.ends.address()
        with udp.sink(self.b, self.address):
            for method, arguments in measurements(self.wanted):
                self.figure(getattr(self, method), *arguments)

    def note(self, key, value, **detail):
        """Only what was asked for: a measurement may yield more."""
        if key in self.wanted:
            super().note(key, value, **detail)
