"""The process behind a device: how it starts, how it ends, and what a user is told."""
import os
import stat

from lab.case import case
from lab.namespace import pids
from lab.process import gone, run
from lab.site import PORT, wired
from lab.traffic import ping
from lab.wait import until
from lab.wireguard import ADIT, Device, program


def device_of(net):
    return Device(net.host("a"), "adit", net.device("wg1"))


def links(host):
    return run(["ip", "-n", host.netns, "-o", "link"])[1]


@case()
def background(net):
    """Without -f it goes to the background once it is ready: on return the socket answers and the link exists."""
    device = device_of(net)
    code, output = device.host.attempt(program("adit")[0], device.name, timeout=10)
    assert code == 0, f"exit {code}: {output}"
    assert stat.S_ISSOCK(os.stat(device.socket).st_mode), "no socket on return"
    assert device.attempt("show", device.name)[0] == 0
    assert device.name in links(device.host)
    pid, = pids(device.host.netns)
    os.unlink(device.socket)
    until(lambda: gone(pid), 10, "end of the process without its socket")


@case()
def foreground(net):
    """With -f it stays, and SIGTERM ends it with socket and link gone."""
    device = device_of(net).start()
    assert device.alive()
    device.process.stop()
    assert device.process.child.returncode in (0, -15), f"exit {device.process.child.returncode}"
    assert not os.path.exists(device.socket) and device.name not in links(device.host)


@case(number=(2, 15))
def signals(net, number):
    """SIGINT and SIGTERM end it at once, and it takes its socket along."""
    device = device_of(net).start()
    os.kill(device.process.pid, number)
    device.process.wait(10)
    assert not os.path.exists(device.socket)


@case()
def socket_removed(net):
    """Removing the socket ends the process: that is how wg-quick takes a device down."""
    device = device_of(net).start()
    os.unlink(device.socket)
    device.process.wait(10)
    assert device.name not in links(device.host)


@case()
def link_removed(net):
    """Deleting the link ends the process, and the socket goes with it."""
    device = device_of(net).start()
    device.host.ip(f"link del {device.name}")
    device.process.wait(10)
    assert not os.path.exists(device.socket)


@case()
def second_instance(net):
    """A second process of the same name fails, says why, and leaves the first one alone."""
    device = device_of(net).start()
    code, output = device.host.attempt(program("adit")[0], "-f", device.name)
    assert code not in (0, 124) and output.strip(), f"exit {code}: {output!r}"
    assert device.alive() and device.attempt("show", device.name)[0] == 0


@case()
def stale_socket(net):
    """A socket left by a killed process is no obstacle to the next one."""
    device = device_of(net).start()
    device.process.kill()
    assert os.path.exists(device.socket), "the test has no stale socket"
    device.start()


@case()
def socket_mode(net):
    """Only root may speak to the socket."""
    device = device_of(net).start()
    mode = stat.S_IMODE(os.stat(device.socket).st_mode)
    assert mode & 0o077 == 0, f"mode {mode:o}"


@case()
def wrong_usage(net):
    """No name, a name too long and an unknown switch are refused with exit code 2 and a word about it."""
    host = net.host("a")
    for words in ([], ["a-name-that-is-far-too-long"], ["-f", "bad/name"], ["--no-such-switch", net.device("x")]):
        code, output = host.attempt(ADIT, *words)
        assert code == 2 and output.strip(), f"{words}: exit {code}: {output!r}"
        assert "panicked" not in output, output


@case()
def down_and_up(net):
    """A link set down and up again, and an MTU changed while up, leave a device that carries packets of that MTU."""
    pair = wired(net).start()
    device, target = pair.left.device, pair.right.inner()
    assert ping(device.host, target) == 3
    for _ in range(2):
        device.host.ip(f"link set {device.name} down")
        assert ping(device.host, target, wait=0.2) == 0, "answered through a link that is down"
        device.host.ip(f"link set {device.name} up")
        assert ping(device.host, target) == 3, "up again"
        assert ping(pair.right.host, pair.left.inner()) == 3, "up again, from the other side"
    for mtu in (1300, 1420):
        device.host.ip(f"link set {device.name} mtu {mtu}")
        assert ping(device.host, target, size=mtu - 28, fragment=False) == 3, f"MTU {mtu}"
        assert ping(device.host, target, count=1, size=mtu - 27, fragment=False, wait=0.2) == 0, f"MTU {mtu} and more"


@case()
def after_double_dash(net):
    """After -- comes the name, as getopt has it."""
    device = device_of(net)
    code, output = device.host.attempt(program("adit")[0], "--", device.name, timeout=10)
    assert code == 0, f"exit {code}: {output}"
    assert device.attempt("show", device.name)[0] == 0 and device.name in links(device.host)
    pid, = pids(device.host.netns)
    os.unlink(device.socket)
    until(lambda: gone(pid), 10, "end of the process without its socket")


#   inside: the device ........ a: adit and its socket ---- wire ---- b: adit
@case()
def moves_to_another_namespace(net):
    """A new device moved to another namespace works there, while its UDP socket stays where it was started."""
    pair = wired(net)
    a, b = pair.left, pair.right
    inside = net.host("inside")
    a.device.start()
    a.host.ip(f"link set {a.device.name} netns {inside.netns}")
    a.device.host = inside
    a.device.up(a.mtu, f"{a.inner()}/24", f"{a.inner('v6')}/64")
    b.start()
    pair.configure(a)
    pair.configure(b)
    assert a.device.alive(), "the process is gone"
    for family in ("v4", "v6"):
        assert ping(inside, b.inner(family)) == 3, f"{family} to b"
        assert ping(b.host, a.inner(family)) == 3, f"{family} from b"
    assert f":{PORT} " in a.host.run("ss", "-Hunl") and f":{PORT} " not in inside.run("ss", "-Hunl"), "UDP socket"
    inside.ip(f"link set {a.device.name} down")
    assert ping(b.host, a.inner(), wait=0.2) == 0, "answered through a link that is down"
    inside.ip(f"link set {a.device.name} up")
    assert ping(inside, b.inner()) == 3, "down and up"
