"""Fail closed: what is meant for a tunnel never leaves in clear, whatever became of the daemon. Shown by capture."""
import os
import socket
import threading
import time
from collections import Counter

from lab.capture import Capture
from lab.case import case
from lab.daemon import gateways
from lab.site import wired
from lab.traffic import Marker, reaches
from lab.wait import until

BEHIND = ("10.30.0.1", "fd30::1")
ELSEWHERE = ("198.51.100.1", "2001:db8:ffff::1")


class Shower:
    """Marked datagrams to all of these addresses, from a gateway itself and from a host behind it, without a pause.

    From the gateway by sockets that are connected, and so remember their route, and by others.
    """

    def __init__(self, net, gateway, behind, targets):
        self.marker, self.running, self.sent, self.outlets = Marker(f"secret {os.getpid()}"), True, 0, []
        for host, connected in ((gateway, True), (gateway, False), (behind, False)):
            for target in targets:
                outlet = host.socket(socket.AF_INET6 if ":" in target else socket.AF_INET, socket.SOCK_DGRAM)
                if connected:
                    outlet.connect((target, 9))
                self.outlets.append((outlet, None if connected else (target, 9)))
        self.thread = threading.Thread(target=self.work, daemon=True)
        self.thread.start()
        net.stack.callback(self.stop)

    def work(self):
        while self.running:
            for outlet, target in self.outlets:
                try:
                    outlet.sendto(self.marker.bytes, target) if target else outlet.send(self.marker.bytes)
                except OSError:
                    pass        # held back, and told so
            self.sent += 1
            time.sleep(0.002)

    def stop(self):
        self.running = False
        self.thread.join(2)


class Scene:
    """A gateway that would send anything to its provider, and a tunnel that it is to use in its place.

        c ---- lan ---- a: aditd ---- wire ---- b: aditd, the way to everywhere for a
    """

    def __init__(self, net, default=False, **tunnel):
        self.pair = wired(net)
        self.a, self.b = gateways(self.pair)
        self.name, self.net = self.pair.left.device.name, net
        c = net.host("c")
        net.link(self.a.host, "lan", c, "lan")
        self.a.host.address("lan", "172.16.0.1/24", "fd16::1/64")
        c.address("lan", "172.16.0.2/24", "fd16::2/64")
        self.a.host.forward()
        c.route("default via 172.16.0.1", "default via fd16::1")
        self.a.host.route("default via 192.0.2.2", "default via 2001:db8::2")
        table = self.a.config["wireguard"][self.name]
        table.update(tunnel)
        table["peer"]["other"]["allowed_ips"] += ["0.0.0.0/0", "::/0"] if default else ["10.30.0.0/16", "fd30::/48"]
        ours = self.b.config["wireguard"][self.pair.right.device.name]["peer"]["other"]
        ours["allowed_ips"] += ["172.16.0.0/24", "fd16::/64"]
        self.b.host.address("lo", *(f"{address}/{128 if ':' in address else 32}" for address in BEHIND + ELSEWHERE))
        self.b.start()
        self.a.start()
        assert reaches(self.a.host, self.pair.right.inner())
        self.targets = [*BEHIND, *(ELSEWHERE if default else (self.pair.right.inner(), self.pair.right.inner("v6")))]
        self.wire = Capture(self.a.host, "wire")
        self.inside = Capture(self.b.host, self.pair.right.device.name, link_header=0)
        self.shower = Shower(net, self.a.host, c, self.targets)
        self.inside.wait_holds(self.shower.marker.bytes)

    def goes_on(self, rounds=60):
        """The shower has gone on for a while."""
        sent = self.shower.sent
        until(lambda: self.shower.sent > sent + rounds, 20, "the shower")

    def in_clear(self):
        """How many marked frames the wire has seen so far."""
        return len(self.marked())

    def marked(self):
        """The marked frames that the wire has seen so far."""
        return [data for _, data in list(self.wire.caught_up().frames) if self.shower.marker.bytes in data]


def stop(scene):
    scene.a.stop()


def kill(scene):
    scene.a.kill()


def delete_link(scene):
    scene.a.host.ip(f"link del {scene.name}")


def set_down(scene):
    scene.a.host.ip(f"link set {scene.name} down")


def remove_socket(scene):
    os.unlink(scene.pair.left.device.socket)


def flush_addresses(scene):
    scene.a.host.ip(f"address flush dev {scene.name} scope global")


ENDS = {end.__name__: end for end in (stop, kill, delete_link, set_down, remove_socket, flush_addresses)}


def brought_back(scene, how):
    """What an operator does after each of them."""
    if how in ("stop", "kill"):
        scene.a.start()
    elif how == "set_down":
        scene.a.host.ip(f"link set {scene.name} up")
    else:
        scene.a.reload()


