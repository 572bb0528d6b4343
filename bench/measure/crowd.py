"""A gateway with very many peers: what each of them costs, and how soon all are there."""
import time

from measure.figures import CROWD
from measure.hub import PATIENCE, Hub
from measure.turn import Turn


class Crowd(Turn):
    """Of one gateway, from its start on."""

    def measure(self):
        self.hub = Hub(self.net, self.implementation)
        self.figure(self.starts)
        self.figure(self.is_configured)
        self.figure(self.handshakes)
        self.figure(self.carries)

    def timed(self, key, act):
        begin = time.monotonic()
        act()
        self.note(key, time.monotonic() - begin)

    def starts(self):
        self.timed("crowd_start", self.hub.start)
        self.hub.configure(1)
        self.empty = self.hub.resident()

    def is_configured(self):
        self.timed("crowd_configure", lambda: self.hub.configure(CROWD))
        now = self.hub.resident()
        self.note("crowd_idle", (now - self.empty) / CROWD, before=self.empty, after=now)

    def handshakes(self):
        found, _, _ = self.hub.crowd(CROWD, "--seconds", 0, seconds=PATIENCE)
        self.note("crowd_handshakes", found["rate"], **found)
        now = self.hub.resident()
        self.note("crowd_live", (now - self.empty) / CROWD, before=self.empty, after=now)
        self.note("crowd_handshaked", self.hub.handshaked())

    def carries(self):
        seconds, steps = self.settings.throng, self.settings.throng_steps
        _, found, _ = self.hub.crowd(CROWD, "--seconds", seconds, "--steps", steps, seconds=steps * (seconds + 5) + 10)
        best = found["best"]
        self.note("crowd_through", best["delivered"] if best else 0.0, **found)
