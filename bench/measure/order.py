"""The order inside one inner flow, both ways at full rate, with one and two workers, and while keys are changed."""
import time
from contextlib import ExitStack

from measure import udp
from measure.beside import Beside
from measure.hub import Hub
from measure.implementation import STANDARD, WORKERS
from measure.look import counters
from measure.tcp import tcp
from measure.turn import Ends, Turn

SIZE = 1392
# Peers of a hub in pairs: so many that the two of some pair are not heard by the same worker.
PAIRED = 16
# Of a session, when its initiator makes a new one (WireGuard paper, section 6.1); this long before it sending begins,
# and it ends as long after.
REKEY, MARGIN = 120, 2.5
REORDERED = ("TCPSACKReorder", "TCPTSReorder", "TCPRenoReorder")


class Order(Turn):
    """Both numbers of workers live side by side, so that the time until keys are old is waited for once."""

    def measure(self):
        self.ends = {}
        with ExitStack() as stack:
            for workers in (1, 2) if self.implementation in WORKERS else (0,):
                net = stack.enter_context(Beside(self.net, f"w{workers}"))
                self.ends[workers] = Ends(net, self.implementation, workers or None).start()
                self.figure(self.flows, workers)
                if self.implementation in STANDARD:
                    self.figure(self.hub, workers)
            for workers in self.ends:
                self.figure(self.rekey, workers)

    def flows(self, workers):
        ends = self.ends[workers]
        seconds, found, before = self.settings.udp * 2, [], self.counted(ends)
        for trains in (True, False):
            found += udp.both_ways(ends, SIZE, seconds, trains)
        for streams in (1, 4):
            tcp(ends.a, ends.b, ends.address(), streams, "both", self.settings.tcp, self.settings.omit)
        counts = {name: count - before[name] for name, count in self.counted(ends).items()}
        self.note(f"order_udp_{workers}", sum(one["reordered"] for one in found), runs=found)
        self.note(f"order_copies_{workers}", sum(one["duplicates"] for one in found))
        # Two runs, two ways each: what both ways carry at once.
        self.note(f"order_rate_{workers}", sum(one["delivered"] for one in found) / 2)
        self.note(f"order_tcp_{workers}", sum(counts.get(name, 0) for name in REORDERED), **counts)
        self.note(f"order_queued_{workers}", counts["TCPOFOQueue"], segments=counts["InSegs"])

    def hub(self, workers):
        """Flows both ways between two peers, which a gateway with several workers may hear by different ones."""
        with Beside(self.net, f"h{workers}") as net:
            hub = Hub(net, self.implementation, workers or None).start()
            hub.configure(PAIRED)
            seconds = self.settings.udp * 2
            _, found, _ = hub.crowd(PAIRED, "--pairs", "--size", SIZE, "--seconds", seconds, "--rate", "max",
                                    seconds=seconds + 20)
        assert found["received"] > 1000, f"{found['received']} packets arrived"
        self.note(f"order_hub_{workers}", found["reordered"] + found["duplicates"], **found)

    @staticmethod
    def counted(ends):
        """What TCP says of order at both ends, and how many segments came in."""
        total = {}
        for host in (ends.a, ends.b):
            found = {**counters(host, "netstat", "TcpExt"), "InSegs": counters(host, "snmp", "Tcp")["InSegs"]}
            for name in (*REORDERED, "TCPOFOQueue", "TCPDSACKRecv", "InSegs"):
                total[name] = total.get(name, 0) + found.get(name, 0)
        return total

    def rekey(self, workers):
        ends = self.ends[workers]
        first = self.handshake(ends)
        time.sleep(max(0.0, first + REKEY - MARGIN - time.time()))
        found = udp.both_ways(ends, SIZE, 2 * MARGIN + 1, True)
        later = self.handshake(ends)
        assert later > first + 100, "no new handshake while datagrams were sent"
        reordered = sum(one["reordered"] + one["duplicates"] for one in found)
        self.note(f"order_rekey_{workers}", reordered, runs=found, age=later - first)

    @staticmethod
    def handshake(ends):
        """When the last one was, in seconds since 1970."""
        return ends.left.peer_state(ends.right).handshake
