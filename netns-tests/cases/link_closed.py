"""Nothing in clear, in or out: on the wire of an encrypted Ethernet link there is MACsec, its handshake, and nothing else.

    x: host [lan] ---- a: bridge, msec0 [wire] ==== switch ==== [wire] b: msec0, bridge ---- [lan] y: host

The capture is at the switch; the gateways' own IP stacks, with addresses on the wire, talk all the time.
"""
import os
import socket
import struct
import threading
import time

from lab import link_secy as secy
from lab.case import SLOW, case
from lab.link import Link
from lab.link_raw import BROADCAST, Raw, packet_socket
from lab.link_switch import Switch
from lab.traffic import Marker, ping
from lab.wait import until

# Seconds that a key may be used, and that the old one of two is still taken (docs/security.md): WireGuard's own.
REJECT_AFTER = 180


class Talk:
    """All that a machine could say on a wire: its IP stack, programs with raw sockets, and the hosts behind it."""

    def __init__(self, net, link):
        self.link, self.marker, self.running, self.rounds = link, Marker(f"secret {os.getpid()}"), True, 0
        for end in link.ends:
            end.host.sysctl("net.ipv6.conf.wire.disable_ipv6", 0)
            end.host.address("wire", f"192.0.2.{end.number}/24", f"2001:db8::{end.number}/64")
        self.raws = [packet_socket(end.host, "wire", incoming=False) for end in link.ends]
        self.outlets = []
        for end in link.ends:
            for target in (f"192.0.2.{3 - end.number}", "192.0.2.255", f"2001:db8::{3 - end.number}", "ff02::1%wire"):
                self.outlets.append((end.host.socket(socket.AF_INET6 if ":" in target else socket.AF_INET,
                                                     socket.SOCK_DGRAM), target))
            self.outlets[-3][0].setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        self.behind = link.x.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.thread = threading.Thread(target=self.work, daemon=True)
        self.thread.start()
        net.stack.callback(self.stop)

    def work(self):
        clear = BROADCAST + b"\2\0\0\0\0\7\x08\0" + self.marker.bytes
        tagged = clear[:12] + struct.pack("!HH", 0x8100, 7) + clear[12:]
        while self.running:
            for outlet, target in self.outlets:
                self.attempt(outlet.sendto, self.marker.bytes, (target.partition("%")[0], 9) if "%" not in target
                             else (target, 9))
            for raw in self.raws:
                for frame in (clear, tagged):
                    self.attempt(raw.send, frame)
            self.attempt(self.behind.sendto, self.marker.bytes, ("10.8.0.2", 9))
            self.rounds += 1
            time.sleep(0.005)

    @staticmethod
    def attempt(send, *words):
        try:
            send(*words)
        except OSError:
            pass            # held back, the link down, or nobody's neighbour: what matters is what the wire shows

    def goes_on(self, rounds=60):
        already = self.rounds
        until(lambda: self.rounds > already + rounds, 30, "the talk")

    def stop(self):
        self.running = False
        self.thread.join(2)


class Scene:
    """Gateway a runs, b does not yet; both talk. The guards of both are there from here on."""

    def __init__(self, net, keys="noise"):
        self.switch = Switch()
        self.link = Link(net, keys=keys, middle=self.switch.between)
        # Daemons that were there once have laid the guards. What starts now has no keys, unless they are static.
        self.link.start(*self.link.ends)
        for end in self.link.ends:
            end.stop()
        self.watch = self.switch.watch()
        self.link.a.start()
        self.talk = Talk(net, self.link)

    def check(self):
        """Nothing that does not belong there has been seen so far, and nothing can have been missed."""
        self.watch.caught_up()
        assert not self.watch.strangers(), f"on the wire: {self.watch.strangers()}"
        assert not self.watch.holds(self.talk.marker.bytes[:16]), "a marked datagram is on the wire"
        assert self.watch.dropped() == 0, "the capture missed some: it proves nothing"

    def through(self):
        """Frames pass, so the capture would show them."""
        self.link.fit()
        self.link.both_ways(15)
        until(lambda: len(self.watch.protected()) > 10, 15, "MACsec on the wire")

    def silence(self, rounds):
        """Nothing at all crosses the wire while the talk goes on."""
        before = len(self.watch.caught_up().frames)
        self.talk.goes_on(rounds)
        assert len(self.watch.caught_up().frames) == before, "frames on the wire without a daemon"


def stop(end):
    end.stop()


def kill(end):
    end.kill()


ENDS = {"stop": stop, "kill": kill}


