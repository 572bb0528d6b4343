"""Clocks that jump, and machines that sleep. The machine is the guest: nothing else may have its clock set."""
import os
import re
import socket
import threading
import time

from lab.capture import Capture
from lab.case import SLOW, case
from lab.process import run
from lab.site import PORT, wired
from lab.traffic import ping, reaches
from lab.wait import until
from lab.wireguard import ADIT, Device

HOUR = 3600
FOLDER = "/run/adit"


def carry(site, guest, paths):
    """Copies files of this machine into the guest, over the wire to `site`."""
    with site.host.socket(socket.AF_INET, socket.SOCK_STREAM) as door:
        door.bind((site.outer(), 0))
        door.listen(1)
        door.settimeout(20)
        for path in paths:
            def serve():
                talk, _ = door.accept()
                with talk, open(path, "rb") as file:
                    talk.sendfile(file)
            thread = threading.Thread(target=serve, daemon=True)
            thread.start()
            name = f"{FOLDER}/{os.path.basename(path)}"
            guest.shell(f"mkdir -p {FOLDER}; nc {site.outer()} {door.getsockname()[1]} > {name} </dev/null; "
                        f"chmod +x {name}", timeout=40)
            thread.join(5)
            assert int(guest.shell(f"stat -c %s {name}")) == os.path.getsize(path), f"{path} did not arrive whole"


class GuestDevice(Device):
    """adit in the guest, with the libraries that it was linked to."""

    def start(self):
        libraries = re.findall(r"(/\S+\.so\S*)", run(["ldd", ADIT])[1])
        if not getattr(self.host, "carried", False):
            carry(self.host.other, self.host, [ADIT, *libraries])
            self.host.shell("modprobe tun")
            self.host.carried = True
        loader = next(os.path.basename(path) for path in libraries if "ld-linux" in path)
        self.process = self.host.start(f"{FOLDER}/{loader}", "--library-path", FOLDER,
                                       f"{FOLDER}/{os.path.basename(ADIT)}", "-f", self.name)
        until(lambda: self.host.attempt("wg", "show", self.name)[0] == 0, 10, f"{self.name} in the guest", step=0.1)
        return self

    def stop(self):
        """Ends the device as its user would."""
        self.process.stop()
        until(lambda: not self.process.alive(), 5, "the end of adit in the guest", step=0.1)


def with_guest(net, device):
    """A pair of which the right one is in the guest, started: adit, or the kernel's own."""
    pair = wired(net, right="kernel")
    if device == "adit":
        pair.right.device = GuestDevice(pair.right.host, "adit", pair.right.device.name)
        pair.right.host.other = pair.left
    pair.left.device.environment["LOG_LEVEL"] = "info"
    return pair.start()


def set_clock(guest, seconds):
    """Sets the guest's wall clock to this machine's, so many seconds later."""
    guest.shell(f"date -u -s @{int(time.time()) + seconds}")


#   a: adit ---- wire ---- b: guest, whose wall clock jumps
@case(device=("adit",), limit=90)
@case(device=("kernel",), limit=90, group=SLOW)
def wall_clock_jumps(net, device):
    """A session does not care for the wall clock; after a restart with a clock that went back no handshake succeeds."""
    pair = with_guest(net, device)
    a, b = pair.left, pair.right
    assert ping(b.host, a.inner()) == 3
    handshake = a.peer_state(b).handshake
    server = a.host.start("iperf3", "-s", "-1", "--forceflush")
    server.wait_output("Server listening", 15)
    client = b.host.start("iperf3", "-c", a.inner(), "-t", "3", "-b", "20M", "--forceflush")
    time.sleep(0.5)
    for hours in (5, -5, 100, 0):
        set_clock(b.host, hours * HOUR)
        assert ping(b.host, a.inner()) == 3 and ping(a.host, b.inner()) == 3, f"{hours} hours off"
    server.wait(15)
    until(lambda: not client.alive(), 15, "the end of the transfer", step=0.1)
    assert "receiver" in client.output(), client.output()
    assert a.peer_state(b).handshake == handshake, "a new handshake was made"

    # Its stamps are older than those it sent before: to the peer it is a replay (WireGuard paper, section 5.1).
    set_clock(b.host, -HOUR)
    before = a.device.drops().get("timestamp_replayed", 0)
    b.device.stop()
    b.start()
    pair.configure(b)
    assert reaches(b.host, a.inner(), 3) is None, "an older stamp was believed"
    # And refused for no other reason.
    until(lambda: a.device.drops().get("timestamp_replayed", 0) > before, 10, "the replays, counted", step=0.1)
    set_clock(b.host, 0)
    assert reaches(b.host, a.inner(), 20) is not None, "no handshake with a clock that is right again"


def sleep_until_woken(guest, seconds):
    """Suspends the guest to memory; its own alarm wakes it. How far its clocks went: (with suspend, without)."""
    clocks = "cut -d' ' -f1 /proc/uptime; sed -n 's/^now at \\([0-9]*\\) nsecs/\\1/p' /proc/timer_list"
    command = f"{clocks}; echo +{seconds} > /sys/class/rtc/rtc0/wakealarm; echo mem > /sys/power/state; {clocks}"
    words = guest.shell(command, timeout=seconds + 40).split()
    return float(words[2]) - float(words[0]), (int(words[3]) - int(words[1])) / 1e9


#   a: adit ---- wire ---- b: guest, which sleeps
@case(device=("adit", "kernel"), limit=60, group=SLOW)
def short_sleep(net, device):
    """A sleep of some seconds is passed over: traffic flows at once after it, in either direction."""
    pair = with_guest(net, device)
    a, b = pair.left, pair.right
    assert ping(b.host, a.inner()) == 3
    boot, awake = sleep_until_woken(b.host, 6)
    assert boot > 4 and awake < 2, f"no sleep: {boot:.1f} s, {awake:.1f} s of them awake"
    assert ping(b.host, a.inner()) == 3 and ping(a.host, b.inner()) == 3


#   a: adit ---- wire ---- b: guest, which sleeps for longer than a session lives
@case(device=("adit", "kernel"), limit=300, group=SLOW)
def long_sleep(net, device):
    """After more than 180 s of sleep nothing is sent under the old session, and a new handshake is made at once."""
    pair = with_guest(net, device)
    a, b = pair.left, pair.right
    assert ping(b.host, a.inner()) == 3
    before = a.peer_state(b)
    boot, awake = sleep_until_woken(b.host, 190)
    assert boot > 185 and awake < 20, f"no sleep: {boot:.1f} s, {awake:.1f} s of them awake"
    wire = Capture(a.host, a.wire)
    assert reaches(b.host, a.inner(), 8) is not None
    wire.stop()
    sent = [udp.payload for udp in wire.datagrams(PORT) if udp.source == b.outer()]
    assert sent and sent[0][0] == 1, f"first after waking: {[payload[:8].hex() for payload in sent[:4]]}"
    assert a.peer_state(b).handshake > before.handshake + 185
