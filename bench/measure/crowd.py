"""A gateway with very many peers: what each of them costs, and how soon all are there."""
import re
import time

from lab.daemon import Daemon
from lab.process import resident
from lab.wireguard import keys
from measure.beside import Beside
from measure.figures import CROWD
from measure.hub import PATIENCE, Hub, peers
from measure.turn import Turn


class Crowd(Turn):
    """Of one gateway, from its start on."""

    def measure(self):
        self.hub = Hub(self.net, self.implementation)
        self.figure(self.starts)
        self.figure(self.is_configured)
        self.figure(self.handshakes)
        self.figure(self.carries)
        if self.implementation == "adit":
            self.figure(self.daemon)

    def starts(self):
        begin = time.monotonic()
        self.hub.start()
        self.note("crowd_start", time.monotonic() - begin)
        self.hub.configure(1)
        self.empty = self.hub.resident()

    def is_configured(self):
        self.note("crowd_configure", self.hub.configure(CROWD))
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

    def daemon(self):
        """aditd, with all of them in its file."""
        with Beside(self.net, "d") as net:
            daemon, name = Daemon(net.host("a")), net.device("wg")
            daemon.tunnel(name, keys(), ["10.127.0.1/24"])
            found = re.findall(r"PublicKey = (\S+)\nAllowedIPs = (\S+)", peers(CROWD))
            for number, (public, allowed) in enumerate(found):
                daemon.peer(name, f"p{number}", public, [allowed])
            daemon.write()
            begin = time.monotonic()
            daemon.launch()
            daemon.process.wait_output(r": ready;", PATIENCE)
            self.note("crowd_daemon", time.monotonic() - begin, peers=len(found), resident=resident(daemon.process.pid) * 1024)