@case(limit=60)
def before_keys(net):
    """As long as there are no keys the wire shows handshakes and nothing else, whatever hosts and gateways send."""
    scene = Scene(net)
    scene.talk.goes_on(300)
    scene.check()
    assert any(secy.ether_type(frame, 1)[0] == secy.NOISE for _, frame in scene.watch.frames), "no handshake either"
    scene.link.b.start()
    scene.through()
    scene.check()


@case(limit=60, how=tuple(ENDS), who=("a", "b"))
def without_the_daemon(net, how, who):
    """A daemon that is stopped or killed leaves a guard: nothing in clear then, while it starts again, and after that."""
    scene = Scene(net)
    scene.link.b.start()
    scene.through()
    end = getattr(scene.link, who)
    ENDS[how](end)
    scene.talk.goes_on(200)
    scene.check()
    end.start()
    scene.talk.goes_on(20)
    scene.through()
    scene.check()


@case(limit=90)
def killed_in_a_loop(net):
    """Ten kills and starts at odd moments, without a frame in clear."""
    scene = Scene(net)
    scene.link.b.start()
    scene.through()
    for number in range(10):
        scene.link.a.kill()
        scene.talk.goes_on(5 + 7 * number % 11)
        scene.link.a.daemon.launch()
        time.sleep(0.02 * (number * 3 % 10))
    scene.link.a.kill()
    scene.link.a.start()
    scene.through()
    scene.check()


@case(limit=60)
def static_keys(net):
    """The same under static keys: without a daemon at either end nothing passes, in clear or otherwise."""
    scene = Scene(net, "static")
    scene.talk.goes_on(100)
    scene.link.b.start()
    scene.through()
    for end in scene.link.ends:
        end.kill()
    scene.silence(100)
    scene.check()


@case(limit=REJECT_AFTER + 90, group=SLOW)
def after_keys_expire(net):
    """Keys that were not renewed for 180 s are used no more, and what hosts send then does not leave in clear either."""
    scene = Scene(net)
    scene.link.b.start()
    scene.through()
    scene.link.b.kill()
    time.sleep(REJECT_AFTER + 5)
    before = len(scene.watch.protected())
    scene.talk.goes_on(200)
    scene.check()
    assert len(scene.watch.protected()) == before, "an expired key is used"


@case(limit=60, daemon=("running", "dead"))
def nothing_comes_in(net, daemon):
    """Frames in clear that arrive by the wire reach neither the gateway's own stack nor the hosts behind it."""
    scene = Scene(net)
    scene.talk.stop()
    scene.link.b.start()
    scene.through()
    host, behind = scene.link.a.host, Raw(scene.link.x, "lan")
    if daemon == "dead":
        scene.link.a.kill()
    outside = b"\2\0\0\0\0\x66"
    ask = BROADCAST + outside + struct.pack("!HHHBBH6s4s6s4s", 0x0806, 1, 0x0800, 6, 4, 1, outside,
                                            socket.inet_aton("192.0.2.77"), bytes(6), socket.inet_aton("192.0.2.1"))
    tagged = ask[:12] + struct.pack("!HH", 0x8100, 7) + ask[12:]
    doubly = ask[:12] + struct.pack("!HHHH", 0x88A8, 9, 0x8100, 7) + ask[12:]
    length = ask[:12] + struct.pack("!H", 60) + bytes(60)
    for frame in (ask, tagged, doubly, length):
        for _ in range(20):
            scene.switch.inject("left", frame)
    time.sleep(0.5)
    scene.watch.caught_up()
    assert "192.0.2.77" not in host.ip("neigh show dev wire"), "the gateway learned of a neighbour"
    assert not scene.watch.from_(outside) or all(frame[:6] == BROADCAST for frame in scene.watch.from_(outside))
    assert not any(frame[:6] == outside for _, frame in list(scene.watch.frames)), "the gateway answered"
    assert not any(outside in frame[:12] for frame in behind.frames), "a frame in clear reached the host behind"
    if daemon == "running":
        told = scene.link.a.daemon.status()["macsec"]["uplink"]["link"]
        assert told["guarded"] and told["held_back_in"] >= 60, told


@case(limit=60)
def what_hosts_send_is_not_routed_around(net):
    """With the TAP's carrier gone the bridge does not find another way out: pings fail, and the wire stays silent."""
    scene = Scene(net)
    scene.link.b.start()
    scene.through()
    for end in scene.link.ends:
        end.kill()
    assert ping(scene.link.x, "10.8.0.2", wait=0.3) == 0
    scene.silence(50)
    scene.check()
