"""Traffic that is unlike a fast TCP stream. Each kind is looked at once, so that it is what it is called, then measured."""
import json
from contextlib import contextmanager

from lab.process import Failed
from lab.traffic import ping
from measure import stream, udp
from measure.implementation import TUNNELS, VETH
from measure.look import UDP, TIMESTAMPS, counters, looking
from measure.tcp import short, tcp
from measure.turn import MTU, Ends, Turn

# UDP payload that leaves room for VXLAN and its inner headers; what is cut in three; what fills an MTU of 8,920.
SINGLE, CUT, JUMBO = 1350, 4000, 8892
OUTER, INNER = 9000, 8920
VXLAN, PORT = 4789, 5300
# Addresses behind a site: its number, and the host's. Whose devices take super-packets.
LAN = "10.{0}.7.{1}"
UNCUT = (VETH, *(name for name in TUNNELS if name.startswith("adit")))


class Odd(Turn):
    """Where a device has something to be set for one figure, it is set back after it."""

    def measure(self):
        self.ends = Ends(self.net, self.implementation).start()
        self.a, self.b = self.ends.a, self.ends.b
        self.mtu = MTU if self.ends.tunnel else 1500
        with udp.sink(self.b, self.ends.address()):
            self.figure(self.single)
            self.figure(self.mixed)
            self.figure(self.fragments)
            self.figure(self.marked_datagrams)
            self.figure(self.vxlan)
            self.figure(self.segments)
            self.figure(self.stampless)
            self.figure(self.marked_stream)
            self.figure(self.options)
            self.figure(self.forwarded)
            self.figure(self.jumbo)

    def looking(self):
        return looking(self.a, *self.ends.link())

    def search(self, key, size, trains=False, ecn=False):
        seconds, steps = self.settings.udp, self.settings.steps
        found = udp.search(self.a, self.ends.address(), size, seconds, steps, trains, ecn)
        best = found["best"]
        self.note(key, best["delivered"] if best else 0.0, **found)

    def few(self, size, ecn=False):
        """A few datagrams, as the device of a saw them."""
        words = ["--seconds", 0.05, "--rate", 2000, "--no-gso", "--size", size, *(["--ecn"] if ecn else [])]
        with self.looking() as packets:
            udp.ask(self.a, "send", udp.place(self.ends.address()), *words, timeout=20)
        return [packet for packet in packets if packet.protocol == UDP and packet.target_port == udp.PORT]

    def stream(self, key, address, check, ends=None, **detail):
        """One TCP stream, after a look at a short one: `check` gets its packets on the device of a."""
        client, server = ends or (self.a, self.b)
        with self.looking() as packets:
            short(client, server, address)
        assert packets, "no packet was seen"
        check(packets)
        flow = tcp(client, server, address, 1, "out", self.settings.tcp, self.settings.omit)
        self.note(key, flow["bits_per_second"], **flow, **detail)

    def single(self):
        lengths = {packet.length for packet in self.few(SINGLE)}
        assert SINGLE + 28 in lengths and max(lengths) == SINGLE + 28, f"packets of {sorted(lengths)} bytes"
        self.search("odd_single", SINGLE)

    def mixed(self):
        lengths = {packet.length for packet in self.few("imix")}
        assert {64, 576, 1420} <= lengths, f"packets of {sorted(lengths)} bytes"
        self.search("odd_mixed", "imix")

    def fragments(self):
        # What a run that lost much leaves half joined must not take the room of the next, nor its numbers.
        self.b.sysctl("net.ipv4.ipfrag_time", 1)
        self.b.sysctl("net.ipv4.ipfrag_high_thresh", 256 << 20)
        before = counters(self.a, "snmp", "Ip"), counters(self.b, "snmp", "Ip")
        self.search("odd_fragments", CUT)
        after = counters(self.a, "snmp", "Ip"), counters(self.b, "snmp", "Ip")
        cut, joined = after[0]["FragCreates"] - before[0]["FragCreates"], after[1]["ReasmOKs"] - before[1]["ReasmOKs"]
        assert joined > 100 and cut >= 3 * joined, f"{cut} fragments were made, {joined} datagrams made of them"

    def marked_datagrams(self):
        marks = [packet.ecn for packet in self.few(1392, ecn=True)]
        assert marks.count(2) > 50, f"congestion marks {marks}"
        self.search("odd_ecn_udp", 1392, trains=True, ecn=True)

    def vxlan(self):
        """TCP in Ethernet in UDP: the kernel cuts it before the tunnel, since no TUN device can."""
        for site, other in ((self.ends.left, self.ends.right), (self.ends.right, self.ends.left)):
            local, remote = self.ends.address(site), self.ends.address(other)
            name = self.ends.link(site)[0]
            site.host.ip(f"link add vx type vxlan id 7 local {local} remote {remote} dstport {VXLAN} dev {name}")
            site.host.ip(f"link set vx mtu {self.mtu - 50}")
            site.host.address("vx", f"10.77.0.{site.number}/24")
            site.host.ip("link set vx up")

        def check(packets):
            through = [packet for packet in packets if packet.target_port == VXLAN]
            assert len(through) > 10, "no VXLAN was seen"
            if self.ends.tunnel:
                longest = max(packet.length for packet in through)
                assert longest <= self.mtu, f"packets of up to {longest} bytes"
        self.stream("odd_vxlan", f"10.77.0.{self.ends.right.number}", check)

    def segments(self):
        def check(packets):
            longest = max(packet.length for packet in packets)
            assert longest <= self.mtu, f"packets of up to {longest} bytes"
        with self.without_offloads():
            self.stream("odd_segments", self.ends.address(), check)

    @contextmanager
    def without_offloads(self):
        name = self.ends.link()[0]
        # A device that has none has nothing to switch; the packets tell.
        self.a.attempt("ethtool", "-K", name, "tso", "off", "gso", "off")
        try:
            yield
        finally:
            self.a.attempt("ethtool", "-K", name, "tso", "on", "gso", "on")

    @contextmanager
    def sysctl(self, name, value, usual):
        for host in (self.a, self.b):
            host.sysctl(name, value)
        try:
            yield
        finally:
            for host in (self.a, self.b):
                host.sysctl(name, usual)

    def stampless(self):
        def check(packets):
            kinds = [packet.tcp_options() for packet in packets if packet.syn]
            assert kinds and not any(TIMESTAMPS in each for each in kinds), f"TCP options {kinds}"
        with self.sysctl("net.ipv4.tcp_timestamps", 0, 1):
            self.stream("odd_stampless", self.ends.address(), check)

    def marked_stream(self):
        def check(packets):
            marked = sum(packet.ecn == 2 for packet in packets)
            assert marked > 3, f"{marked} of {len(packets)} packets were marked"
        with self.sysctl("net.ipv4.tcp_ecn", 1, 2):
            self.stream("odd_ecn_tcp", self.ends.address(), check)

    def options(self):
        address, before = self.ends.address(family="v6"), []
        seconds, omit = self.settings.tcp, self.settings.omit
        flow = self.optioned(address, 0.05, 0, before)
        optioned = [packet for packet in before if packet.option]
        assert len(optioned) > 10 and len(optioned) > len(before) / 2, f"{len(optioned)} of {len(before)} have options"
        flow = self.optioned(address, seconds, omit)
        self.note("odd_options", flow["bits_per_second"], **flow)

    def optioned(self, address, seconds, omit, packets=None):
        """One stream with a destination-options header in each packet; the packets are put in a list if there is one."""
        words = ["python3", "-B", stream.__file__]
        sink = self.b.start(*words, "sink", address, PORT, seconds, omit)
        sink.wait_output("listening", 5)
        if packets is None:
            sender = self.a.start(*words, "send", address, PORT)
            code = sink.wait(seconds + omit + 20)
        else:
            with self.looking() as seen:
                sender = self.a.start(*words, "send", address, PORT)
                code = sink.wait(seconds + omit + 20)
            packets += seen
        sender.stop()
        if code:
            raise Failed(f"stream.py: exit {code}: {sink.output()[-300:]}")
        return json.loads(sink.output().strip().splitlines()[-1])

    def forwarded(self):
        """TCP between hosts behind a and b, which are routers.

            near ---- a ---- wire ---- b ---- far
        """
        near, far = hosts = [self.behind(site, name) for site, name in ((self.ends.left, "near"), (self.ends.right, "far"))]
        address = LAN.format(self.ends.right.number, 2)

        def check(packets):
            # Behind a tunnel the hosts' own MTU is too long: they have to have been told.
            route = near.run("ip", "route", "get", address)
            assert not self.ends.tunnel or f"mtu {self.mtu} " in route, f"no path MTU of {self.mtu}: {route}"
            longest = max(packet.length for packet in packets)
            assert longest > self.mtu or self.implementation not in UNCUT, f"only packets of up to {longest} bytes"
        self.stream("odd_forwarded", address, check, hosts)

    def behind(self, site, name):
        """A host in a network of its own behind a site. What the other site has behind it is reached through the site."""
        other = self.ends.pair.other(site)
        lan, beyond = (LAN.format(one.number, 0) + "/24" for one in (site, other))
        host, router = self.net.host(name), LAN.format(site.number, 1)
        self.net.link(host, "lan", site.host, "lan")
        host.address("lan", LAN.format(site.number, 2) + "/24")
        host.route(f"default via {router}")
        site.host.address("lan", f"{router}/24")
        site.host.forward()
        if self.ends.tunnel:
            site.host.route(f"{beyond} dev {site.device.name}")
            other.device.set("peer", site.keys.public, "allowed-ips", f"{site.allowed_ips()},{lan}")
        else:
            site.host.route(f"{beyond} via {self.ends.address(other)}")
        return host

    def jumbo(self):
        """Last: nothing after it has the usual MTU."""
        for site in (self.ends.left, self.ends.right):
            site.host.ip(f"link set {site.wire} mtu {OUTER}")
            if self.ends.tunnel:
                site.host.ip(f"link set {site.device.name} mtu {INNER}")
        answered = ping(self.a, self.ends.address(), size=JUMBO, fragment=False)
        assert answered, f"no echo of {JUMBO} bytes, not to be cut, was answered"
        self.search("odd_jumbo_udp", JUMBO, trains=True)
        flow = tcp(self.a, self.b, self.ends.address(), 1, "out", self.settings.tcp, self.settings.omit)
        self.note("odd_jumbo_tcp", flow["bits_per_second"], **flow)
