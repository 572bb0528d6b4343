"""Network namespaces and the links between them.

Everything a test makes lives in namespaces whose names carry the pid of the process that made them. So what is ours
can be told from what is not, two runs do not meet, and what a killed run left is found and removed by the next.
"""
import ctypes
import os
import re
import shutil
import signal
import socket
import subprocess
from contextlib import ExitStack, contextmanager

from lab import process
from lab.interrupt import deferred, hold
from lab.wait import until

LIBC = ctypes.CDLL(None, use_errno=True)
CLONE_NEWNET = 0x40000000
HOME = os.open("/proc/self/ns/net", os.O_RDONLY)
SOCKETS = "/var/run/wireguard"
# What keeps frames in a capture as they would be on a real wire: one packet each, with true checksums.
OFFLOADS = "tx off rx off tso off gso off gro off tx-udp-segmentation off"


def setns(descriptor):
    if LIBC.setns(descriptor, CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "setns")


class Host:
    """One network namespace, seen as a machine."""

    def __init__(self, net, name):
        self.net, self.name, self.netns = net, name, f"{net.prefix}{name}"
        process.run(["ip", "netns", "add", self.netns])
        self.ip("link set lo up")
        # An address is usable at once: duplicate detection would take a second each time.
        self.sysctl("net.ipv6.conf.all.accept_dad", 0)
        self.sysctl("net.ipv6.conf.default.accept_dad", 0)
        # Nor does it look for routers, on a wire or in a tunnel: what is counted there is what a case sends.
        self.sysctl("net.ipv6.conf.all.router_solicitations", 0)
        self.sysctl("net.ipv6.conf.default.router_solicitations", 0)
        # Taking the first address of a subnet away must not take the others along.
        self.sysctl("net.ipv4.conf.all.promote_secondaries", 1)

    def argv(self, *command):
        return ["ip", "netns", "exec", self.netns, *map(str, command)]

    def attempt(self, *command, data=None, timeout=20, env=None):
        """Runs a program here; (code, output)."""
        return process.run(self.argv(*command), data, timeout, check=False, env=env)

    def run(self, *command, data=None, timeout=20, env=None):
        """Runs a program here and returns its output; a code other than 0 is an error."""
        return process.run(self.argv(*command), data, timeout, env=env)[1]

    def start(self, *command, env=None):
        """Starts a program here; it ends with the net at the latest."""
        log = self.net.log(f"{self.name}-{os.path.basename(str(command[0]))}")
        with deferred():
            started = process.Process(self.argv(*command), log, env)
            self.net.stack.callback(started.stop)
        return started

    def ip(self, words):
        """`ip` of iproute2 with these words, in this namespace."""
        return process.run(["ip", "-n", self.netns, *words.split()])[1]

    def address(self, link, *addresses):
        """Gives a link its addresses, each with a prefix length."""
        for address in addresses:
            self.ip(f"address add {address} dev {link}" + (" nodad" if ":" in address else ""))

    def route(self, *routes):
        """Adds routes in the words of `ip route add`."""
        for route in routes:
            self.ip(f"{'-6 ' if ':' in route else ''}route add {route}")

    def forward(self):
        """Makes a router of it, for both IPs."""
        self.sysctl("net.ipv4.ip_forward", 1)
        self.sysctl("net.ipv6.conf.all.forwarding", 1)

    def sysctl(self, name, value):
        with self.entered(), open("/proc/sys/" + name.replace(".", "/"), "w") as file:
            file.write(str(value))

    @contextmanager
    def entered(self):
        """The calling thread is in this namespace meanwhile. A socket opened here stays here."""
        there = os.open(f"/run/netns/{self.netns}", os.O_RDONLY)
        try:
            setns(there)
            try:
                yield
            finally:
                setns(HOME)
        finally:
            os.close(there)

    def socket(self, family, kind, protocol=0):
        """A socket of this namespace, closed with the net."""
        with self.entered():
            return self.net.stack.enter_context(socket.socket(family, kind, protocol))

    def statistic(self, link, name):
        """A counter of a link, e.g. rx_packets."""
        return int(self.run("cat", f"/sys/class/net/{link}/statistics/{name}"))


