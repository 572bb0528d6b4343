"""Two gateways joined by an encrypted link, each with a host behind its bridge.

    x [lan] ---- [lan] a: bridge br0, msec0 [wire] ==== [wire] b: msec0, bridge br0 [lan] ---- [lan] y

The wire is Ethernet, or an IP network that carries the link in UDP. ADIT_LINK=by-hand puts a station by hand with static
keys in the daemon's place, to tell whether a case is right or the daemon is wrong.
"""
import os
import time

from lab import link_config as config
from lab import link_secy as secy
from lab.daemon import Daemon
from lab.link_station import Station
from lab.traffic import reaches
from lab.wait import TimedOut, until

BY_HAND = os.environ.get("ADIT_LINK") == "by-hand"
NAME, TAP, BRIDGE = "uplink", "msec0", "br0"
SUITE = "gcm-aes-xpn-256"
# Octets that the link adds to a frame on Ethernet: SecTAG with SCI, and ICV.
OVERHEAD = 32


def association(suite, ssci, **more):
    """A random key, with what extended packet numbers want."""
    xpn = {"salt": os.urandom(12), "ssci": ssci} if secy.is_xpn(suite) else {}
    return secy.Association(os.urandom(secy.key_length(suite)), **xpn, **more)


def copy(one):
    """The same key with a count of its own: each end has one."""
    return secy.Association(one.key, one.an, one.salt, one.ssci, one.number)


class End:
    """A gateway: `number` is 1 for a, on the left, and 2 for b."""

    def __init__(self, host, number):
        self.host, self.number, self.daemon, self.station, self.table, self.sending = host, number, None, None, {}, None
        self.mac = f"02:00:5e:10:00:{number:02x}"
        self.sci = secy.octets(self.mac) + b"\0\1"

    def start(self):
        """Ready on return, the device a port of the bridge; there may be no keys yet."""
        if not BY_HAND:
            self.daemon.start()
            return
        peer, words = self.known, {"window": self.table.get("replay_window", 64 if "udp" in self.table else 0)}
        # Its packet numbers go on where they were.
        self.sending = self.sending or copy(self.transmit)
        if isinstance(self.table.get("udp"), dict):
            there, port = self.table["udp"]["peer"].rsplit(":", 1)
            words["udp"] = (self.table["udp"]["listen"], (there.strip("[]"), int(port)))
        self.station = Station(self.host, "wire", TAP, self.mac, self.sending, self.other.sci,
                               {peer.an: copy(peer)}, mtu=self.mtu, **words)
        if "bridge" in self.table:
            self.host.ip(f"link set {TAP} master {BRIDGE}")

    def stop(self):
        self.station.stop() if BY_HAND else self.daemon.stop()

    def kill(self):
        self.station.stop() if BY_HAND else self.daemon.kill()

    def counts(self):
        """Its counters, by the standard's names."""
        return self.station.counts if BY_HAND else config.counters(self.daemon, NAME)

    def device_mtu(self):
        """The MTU of the device, as the daemon worked it out."""
        return int(self.host.run("cat", f"/sys/class/net/{TAP}/mtu"))

    def came_out(self):
        """Frames that the link has handed to the bridge so far."""
        return self.host.statistic(TAP, "rx_packets")


