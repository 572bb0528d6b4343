#!/usr/bin/env python3
"""Two sites across an internet, all in network namespaces of this machine; see demo.sh.

    a -------- gwa ======== internet ======== gwb -------- b
"""
import glob
import os
import shutil
import sys
import time

from lab import interrupt
from lab.capture import Capture
from lab.daemon import ADITD, Daemon
from lab.namespace import Net, sweep, sweep_abandoned
from lab.traffic import Marker, iperf3, ping
from lab.wireguard import keys, preshared_key

SECONDS = 2
UDP_RATE = "300M"
# The part of UDP packets above which a direction is called lossy.
LOSSY = 0.1
PORT = 51820
COLOUR = sys.stdout.isatty() and "NO_COLOR" not in os.environ
PICTURE = """
     a ---------- gwa ============ internet ============ gwb ---------- b
  10.1.0.2       |   198.51.100.2            203.0.113.2   |        10.2.0.2
  fd01::2        |   2001:db8:a::2         2001:db8:b::2   |         fd02::2
                 +-- aditd                         aditd --+
"""


class Trouble(Exception):
    """Something a person was promised did not happen."""


def paint(text, code):
    return f"\x1b[{code}m{text}\x1b[0m" if COLOUR else text


def good(text):
    return paint(text, 32)


def bad(text):
    return paint(text, 31)


def say(text):
    print(paint(text, 2), flush=True)


def heading(text):
    print("\n" + paint(text, 1), flush=True)


class Gateway:
    """One of the two gateways, with the network behind it. `letter` is a or b."""

    def __init__(self, net, letter):
        number = "ab".index(letter) + 1
        self.letter, self.keys = letter, keys()
        self.host, self.inside = net.host(f"gw{letter}"), net.host(letter)
        self.inner = {"IPv4": f"10.{number}.0.2", "IPv6": f"fd0{number}::2"}
        self.subnets = [f"10.{number}.0.0/24", f"fd0{number}::/64"]
        self.outer = {"IPv4": "198.51.100.2" if letter == "a" else "203.0.113.2", "IPv6": f"2001:db8:{letter}::2"}
        self.beyond = {"IPv4": "198.51.100.1" if letter == "a" else "203.0.113.1", "IPv6": f"2001:db8:{letter}::1"}
        net.link(self.inside, "lan", self.host, "lan")
        self.inside.address("lan", f"{self.inner['IPv4']}/24", f"{self.inner['IPv6']}/64")
        self.host.address("lan", f"10.{number}.0.1/24", f"fd0{number}::1/64")
        self.inside.route(f"default via 10.{number}.0.1", f"default via fd0{number}::1")
        self.host.forward()
        self.tunnel, self.daemon = net.device(f"wg{letter}"), Daemon(self.host)
        del self.daemon.config["gateway"]["workers"]

    def join(self, net, internet):
        """The cable to the internet."""
        net.link(self.host, "wan", internet, f"to{self.letter}")
        self.host.address("wan", f"{self.outer['IPv4']}/24", f"{self.outer['IPv6']}/64")
        internet.address(f"to{self.letter}", f"{self.beyond['IPv4']}/24", f"{self.beyond['IPv6']}/64")
        self.host.route(f"default via {self.beyond['IPv4']}", f"default via {self.beyond['IPv6']}")

    def configure(self, other, psk):
        """Writes the gateway's file: one tunnel with one peer. Routes come with it."""
        self.daemon.tunnel(self.tunnel, self.keys, port=PORT)
        self.peer = self.daemon.peer(self.tunnel, other.letter, other.keys.public, other.subnets, psk)

    def point_to(self, other, family):
        """Another endpoint for the peer: the file is changed and read again."""
        address = other.outer[family]
        self.peer["endpoint"] = f"[{address}]:{PORT}" if ":" in address else f"{address}:{PORT}"
        self.daemon.reload()


def lay_out(net):
    """The five namespaces, and aditd on both gateways."""
    internet = net.host("internet")
    internet.forward()
    sites = [Gateway(net, letter) for letter in "ab"]
    psk = preshared_key()
    for site in sites:
        site.join(net, internet)
    for site, other in (sites, sites[::-1]):
        site.configure(other, psk)
        site.daemon.start()
    return internet, *sites


def bits(rate):
    """A rate with three digits and a unit."""
    for unit in ("bit/s", "kbit/s", "Mbit/s", "Gbit/s"):
        if rate < 999.5 or unit == "Gbit/s":
            return f"{rate:.{max(0, 3 - len(str(int(rate))))}f} {unit}"
        rate /= 1000


def amount(size):
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1000 or unit == "GiB":
            return f"{size:.{0 if unit == 'B' else 1}f} {unit}"
        size /= 1024


