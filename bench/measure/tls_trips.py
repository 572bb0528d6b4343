"""How long a request takes through what ends TLS, at the same rate for all that are compared."""
from contextlib import ExitStack
from statistics import median

from measure import results
from measure.beside import Beside
from measure.tls_ends import RIVALS, TlsEnds
from measure.turn import Turn

# Of the most that the client got out of the slowest of them. At 0.7 it is the client whose processor is full: one request at a
# time costs it more than many at once.
SHARES = {"": 0.7, "_half": 0.35}
CONNECTIONS = 32
# So often everybody has a turn: what else the machine does then meets all of them.
TURNS = 3
# Of the seconds of a run. What stops a machine for some milliseconds each second is 1 % of a run of half a second, and no p99 then.
BRIEF, WHOLE = 0.25, 1.0


class TlsTrips(Turn):
    """`wanted` is tls_trips: one and its rivals, side by side. Who is not asked waits, and takes no processor time."""

    def measure(self):
        with ExitStack() as stack:
            self.ends = {}
            for at, name in enumerate((self.implementation, *RIVALS[self.implementation])):
                self.ends[name] = TlsEnds(stack.enter_context(Beside(self.net, f"t{at}")), name)
            self.figure(self.trips)

    def around(self, part, *words, **more):
        """What tlsload tells, of each of them, of the runs that they take in turn."""
        found = {name: [] for name in self.ends}
        for _ in range(TURNS):
            for name, ends in self.ends.items():
                found[name].append(ends.load("requests", "/1k", *words, seconds=part * self.settings.tls, **more))
        return found

    def trips(self):
        peaks = {name: median(told["done"] / told["seconds"] for told in runs) for name, runs in self.around(BRIEF).items()}
        for suffix, share in SHARES.items():
            self.figure(self.at, suffix, round(share * min(peaks.values())), peaks)

    def at(self, suffix, rate, peaks):
        late = []
        for name, runs in self.around(WHOLE, "--rate", rate, connections=CONNECTIONS).items():
            done, lasted = sum(told["done"] for told in runs), sum(told["seconds"] for told in runs)
            busy = sum(told["cpu"] for told in runs) / lasted
            for which in ("p50", "p99"):
                each = [told[f"{which}_us"] for told in runs]
                results.append(self.path, {
                    "kind": "figure", "round": self.number, "implementation": name, "figure": f"tls_{which}{suffix}",
                    "value": median(each),
                    "detail": {"rate": rate, "peaks": peaks, "each": each, "busy": busy, "done": done, "seconds": lasted}})
            if done < 0.95 * rate * TURNS * WHOLE * self.settings.tls:
                late.append(f"{name}: {done} in {lasted:.1f} s of {rate} a second")
        assert not late, late