@case(default=(False, True), how=tuple(ENDS))
def nothing_leaves(net, default, how):
    """The daemon stopped, killed, its device or socket gone: no marked packet leaves in clear; then it works again."""
    scene = Scene(net, default)
    ENDS[how](scene)
    if how in ("delete_link", "remove_socket"):
        until(lambda: scene.a.status()["wireguard"][scene.name]["state"] == "gone", 15, "state gone")
    scene.goes_on()
    brought_back(scene, how)
    for address in (scene.pair.right.inner(), *BEHIND, scene.pair.right.inner("v6")):
        assert reaches(scene.a.host, address, 15), f"{address} is not reached again"
    scene.goes_on()
    scene.shower.stop()
    assert scene.in_clear() == 0, f"{scene.in_clear()} packets left in clear of {scene.shower.sent} rounds"
    assert scene.wire.dropped() == 0, "the capture missed some: it proves nothing"


@case(default=(False, True))
def allowed_to(net, default):
    """With allow_fail_open = true it does leave in clear, and the status warns: so the capture would see it."""
    scene = Scene(net, default, allow_fail_open=True)
    assert scene.a.guards() == set() and scene.in_clear() == 0
    told = scene.a.status()["wireguard"][scene.name]
    assert not told["fail_closed"] and any("allow_fail_open" in warning for warning in told["warnings"])
    scene.a.host.ip(f"link del {scene.name}")
    until(lambda: scene.a.status()["wireguard"][scene.name]["state"] == "gone", 15, "state gone")
    told = scene.a.status()["wireguard"][scene.name]
    assert not told["fail_closed"] and "leaves in clear" in told["warnings"][0], told
    scene.a.kill()
    kinds = lambda: Counter(data[12:14] for data in scene.marked())
    until(lambda: all(kinds()[kind] > 10 for kind in (b"\x08\0", b"\x86\xdd")), 15, "marked packets of both IPs in clear")
    # The file says otherwise from now on: with a restart the guards are there.
    scene.a.config["wireguard"][scene.name]["allow_fail_open"] = False
    scene.a.start()
    assert len(scene.a.guards()) >= 4
    scene.wire = Capture(scene.a.host, "wire")
    scene.goes_on(20)
    scene.a.kill()
    scene.goes_on()
    assert scene.in_clear() == 0, "in clear though it is not allowed any more"
    assert scene.wire.frames and scene.wire.dropped() == 0, "the capture missed some: it proves nothing"


@case()
def reloads(net):
    """Nothing leaves in clear over reloads that change all of the tunnel; once it is removed its guards are gone."""
    scene = Scene(net)
    table = scene.a.config["wireguard"][scene.name]
    for change in ({"mtu": 1300}, {"listen_port": 51999}, {"fwmark": 9}, {"addresses": ["10.9.0.1/24", "10.1.1.1/24",
                                                                                       "fd09::1/64"]}):
        table.update(change)
        scene.a.reload()
    new = net.device("new")
    scene.a.config["wireguard"] = {new: table}
    scene.a.reload()
    scene.goes_on(20)
    assert scene.in_clear() == 0, f"{scene.in_clear()} packets left in clear"
    assert {"10.30.0.0/16", "10.9.0.0/24", "10.1.1.0/24", "fd30::/48", "fd09::/64"} <= scene.a.guards()
    table["peer"]["other"]["allowed_ips"].remove("10.30.0.0/16")
    scene.a.reload()
    assert "10.30.0.0/16" not in scene.a.guards() and "fd30::/48" in scene.a.guards()
    scene.a.config["wireguard"] = {}
    scene.a.reload()
    assert scene.a.guards() == set()
    until(lambda: scene.in_clear() > 20, 15, "marked packets in clear: the operator took the tunnel away")


@case()
def guards_of_an_earlier_daemon(net):
    """Guards that a killed daemon left are taken away by the next one, if its file does not want them."""
    scene = Scene(net, default=True)
    scene.a.kill()
    assert "0.0.0.0/0" in scene.a.guards() and "fwmark" in scene.a.host.ip("rule")
    table = scene.a.config["wireguard"][scene.name]
    table["peer"]["other"]["allowed_ips"] = ["10.30.0.0/16"]
    table["addresses"] = ["10.9.0.1/32"]
    scene.a.start()
    assert scene.a.guards() == {"10.30.0.0/16"}, scene.a.guards()
    assert "fwmark" not in scene.a.host.ip("rule") + scene.a.host.ip("-6 rule")


@case()
def changed_tunnel_fails_to_start(net):
    """A daemon that fails to start over the guards of a killed one leaves them: it is not the one to open them."""
    scene = Scene(net)
    scene.a.kill()
    scene.a.config["wireguard"][scene.name]["hooks"] = {"pre_up": ["exit 1"]}
    code, output = scene.a.attempt()
    assert code == 1, output
    scene.goes_on()
    assert scene.in_clear() == 0, f"{scene.in_clear()} packets left in clear"