def flows(a, b, outside):
    """Traffic through the tunnel, one line each. False if UDP was lossy somewhere: that is told, and no failure."""
    clean = True
    for inside in ("IPv4", "IPv6"):
        for protocol in ("TCP", "UDP"):
            for arrow, reverse in (("a -> b", False), ("b -> a", True)):
                udp = protocol == "UDP"
                flow = iperf3(a.inside, b.inside, b.inner[inside], udp=udp, reverse=reverse, seconds=SECONDS,
                              rate=UDP_RATE, length=1200 if udp else None)
                loss = f"{100 * flow.lost / max(flow.packets, 1):.2f} %" if udp else "-"
                enough = flow.bits_per_second > 1e6
                lossy = udp and flow.lost > LOSSY * flow.packets
                clean = clean and not lossy
                verdict = bad("too little") if not enough else bad("lossy") if lossy else good("ok")
                print(f"  {outside:8} {inside:8} {protocol:8} {arrow:9} {bits(flow.bits_per_second):>14} "
                      f"{amount(flow.bytes):>12} {loss:>9}   {verdict}", flush=True)
                if not enough:
                    raise Trouble(f"{protocol} {arrow}: {flow}")
    return clean


def eavesdrop(a, b, internet, outside):
    """Sends a marker both ways, and looks for it on the four links it may or may not cross."""
    marker = Marker("meet me at the old mill at nine")
    watched = {"a - gwa": Capture(a.host, "lan"), f"gwa - internet, {outside}": Capture(internet, "toa"),
               f"internet - gwb, {outside}": Capture(internet, "tob"), "gwb - b": Capture(b.host, "lan")}
    for sender, receiver in ((a, b), (b, a)):
        for address in receiver.inner.values():
            marker.send(sender.inside, address, count=100)
    for capture in watched.values():
        capture.stop(settle=0.2)
    for place, capture in watched.items():
        # One copy of it would be enough to tell; so would a piece.
        count = sum(marker.bytes[:16] in data for _, data in capture.frames)
        public = "internet" in place
        right = (count == 0) if public else count >= 100
        tunnel = len(capture.datagrams(PORT))
        print(f"  {place:26} {len(capture.frames):>8} {tunnel:>10} {count:>10}   "
              f"{good('as it should be') if right else bad('WRONG')}", flush=True)
        if not right or capture.dropped() or (public and tunnel < 100):
            raise Trouble(f"{place}: the marker was seen {count} times in {len(capture.frames)} packets, "
                          f"{tunnel} of the tunnel, {capture.dropped()} not captured")


def crash(a, b):
    """Kills a gateway without a word. What was meant for the tunnel must not leave in clear."""
    marker, capture = Marker("the old mill, as ever"), Capture(a.host, "wan")
    a.daemon.kill()
    for address in b.inner.values():
        marker.send(a.inside, address, count=100)
    capture.stop(settle=0.2)
    leaked = sum(marker.bytes[:16] in data for _, data in capture.frames)
    verdict = good("as it should be") if not leaked else bad("WRONG")
    print(f"  aditd on gwa killed with -9: of 200 packets for b, {leaked} left for the internet in clear   {verdict}")
    for line in a.host.ip("route show proto 173").splitlines():
        print(f"  still there: {line}")
    if leaked:
        raise Trouble("packets left in clear")


def demonstrate(net):
    say("making five machines: a, gwa, internet, gwb, b")
    internet, a, b = lay_out(net)
    print(PICTURE)
    a.point_to(b, "IPv4")
    if ping(internet, b.inner["IPv4"], count=1, wait=1):
        raise Trouble("the internet reaches b without the tunnel")
    start = time.monotonic()
    if not ping(a.inside, b.inner["IPv4"], count=1, wait=5):
        raise Trouble("b does not answer a")
    took = 1000 * (time.monotonic() - start)
    say(f"a reaches b through the tunnel: first answer after {took:.0f} ms, handshake included")
    clean = True
    for outside in ("IPv4", "IPv6"):
        for site, other in ((a, b), (b, a)):
            site.point_to(other, outside)
        if outside == "IPv4":
            heading("  outside  inside   protocol direction     throughput        moved      lost")
        clean = flows(a, b, outside) and clean
    heading("  link                        packets  encrypted     marker")
    for outside in ("IPv4", "IPv6"):
        for site, other in ((a, b), (b, a)):
            site.point_to(other, outside)
        eavesdrop(a, b, internet, outside)
    heading("  aditctl status, on gwa")
    for line in a.daemon.ctl("status")[1].splitlines():
        print(f"  {line}".rstrip())
    heading("  a crash")
    crash(a, b)
    return clean


def main():
    if not os.access(ADITD, os.X_OK):
        print(f"no program {ADITD}: run netns-tests/demo.sh, which builds it", file=sys.stderr)
        return 2
    folder, code = f"/tmp/adit-demo.{os.getpid()}", 1
    sweep_abandoned()
    interrupt.listen()
    try:
        with Net(folder) as net:
            clean = demonstrate(net)
        code = 0
    except interrupt.Interrupted as error:
        print(f"\n{error}", file=sys.stderr)
        code = 128 + error.number
    except Exception as error:
        print(bad(f"\n{type(error).__name__}: {error}"), file=sys.stderr)
        for path in sorted(glob.glob(f"{folder}/*.log")):
            with open(path, errors="replace") as file:
                print(f"--- {os.path.basename(path)}\n" + "".join(file.readlines()[-20:]), file=sys.stderr)
    finally:
        interrupt.hold()
        sweep(os.getpid())
        shutil.rmtree(folder, ignore_errors=True)
    if code == 0:
        carried = "All traffic went through" if clean else "Traffic went through, some UDP with much loss"
        print("\n" + good(f"{carried}; nobody on the wire could read it.") + " Nothing is left behind.")
    return code


if __name__ == "__main__":
    sys.exit(main())