class Net:
    """All namespaces of one test. Leaving it removes them, with every process and socket file in them."""

    def __init__(self, folder):
        self.folder, self.prefix, self.stack, self.hosts, self.logs = folder, f"adit{os.getpid()}-", ExitStack(), {}, 0
        os.makedirs(folder, exist_ok=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        hold()
        try:
            self.stack.close()
        finally:
            sweep(os.getpid())

    def host(self, name):
        host = self.hosts[name] = Host(self, name)
        # The machine's own choice may be one that paces itself, and a socket that began so stays paced whatever it asks for.
        host.sysctl("net.ipv4.tcp_congestion_control", "reno")
        return host

    def device(self, tag):
        """A device name of at most 15 bytes that no other test has: WireGuard's sockets share one folder."""
        return f"ad{os.getpid()}-{tag}"[:15]

    def log(self, name):
        self.logs += 1
        return f"{self.folder}/{self.logs:02}-{name}.log"

    def link(self, left, left_name, right, right_name, mtu=1500, offload=True):
        """A cable: a veth pair, up at both ends. Without `offload` every packet crosses it as on a real wire."""
        process.run(["ip", "link", "add", left_name, "mtu", str(mtu), "netns", left.netns, "type", "veth",
                     "peer", "name", right_name, "mtu", str(mtu), "netns", right.netns])
        for host, name in ((left, left_name), (right, right_name)):
            if not offload:
                host.run("ethtool", "-K", name, *OFFLOADS.split())
            host.ip(f"link set {name} up")

    def bridge(self, host, name, *ports):
        """A switch inside of `host` that joins its links."""
        host.ip(f"link add {name} type bridge")
        for port in ports:
            host.ip(f"link set {port} master {name}")
        host.ip(f"link set {name} up")


def pids(netns):
    """What runs in a namespace, this process left out."""
    listing = subprocess.run(["ip", "netns", "pids", netns], capture_output=True, text=True, timeout=10)
    found = [int(pid) for pid in listing.stdout.split()]
    return [pid for pid in found if pid != os.getpid() and not process.gone(pid)]


def sweep(owner):
    """Ends what runs in the namespaces of process `owner`, then removes them and its WireGuard sockets."""
    folder = "/run/netns"
    for netns in os.listdir(folder) if os.path.isdir(folder) else ():
        if not netns.startswith(f"adit{owner}-"):
            continue
        for number in (signal.SIGTERM, signal.SIGKILL):
            for pid in pids(netns):
                try:
                    os.kill(pid, number)
                except ProcessLookupError:
                    pass
            try:
                until(lambda: not pids(netns), 2, "end of processes")
                break
            except Exception:
                continue
        subprocess.run(["ip", "netns", "del", netns], stderr=subprocess.DEVNULL, timeout=10)
    for name in os.listdir(SOCKETS) if os.path.isdir(SOCKETS) else ():
        if name.startswith(f"ad{owner}-"):
            try:
                os.unlink(f"{SOCKETS}/{name}")
            except FileNotFoundError:
                pass


def sweep_abandoned():
    """Removes what runs left that were killed outright: names with the pid of no living process."""
    names = [*os.listdir("/run/netns")] if os.path.isdir("/run/netns") else []
    names += os.listdir(SOCKETS) if os.path.isdir(SOCKETS) else []
    owners = {int(found[1]) for found in (re.match(r"ad(?:it)?(\d+)-", name) for name in names) if found}
    for owner in owners:
        if not os.path.exists(f"/proc/{owner}"):
            sweep(owner)


def remove_logs(folder):
    shutil.rmtree(folder, ignore_errors=True)
