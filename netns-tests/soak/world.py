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


@dataclass
class Stray:
    """A peer that nobody is. It comes and goes in the file."""
    public: str
    prefix: str
    endpoint: str
    keepalive: int


@dataclass
class Wanted:
    """What a reload changes."""
    third: bool = False
    by_third: bool = False
    keepalive: int = 5
    mtu: int = 1420
    port: int = PORTS["a"]
    second_address: bool = False
    strays: dict = field(default_factory=dict)


class World:
    """The namespaces, the gateways, and what they agreed on."""

    def __init__(self, net, record, folder, binaries, west):
        self.net, self.wanted = net, Wanted()
        self.internet = net.host("internet")
        self.internet.forward()
        self.hosts = {site: self.connect(site) for site in SITES}
        self.hosts["east"].address("lo", f"{EAST}/32")
        self.keys = {(tunnel, site): keys() for tunnel in TUNNELS for site in SITES}
        self.hub = Daemon(self.hosts["hub"], record, f"{folder}/hub", binaries)
        self.east = Daemon(self.hosts["east"], record, f"{folder}/east", binaries)
        for tunnel in TUNNELS:
            self.hub.key(f"{tunnel}.key", self.keys[tunnel, "hub"].private)
            self.east.key(f"{tunnel}.key", self.keys[tunnel, "east"].private)
        hub = inner("b", "hub")
        conf = (f"[Interface]\nPrivateKey = {self.keys['b', 'west'].private}\nListenPort = {PORTS['b']}\n[Peer]\n"
                f"PublicKey = {self.keys['b', 'hub'].public}\nAllowedIPs = {hub[0]}/32, {hub[1]}/128\n"
                f"Endpoint = {outer('hub')[0]}:{PORTS['b']}\nPersistentKeepalive = 5\n")
        addresses = [f"{address}/{length}" for address, length in zip(inner("b", "west"), (24, 64))]
        self.west = Plain(self.hosts["west"], record, west, conf, 1420, addresses)

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

    def move(self, site, number, before):
        """Gives a site other addresses outside. For a moment it has none."""
        host = self.hosts[site]
        for old, new, gateway, length in zip(outer(site, before), outer(site, number), outer(site, 1), (24, 64)):
            host.ip(f"address del {old}/{length} dev wan")
            host.address("wan", f"{new}/{length}")
            # An IPv4 route goes with the last address that it could use.
            host.ip(f"{'-6 ' if ':' in gateway else ''}route replace default via {gateway}")

    def lossy(self, percent):
        """The internet loses so many of a hundred packets."""
        self.internet.run("nft", "-f", "-", data=LOSS.format(percent=percent))

    def write(self):
        """Puts what is wanted into both files."""
        self.hub.write(self.hub_text())
        self.east.write(self.east_text())

    def hub_text(self):
        wanted = self.wanted
        by_a = [] if wanted.third and wanted.by_third else [BEHIND]
        text = self.tunnel("a", "hub", wanted.port, wanted.mtu, ["10.9.99.1/24"] if wanted.second_address else [])
        text += self.peer("a", "east", outer("east")[0], PORTS["a"], wanted.keepalive, by_a)
        for name, stray in wanted.strays.items():
            text += (f'[wireguard.wga.peer.{name}]\npublic_key = "{stray.public}"\nallowed_ips = ["{stray.prefix}"]\n'
                     f'endpoint = "{stray.endpoint}"\npersistent_keepalive = {stray.keepalive}\n')
        text += self.tunnel("b", "hub", PORTS["b"])
        text += self.peer("b", "west", outer("west")[0], PORTS["b"], 5)
        if wanted.third:
            text += self.tunnel("c", "hub", PORTS["c"])
            text += self.peer("c", "east", f"[{outer('east')[1]}]", PORTS["c"], 5, [] if by_a else [BEHIND])
        return text

    def east_text(self):
        text = self.tunnel("a", "east", PORTS["a"])
        text += self.peer("a", "hub", outer("hub")[0], self.wanted.port, self.wanted.keepalive)
        if self.wanted.third:
            text += self.tunnel("c", "east", PORTS["c"])
            text += self.peer("c", "hub", f"[{outer('hub')[1]}]", PORTS["c"], 5)
        return text

    def tunnel(self, tunnel, site, port, mtu=1420, more=()):
        addresses = [f"{address}/{length}" for address, length in zip(inner(tunnel, site), (24, 64))] + list(more)
        return (f'[wireguard.wg{tunnel}]\nprivate_key_file = "{tunnel}.key"\nlisten_port = {port}\nmtu = {mtu}\n'
                f"addresses = {addresses}\n".replace("'", '"'))

    def peer(self, tunnel, site, host, port, keepalive, more=()):
        allowed = [*inner(tunnel, site), *more]
        return (f'[wireguard.wg{tunnel}.peer.{site}]\npublic_key = "{self.keys[tunnel, site].public}"\n'
                f'endpoint = "{host}:{port}"\npersistent_keepalive = {keepalive}\n'
                f"allowed_ips = {allowed}\n".replace("'", '"'))
