"""Endpoints that are names: resolved at the start, later, and again when the peer is elsewhere."""
import ipaddress
import os
import shutil
import socket
import struct
import threading

from lab.case import SLOW, case
from lab.daemon import gateways
from lab.site import PORT, wired
from lab.traffic import reaches
from lab.wait import TimedOut, until
from lab.wireguard import keys

NAME = "hub.example.org"
A, AAAA = 1, 28


class Dns:
    """A name server at 127.0.0.1 of a host, and that host's resolv.conf. `names` may change at any time."""

    def __init__(self, host, names=()):
        self.names, self.asked = dict(names), []
        folder = f"/etc/netns/{host.netns}"
        os.makedirs(folder)
        host.net.stack.callback(shutil.rmtree, folder, ignore_errors=True)
        with open(f"{folder}/resolv.conf", "w") as file:
            file.write("nameserver 127.0.0.1\noptions timeout:1 attempts:1\n")
        self.inlet = host.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.inlet.bind(("127.0.0.1", 53))
        threading.Thread(target=self.work, daemon=True).start()

    def work(self):
        while True:
            try:
                data, source = self.inlet.recvfrom(512)
            except OSError:
                return
            self.inlet.sendto(self.answer(data), source)

    def answer(self, data):
        """RFC 1035, section 4.1: one question back, and what there is to it."""
        labels, at = [], 12
        while data[at]:
            labels.append(data[at + 1:at + 1 + data[at]].decode())
            at += 1 + data[at]
        kind, = struct.unpack_from("!H", data, at + 1)
        name, question = ".".join(labels), data[12:at + 5]
        self.asked.append(name)
        addresses = [ipaddress.ip_address(address) for address in self.names.get(name, ())]
        wanted = [address.packed for address in addresses if kind == {4: A, 6: AAAA}[address.version]]
        code = 0 if addresses else 3
        records = b"".join(b"\xc0\x0c" + struct.pack("!HHIH", kind, 1, 1, len(packed)) + packed for packed in wanted)
        return data[:2] + struct.pack("!HHHHH", 0x8180 | code, 1, len(wanted), 0, 0) + question + records


def named(net, *addresses):
    """Two gateways; the left one knows the right one by name."""
    pair = wired(net)
    a, b = gateways(pair)
    del b.config["wireguard"][pair.right.device.name]["peer"]["other"]["endpoint"]
    peer = a.config["wireguard"][pair.left.device.name]["peer"]["other"]
    peer["endpoint"] = f"{NAME}:{PORT}"
    return pair, a, b, Dns(a.host, {NAME: addresses} if addresses else {})


def peer_of(daemon):
    tunnel, = daemon.status()["wireguard"].values()
    return tunnel["peers"][0]


#   a: aditd, asks for hub.example.org ---- wire ---- b: aditd
@case()
def resolves_later(net):
    """A name that cannot be resolved keeps nothing from starting, is told in words, and is resolved once it can be."""
    pair, a, b, dns = named(net)
    b.start()
    a.start()
    told = until(lambda: peer_of(a)["warnings"], 15, "a warning")
    assert f"{NAME}:{PORT} cannot be resolved" in told[0] and peer_of(a)["endpoint"] is None, told
    assert told[0] in a.ctl("status")[1], "not in what people see"
    dns.names[NAME] = [pair.right.outer()]
    until(lambda: peer_of(a)["endpoint"] == f"{pair.right.outer()}:{PORT}", 20, "the endpoint")
    assert reaches(a.host, pair.right.inner(), 15)
    found = peer_of(a)
    assert found["endpoint_name"] == f"{NAME}:{PORT}" and found["warnings"] == [], found


@case(how=("tunnel_comes_back", "tunnel_renamed", "peer_has_a_new_key"))
def resolved_again(net, how):
    """Who is made anew by a reload is looked up anew, though the name is the same."""
    pair, a, b, dns = named(net, "192.0.2.2")
    b.start()
    a.start()
    assert reaches(a.host, pair.right.inner(), 15)
    name = pair.left.device.name
    if how == "tunnel_comes_back":
        tunnel = a.config["wireguard"].pop(name)
        a.reload()
        a.config["wireguard"][name] = tunnel
    elif how == "tunnel_renamed":
        pair.left.device.name = net.device("new")
        a.config["wireguard"][pair.left.device.name] = a.config["wireguard"].pop(name)
    else:
        new = keys()
        a.config["wireguard"][name]["peer"]["other"]["public_key"] = new.public
        b.secret(f"{pair.right.device.name}.key", new.private)
        b.reload()
    a.reload()
    until(lambda: peer_of(a)["endpoint"] == pair.right.endpoint(), 15, "the endpoint")
    assert reaches(a.host, pair.right.inner(), 15)
    assert a.status()["wireguard"].keys() == {pair.left.device.name}


@case()
def remembered(net):
    """A daemon that starts where nobody resolves the name looks for the peer where it was, and says so."""
    pair, a, b, dns = named(net, "192.0.2.2")
    b.start()
    a.start()
    assert reaches(a.host, pair.right.inner(), 15)
    a.kill()
    dns.names = {}
    a.start()
    until(lambda: peer_of(a)["endpoint"] == pair.right.endpoint(), 15, "where it was")
    assert reaches(a.host, pair.right.inner(), 15)
    assert any("cannot be resolved" in warning for warning in peer_of(a)["warnings"]), peer_of(a)


@case()
def forgotten(net):
    """A tunnel that is removed has its names asked for no more."""
    pair, a, b, dns = named(net)
    a.start()
    until(lambda: dns.asked.count(NAME) >= 2, 15, "two questions")
    a.config["wireguard"] = {}
    a.reload()
    asked = len(dns.asked)
    # It would be asked for again after 1 s, and 2 s later.
    try:
        until(lambda: len(dns.asked) > asked + 2, 4, "no question")
    except TimedOut:
        return
    raise AssertionError(f"{len(dns.asked) - asked} more questions")


#   a: aditd, asks for hub.example.org ---- wire ---- b: aditd at 192.0.2.2, later at 2001:db8::2 alone
@case(limit=90, group=SLOW)
def moves(net):
    """The peer moves to an address of the other IP and its name with it: after 15 s of silence it is found again."""
    pair, a, b, dns = named(net, "192.0.2.2")
    b.start()
    a.start()
    assert reaches(a.host, pair.right.inner(), 15)
    b.host.ip(f"address del {pair.right.outer()}/24 dev wire")
    dns.names[NAME] = [pair.right.outer("v6")]
    took = reaches(a.host, pair.right.inner(), 45)
    assert took and took > 10, f"after {took} s: is this still the way it came?"
    assert peer_of(a)["endpoint"] == pair.right.endpoint("v6")


#   a: aditd, asks for hub.example.org ---- wire ---- b: aditd at 192.0.2.2; nobody at 2001:db8::77
@case(limit=90)
def two_addresses(net):
    """Where nobody answers for 15 s the name is asked for again, and the other one of its two addresses is tried."""
    dead, right = "2001:db8::77", "192.0.2.2"
    pair, a, b, dns = named(net, dead, right)
    b.start()
    a.start()
    until(lambda: peer_of(a)["endpoint"] == f"[{dead}]:{PORT}", 15, "the first of the addresses")
    asked = len(dns.asked)
    assert reaches(a.host, pair.right.inner(), 40)
    assert peer_of(a)["endpoint"] == pair.right.endpoint() and len(dns.asked) > asked