class Link:
    """`carrier` is raw, udp or udp6, `keys` noise or static. `middle(net, a, b)` may put something else between; more words
    go to the tables of both ends. Not started.
    """

    def __init__(self, net, carrier="raw", keys="noise", suite=SUITE, mtu=1600, middle=None, bridge=True, **more):
        self.net, self.carrier, self.mtu = net, carrier, mtu
        self.x, self.y = net.host("x"), net.host("y")
        self.a, self.b = (End(net.host(name), number) for name, number in (("a", 1), ("b", 2)))
        self.ends = (self.a, self.b)
        for end in self.ends:
            # Nothing of the gateway's own is heard, on the wire or on the bridge: what is counted there is the hosts'.
            end.host.sysctl("net.ipv6.conf.default.disable_ipv6", 1)
        if middle:
            middle(net, self.a.host, self.b.host)
        else:
            net.link(self.a.host, "wire", self.b.host, "wire", mtu, offload=False)
        self.behind(bridge)
        for end, other in ((self.a, self.b), (self.b, self.a)):
            end.other, end.daemon = other, Daemon(end.host)
            end.table.update({"tap": TAP, **self.carried(end, other), **({"bridge": BRIDGE} if bridge else {}), **more})
            # As a daemon would work it out; over UDP there are IP, UDP and 4 octets more, and the inner header.
            end.mtu = mtu - OVERHEAD - {"raw": 0, "udp": 46, "udp6": 66}[carrier]
        self.key("static" if BY_HAND else keys, suite)
        for end in self.ends:
            config.put(end.daemon, NAME, end.table)

    def behind(self, bridge):
        """The hosts, and the bridges that they are on."""
        for number, (host, end) in enumerate(((self.x, self.a), (self.y, self.b)), 1):
            self.net.link(host, "lan", end.host, "lan", max(1500, self.mtu - 100))
            if bridge:
                end.host.ip(f"link add {BRIDGE} type bridge mcast_snooping 0")
                end.host.ip(f"link set lan master {BRIDGE}")
                end.host.ip(f"link set {BRIDGE} up")
            host.address("lan", f"10.8.0.{number}/24", f"fd08::{number}/64")

    def carried(self, end, other):
        """What the table of an end says of its carrier."""
        if self.carrier == "raw":
            return {"link": "wire"}
        if self.carrier == "udp6":
            end.host.sysctl("net.ipv6.conf.wire.disable_ipv6", 0)
            end.host.address("wire", f"2001:db8::{end.number}/64")
            return {"udp": {"listen": config.PORT, "peer": f"[2001:db8::{other.number}]:{config.PORT}"}}
        end.host.address("wire", f"192.0.2.{end.number}/24")
        return {"udp": {"listen": config.PORT, "peer": f"192.0.2.{other.number}:{config.PORT}"}}

    def key(self, keys, suite):
        if keys == "noise":
            tables = config.noise([end.daemon for end in self.ends], NAME, suite)
            for end, table in zip(self.ends, tables):
                end.table.update(table)
            return
        for end in self.ends:
            end.transmit = association(suite, end.number)
        for end in self.ends:
            end.known = end.other.transmit
            end.table.update(config.static(end.daemon, NAME, suite, end.transmit, end.other.sci, {0: end.known}),
                             mac=end.mac)

    def start(self, *ends):
        """Starts both ends, or those given; with both it waits until frames pass."""
        for end in ends or self.ends:
            end.start()
        if not ends:
            self.fit()
            assert reaches(self.x, "10.8.0.2", 20) is not None, f"no echo over the link; {self.told()}"
        return self

    def fit(self):
        """The hosts' MTU is what the link carries."""
        fits = min(end.device_mtu() for end in self.ends)
        for host in (self.x, self.y):
            if fits < int(host.run("cat", "/sys/class/net/lan/mtu")):
                host.ip(f"link set lan mtu {fits}")

    def hush(self):
        """Neither host asks for the other's address any more, nor has an IPv6 stack."""
        macs = [host.run("cat", "/sys/class/net/lan/address").strip() for host in (self.x, self.y)]
        for number, host in enumerate((self.x, self.y)):
            host.sysctl("net.ipv6.conf.lan.disable_ipv6", 1)
            host.ip(f"neigh replace 10.8.0.{2 - number} lladdr {macs[1 - number]} dev lan nud permanent")
        # What was on its way.
        time.sleep(0.3)

    def both_ways(self, seconds=10):
        """Echoes pass from either host, within so many seconds."""
        assert reaches(self.x, "10.8.0.2", seconds) is not None, f"no echo from x; {self.told()}"
        assert reaches(self.y, "10.8.0.1", seconds) is not None, f"no echo from y; {self.told()}"

    def told(self):
        """What both ends count, for the report of a failure."""
        try:
            return " and ".join(f"{end.host.name}: {dict(end.counts())}" for end in self.ends)
        except Exception as error:                              # one that is dead tells nothing
            return f"no counters: {error}"

    def until(self, condition, seconds, what, step=0.01):
        """As `until`; if it does not come about, what both ends count is told with it."""
        try:
            return until(condition, seconds, what, step)
        except TimedOut as error:
            raise TimedOut(f"{error}; {self.told()}") from None

    def grows(self, end, name, above, seconds=10):
        """Until a counter of an end is above a value; the new value."""
        # A status may be a second old, and asking for another takes as long.
        return self.until(lambda: (now := end.counts()[name]) > above and now, seconds, f"{name} of {end.host.name}", 0.1)
