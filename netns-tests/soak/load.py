"""Programs that run one after the other without end: iperf3, ping, and people who look at dropped packets."""
import itertools
import json
import os
import re

from lab.daemon import ADITCTL

# Seconds of one flow, and after which it is ended.
SECONDS, LIMIT = 10, 30
TCP_RATE, UDP_RATE = "60M", "15M"


class Job:
    """A lane of traffic: its next piece starts when the last one has ended, however that went."""

    def __init__(self, name, record):
        self.name, self.record, self.running, self.since, self.pause = name, record, [], 0.0, 0.0
        self.done, self.failed, self.hung, self.bytes = 0, 0, 0, 0

    def poll(self):
        now = self.record.now()
        if not self.running:
            if now >= self.pause:
                self.running, self.since = self.start(), now
            return
        client = self.running[-1]
        if client.alive() and now - self.since < LIMIT:
            return
        self.hung += client.alive()
        for one in self.running:
            one.stop(grace=1)
        good = self.collect(client.output(), client.child.returncode)
        self.done, self.failed, self.pause = self.done + good, self.failed + (not good), now + 0.5
        for one in self.running:
            os.unlink(one.log)
        self.running = []

    def stop(self):
        for one in self.running:
            one.stop(grace=1)


class Iperf(Job):
    """TCP and UDP by turns, both ways, by both IPs."""

    def __init__(self, name, record, client, server, addresses, port):
        super().__init__(name, record)
        self.client, self.server, self.port = client, server, port
        self.kinds = itertools.cycle(itertools.product(addresses, ("tcp", "udp"), ("", "-R")))

    def start(self):
        address, protocol, reverse = next(self.kinds)
        self.kind = f"{protocol} {'v6' if ':' in address else 'v4'} {'back' if reverse else 'there'}"
        words = ["-u", "-b", UDP_RATE, "-l", "1200"] if protocol == "udp" else ["-b", TCP_RATE]
        server = self.server.start("iperf3", "-s", "-1", "-p", self.port)
        # The client tries again while the server is not there yet.
        client = self.client.start("sh", "-c", "sleep 0.3; exec \"$@\"", "sh", "iperf3", "-c", address, "-p", self.port,
                                   "-J", "-t", SECONDS, "--connect-timeout", 4000, *words, *filter(None, [reverse]))
        return [server, client]

    def collect(self, output, code):
        try:
            end = json.loads(output[output.index("\n{") + 1:])["end"]
            moved, rate = end["sum_received"]["bytes"], end["sum_received"]["bits_per_second"] or 0
        except (ValueError, KeyError):
            self.record.write("flow", lane=self.name, what=self.kind, failed=output[-200:])
            return False
        self.bytes += moved
        # A flow that was cut off has no rate.
        self.record.write("flow", lane=self.name, what=self.kind, bytes=moved, mbit=round(rate / 1e6, 1), code=code)
        return code == 0


class Ping(Job):
    """Twenty echo requests, over and over."""

    def __init__(self, name, record, host, address):
        super().__init__(name, record)
        self.host, self.address, self.sent, self.lost = host, address, 0, 0

    def start(self):
        return [self.host.start("ping", "-n", "-q", "-c", 20, "-i", 0.5, "-w", 12, self.address)]

    def collect(self, output, code):
        found = re.search(r"(\d+) packets transmitted, (\d+) received", output)
        if found:
            self.sent, self.lost = self.sent + int(found[1]), self.lost + int(found[1]) - int(found[2])
        return code == 0


class Watcher(Job):
    """Somebody looks at the dropped packets for a few seconds, over and over."""

    def __init__(self, name, record, daemon):
        super().__init__(name, record)
        self.daemon, self.seen = daemon, 0

    def start(self):
        return [self.daemon.host.start(ADITCTL, "--socket", self.daemon.aditd.sockets, "trace", "drops", "--json",
                                       "--seconds", SECONDS)]

    def collect(self, output, code):
        self.seen += output.count("\n") - 1
        return code == 0
