"""The process behind a device: how it starts, how it ends, and what a user is told."""
import os
import stat

from lab.case import case
from lab.namespace import pids
from lab.process import gone, run
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
    until(lambda: gone(pid), 3, "end of the process without its socket")


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
    device.process.wait(3)
    assert not os.path.exists(device.socket)


@case()
def socket_removed(net):
    """Removing the socket ends the process: that is how wg-quick takes a device down."""
    device = device_of(net).start()
    os.unlink(device.socket)
    device.process.wait(3)
    assert device.name not in links(device.host)


@case()
def link_removed(net):
    """Deleting the link ends the process, and the socket goes with it."""
    device = device_of(net).start()
    device.host.ip(f"link del {device.name}")
    device.process.wait(3)
    assert not os.path.exists(device.socket)


@case()
def second_instance(net):
    """A second process of the same name fails, says why, and leaves the first one alone."""
    device = device_of(net).start()
    code, output = device.host.attempt(program("adit")[0], "-f", device.name, timeout=5)
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
        code, output = host.attempt(ADIT, *words, timeout=5)
        assert code == 2 and output.strip(), f"{words}: exit {code}: {output!r}"
        assert "panicked" not in output, output


@case()
def down_and_up(net):
    """A link set down and up again, and an MTU changed while up, leave a working device."""
    device = device_of(net).start()
    for state in ("up", "down", "up"):
        device.host.ip(f"link set {device.name} {state}")
    device.host.ip(f"link set {device.name} mtu 1300")
    device.host.ip(f"link set {device.name} mtu 1500")
    assert device.alive() and device.attempt("show", device.name)[0] == 0
