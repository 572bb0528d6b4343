"""A gateway with its WireGuard device, its place on the wire (outside) and in the tunnel (inside).

Site number n has 192.0.2.n and 2001:db8::n outside, 10.9.0.n and fd09::n inside.
"""
from lab.guesthost import GuestHost
from lab.wireguard import Device, keys, preshared_key

PORT = 51820


class Site:
    """One gateway. `wire` is the name of its outer link."""

    def __init__(self, host, implementation, number, wire):
        self.host, self.number, self.wire, self.keys, self.mtu = host, number, wire, keys(), 1420
        self.device = Device(host, implementation, host.net.device(f"wg{number}"))

    def outer(self, family="v4"):
        return f"192.0.2.{self.number}" if family == "v4" else f"2001:db8::{self.number}"

    def inner(self, family="v4"):
        return f"10.9.0.{self.number}" if family == "v4" else f"fd09::{self.number}"

    def endpoint(self, family="v4"):
        return f"{self.outer()}:{PORT}" if family == "v4" else f"[{self.outer('v6')}]:{PORT}"

    def allowed_ips(self):
        """What a peer must allow for this site."""
        return f"{self.inner()}/32,{self.inner('v6')}/128"

    def address_wire(self):
        self.host.address(self.wire, f"{self.outer()}/24", f"{self.outer('v6')}/64")

    def start(self, mtu=None):
        """Makes the device with its inner addresses; it has no keys yet."""
        self.mtu = mtu or self.mtu
        self.device.start().up(self.mtu, f"{self.inner()}/24", f"{self.inner('v6')}/64")

    def interface_conf(self):
        return f"[Interface]\nPrivateKey = {self.keys.private}\nListenPort = {PORT}\n"

    def peer_conf(self, psk=None, endpoint=None, keepalive=None):
        """The section that another site has for this one."""
        text = f"[Peer]\nPublicKey = {self.keys.public}\nAllowedIPs = {self.allowed_ips()}\n"
        text += f"PresharedKey = {psk}\n" if psk else ""
        text += f"Endpoint = {endpoint}\n" if endpoint else ""
        return text + (f"PersistentKeepalive = {keepalive}\n" if keepalive else "")

    def peer_state(self, other):
        """What this site's device says about another site."""
        return self.device.state().peers[other.keys.public]


class Pair:
    """Two sites and what they agreed on.

        left (the device under test) ---- wire ---- right
    """

    def __init__(self, left, right, family="v4", psk=False):
        self.left, self.right, self.family = left, right, family
        self.psk = preshared_key() if psk else None

    def other(self, site):
        return self.right if site is self.left else self.left

    def configure(self, site, knows_endpoint=True, keepalive=None):
        other = self.other(site)
        endpoint = other.endpoint(self.family) if knows_endpoint else None
        site.device.setconf(site.interface_conf() + other.peer_conf(self.psk, endpoint, keepalive))

    def start(self, mtu=None, first=None):
        """Starts and configures both. With `first` only that site knows where the other one is: it must begin."""
        for site in (self.left, self.right):
            site.start(mtu)
            self.configure(site, first in (None, site))
        return self


def wired(net, left="adit", right="adit", family="v4", psk=False, wire_mtu=1500, offload=True, middle=None):
    """Two sites on one cable, addressed outside, not started. `middle(net, a, b)` may put something else between."""
    a = net.host("a")
    if right == "kernel":
        b, link = GuestHost(net, "b", a, "wire"), "eth0"
    else:
        b, link = net.host("b"), "wire"
        if middle:
            middle(net, a, b)
        else:
            net.link(a, "wire", b, "wire", wire_mtu, offload)
    pair = Pair(Site(a, left, 1, "wire"), Site(b, right, 2, link), family, psk)
    pair.left.address_wire()
    pair.right.address_wire()
    return pair
