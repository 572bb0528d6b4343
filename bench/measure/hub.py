"""A gateway and a crowd of peers in one process.

    a: wg, gateway ---- wire ---- b: crowd, an outer address for each peer
"""
import json
import time

from lab.process import Failed, resident, run
from lab.site import PORT, Site
from measure.cost import cpu_seconds
from measure.implementation import CROWD, environment
from measure.turn import MTU

OUTER, INNER = "198.18.0.0/15", "10.128.0.0/9"
# Routed to nowhere: what is sent there has come out of the tunnel, and costs little more.
NOWHERE = "10.127.0.1"
# What may take long: the handshakes of all peers, in seconds; and configuring them.
PATIENCE, CONFIGURING = 60, 120


def peers(count):
    """The sections of so many peers, for `wg setconf`."""
    return run([CROWD, "peers", str(count)])[1]


class Hub:
    """The gateway is a router between its peers."""

    def __init__(self, net, implementation, workers=None):
        self.a, self.b = net.host("a"), net.host("b")
        net.link(self.a, "wire", self.b, "wire")
        self.site = Site(self.a, implementation, 1, "wire")
        self.site.device.environment.update(environment(implementation, workers))
        self.site.address_wire()
        self.b.address("wire", "192.0.2.2/24")
        self.b.route(f"local {OUTER} dev lo")
        self.a.route(f"{OUTER} via 192.0.2.2", f"blackhole {NOWHERE}/32")
        self.a.forward()
        for scope in ("all", "default"):
            # Back to where it came from is where it shall go.
            self.a.sysctl(f"net.ipv4.conf.{scope}.send_redirects", 0)
            self.a.sysctl(f"net.ipv4.conf.{scope}.rp_filter", 0)

    def start(self):
        self.site.start(MTU)
        self.a.route(f"{INNER} dev {self.site.device.name}")
        return self

    def configure(self, count):
        """Has the gateway know so many peers, and no others; the seconds that `wg` took to tell it."""
        text, begin = self.site.interface_conf() + peers(count), time.monotonic()
        self.a.run("wg", "setconf", self.site.device.name, "/dev/stdin", data=text, timeout=CONFIGURING)
        return time.monotonic() - begin

    def resident(self):
        """Bytes."""
        return resident(self.site.device.process.pid) * 1024

    def crowd(self, peers, *words, seconds):
        """All peers handshake, then send; what it says, with the gateway's own costs while they send."""
        process = self.b.start(CROWD, "run", f"{self.site.outer()}:{PORT}", "--key", self.site.keys.public,
                               "--count", peers, "--patience", PATIENCE, *words)
        process.wait_output('"handshakes":', PATIENCE + 10)
        before = self.used()
        code = process.wait(seconds)
        after = self.used()
        said = [json.loads(line) for line in process.output().splitlines() if line.startswith("{")]
        if code:
            raise Failed(f"crowd: exit {code}: {process.output().strip()[-300:]}")
        used = {name: after[name] - before[name] for name in after}
        return said[0]["handshakes"], said[-1], used

    def used(self):
        """Processor time, and what came out of the tunnel."""
        name = self.site.device.name
        return {"cpu": cpu_seconds(self.site.device.process.pid),
                **{which: self.a.statistic(name, which) for which in ("rx_bytes", "rx_packets", "rx_dropped")}}

    def handshaked(self):
        """Peers that the gateway has had a handshake with."""
        lines = self.a.run("wg", "show", self.site.device.name, "latest-handshakes", timeout=60).splitlines()
        return sum(line.split()[1] != "0" for line in lines)
