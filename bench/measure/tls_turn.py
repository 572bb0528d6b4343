"""Figures of what ends TLS, for each second of its own processor time: one client does not keep a terminator busy."""
import time

from measure.cost import cpu_seconds
from measure.tls_ends import TlsEnds
from measure.turn import Turn

# Connections that say nothing.
IDLE = 5000


class TlsTurn(Turn):
    """`wanted` is tls."""

    def measure(self):
        self.ends = TlsEnds(self.net, self.implementation)
        self.length = self.settings.tls
        self.figure(self.idle_cpu)
        self.figure(self.memory)
        self.figure(self.handshakes, "full_ecdsa", "ecdsa", False, False)
        self.figure(self.handshakes, "full_rsa", "rsa", False, False)
        self.figure(self.handshakes, "resumed", "ecdsa", True, False)
        if self.implementation.startswith("adit"):
            self.figure(self.handshakes, "hybrid", "ecdsa", False, True)
        self.figure(self.bodies, "1k", 64)
        self.figure(self.bodies, "1m", 8)
        self.figure(self.bodies, "16m", 4)

    def handshakes(self, key, port, resume, hybrid):
        told = self.ends.load("handshakes", *(["--resume"] if resume else []), port=port, seconds=self.length, hybrid=hybrid)
        assert told["failed"] <= told["done"] // 100, f"{told['failed']} of {told['done']} failed"
        resumed = told["resumed"] / told["done"]
        assert resumed > 0.99 if resume else resumed == 0, f"{resumed:.0%} were resumed"
        self.note(f"tls_{key}", told["done"] / told["cpu"], **told)

    def bodies(self, which, connections):
        told = self.ends.load("requests", f"/{which}", connections=connections, seconds=self.length)
        self.note(f"tls_body_{which}", told["done"] / told["cpu"], **told)

    def memory(self):
        self.ends.load("handshakes", seconds=0.2)
        time.sleep(0.3)
        before = self.ends.memory()
        child = self.ends.held(IDLE)
        time.sleep(0.5)
        after, cpu = self.ends.memory(), cpu_seconds(self.ends.process.pid)
        time.sleep(self.length)
        self.note("tls_idle_cpu_held", (cpu_seconds(self.ends.process.pid) - cpu) / self.length)
        self.note("tls_memory", (after - before) / IDLE, before=before, after=after)
        child.communicate("\n", 30)
        time.sleep(0.5)

    def idle_cpu(self):
        before = cpu_seconds(self.ends.process.pid)
        time.sleep(self.length)
        self.note("tls_idle_cpu", (cpu_seconds(self.ends.process.pid) - before) / self.length)
