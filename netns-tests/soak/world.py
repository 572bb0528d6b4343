"""Where a soak takes place, and what its gateways are to be at each moment.

    hub (aditd, reloaded, never killed) ---- internet ---- east (aditd, reloaded and killed)
                                                 |
                                               west (adit-wireguard or another, by wg; killed)

Tunnel a joins hub and east over IPv4 and is always there; so is b, between hub and west. c joins hub and east over IPv6
and comes and goes. 10.77.0.0/24 is behind east, by a or by c.
"""
from dataclasses import dataclass, field

from lab.wireguard import keys

from soak.gateway import Daemon, Plain

SITES = {"hub": 1, "east": 2, "west": 3}
TUNNELS = {"a": 1, "b": 2, "c": 3}
# Where each end of a tunnel listens, but for what a reload changes.
PORTS = {"a": 51820, "b": 51840, "c": 51830}
EAST, BEHIND = "10.77.0.1", "10.77.0.0/24"
LOSS = """
flush ruleset
table inet soak {{
  chain loss {{ type filter hook forward priority 0; numgen random mod 100 < {percent} drop; }}
}}
"""


def outer(site, number=2):
    return f"198.18.{SITES[site]}.{number}", f"2001:db8:{SITES[site]}::{number}"


def inner(tunnel, site):
    """Its addresses in a tunnel: IPv4 and IPv6."""
    return f"10.9.{TUNNELS[tunnel]}.{SITES[site]}", f"fd09:{TUNNELS[tunnel]}::{SITES[site]}"


def networks(tunnel, site):
    """The same with the lengths of their networks."""
    return [f"{address}/{length}" for address, length in zip(inner(tunnel, site), (24, 64))]


@dataclass
class Wanted:
    """What a reload changes."""
    third: bool = False
    by_third: bool = False
    keepalive: int = 5
    mtu: int = 1420
    port: int = PORTS["a"]
    second_address: bool = False
    # Peers that nobody is.
    strays: dict = field(default_factory=dict)


class World:
    """The namespaces, the gateways, and what they agreed on."""

    def __init__(self, net, record, west):
        self.net, self.wanted, self.places = net, Wanted(), dict.fromkeys(SITES, 2)
        self.internet = net.host("internet")
        self.internet.forward()
        self.hosts = {site: self.connect(site) for site in SITES}
        self.hosts["east"].address("lo", f"{EAST}/32")
        self.keys = {(tunnel, site): keys() for tunnel in TUNNELS for site in SITES}
        self.hub, self.east = Daemon(self.hosts["hub"], record), Daemon(self.hosts["east"], record)
        for tunnel in TUNNELS:
            for gateway in (self.hub, self.east):
                gateway.aditd.secret(f"{tunnel}.key", self.keys[tunnel, gateway.name].private)
        self.west = Plain(self.hosts["west"], record, west, 1420, networks("b", "west"))

    def gateways(self):
        return self.hub, self.east, self.west

    def connect(self, site):
        """A machine with a cable to the internet."""
        host = self.net.host(site)
        self.net.link(host, "wan", self.internet, f"to{site}")
        for address, gateway, length in zip(outer(site), outer(site, 1), (24, 64)):
            host.address("wan", f"{address}/{length}")
            self.internet.address(f"to{site}", f"{gateway}/{length}")
            host.route(f"default via {gateway}")
        return host

    def move(self, site):
        """Gives a site other addresses outside; for a moment it has none. Nobody is told, but the files know them."""
        host, before, self.places[site] = self.hosts[site], self.places[site], 5 - self.places[site]
        for old, new, gateway, length in zip(outer(site, before), self.outside(site), outer(site, 1), (24, 64)):
            host.ip(f"address del {old}/{length} dev wan")
            host.address("wan", f"{new}/{length}")
            # An IPv4 route goes with the last address that it could use.
            host.ip(f"{'-6 ' if ':' in gateway else ''}route replace default via {gateway}")
        self.write()

    def outside(self, site):
        """Where a site is now: who starts meanwhile is told so by its file."""
        return outer(site, self.places[site])

    def lossy(self, percent):
        """The internet loses so many of a hundred packets."""
        self.internet.run("nft", "-f", "-", data=LOSS.format(percent=percent))

    def write(self):
        """Puts what is wanted into all files."""
        wanted = self.wanted
        by_c = wanted.third and wanted.by_third
        hub, east = {}, {}
        self.join(hub, "a", "hub", "east", wanted.port, wanted.keepalive, [] if by_c else [BEHIND])
        self.join(east, "a", "east", "hub", PORTS["a"], wanted.keepalive, port=wanted.port)
        self.join(hub, "b", "hub", "west", PORTS["b"], 5)
        if wanted.third:
            self.join(hub, "c", "hub", "east", PORTS["c"], 5, [BEHIND] if by_c else [])
            self.join(east, "c", "east", "hub", PORTS["c"], 5)
        hub["wga"]["mtu"] = wanted.mtu
        hub["wga"]["addresses"] += ["10.9.99.1/24"] if wanted.second_address else []
        hub["wga"]["peer"] |= wanted.strays
        for gateway, tunnels in ((self.hub, hub), (self.east, east)):
            gateway.aditd.config["wireguard"] = tunnels
            gateway.aditd.write()
        own = inner("b", "hub")
        self.west.conf = (
            f"[Interface]\nPrivateKey = {self.keys['b', 'west'].private}\nListenPort = {PORTS['b']}\n"
            f"[Peer]\nPublicKey = {self.keys['b', 'hub'].public}\nAllowedIPs = {own[0]}/32, {own[1]}/128\n"
            f"Endpoint = {self.outside('hub')[0]}:{PORTS['b']}\nPersistentKeepalive = 5\n")

    def join(self, tunnels, tunnel, site, other, listen, keepalive, more=(), port=None):
        """Adds a site's end of a tunnel. `port` is where the other site listens, if not as usual."""
        outside = self.outside(other)[0] if tunnel != "c" else f"[{self.outside(other)[1]}]"
        peer = {"public_key": self.keys[tunnel, other].public, "endpoint": f"{outside}:{port or PORTS[tunnel]}",
                "persistent_keepalive": keepalive, "allowed_ips": [*inner(tunnel, other), *more]}
        tunnels[f"wg{tunnel}"] = {"private_key_file": f"{tunnel}.key", "listen_port": listen,
                                  "addresses": networks(tunnel, site), "peer": {other: peer}}
