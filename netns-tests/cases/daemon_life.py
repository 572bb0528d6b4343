"""What surrounds a daemon's life: hooks, systemd's notifications and watchdog, the log."""
import ctypes
import json
import os
import re
import signal
import socket
import time
from contextlib import contextmanager

from lab.case import case
from lab.daemon import NOBODY, gateway, gateways
from lab.site import wired
from lab.traffic import reaches
from lab.wait import until

LIBC = ctypes.CDLL(None, use_errno=True)
LIBC.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
PTRACE_SEIZE, PTRACE_INTERRUPT, PTRACE_DETACH, WALL = 0x4206, 0x4207, 17, 0x40000000
HOOKS = ("pre_up", "post_up", "pre_down", "post_down")


#   a: aditd with hooks ---- wire ---- b: aditd
@case()
def hooks(net):
    """Hooks run in their order around up and down, know the interface, find it or not, and may use the network."""
    pair = wired(net)
    a, b = gateways(pair)
    name, told = pair.left.device.name, f"{a.folder}/told"
    open(told, "w").close()
    os.chown(told, NOBODY.pw_uid, -1)
    there = "ip -o address show %i 2>/dev/null | grep -qs 10.9.0.1 && echo there || echo not"
    a.config["wireguard"][name]["hooks"] = {
        hook: [f"echo {hook} one %i $ADIT_INTERFACE >> {told}", f"echo {hook} two $({there}) >> {told}"]
        for hook in HOOKS}
    a.config["wireguard"][name]["hooks"]["post_up"].append("ip route add 10.66.0.0/16 dev %i")
    a.start()
    b.start()
    assert "10.66.0.0/16" in a.host.ip(f"route show dev {name}"), "a hook may not add a route"
    assert reaches(a.host, pair.right.inner())
    a.stop()
    seen = open(told).read().splitlines()
    finds = {"pre_up": "not", "post_up": "there", "pre_down": "there", "post_down": "not"}
    wanted = [line for hook in HOOKS for line in (f"{hook} one {name} {name}", f"{hook} two {finds[hook]}")]
    assert seen == wanted, seen


@case()
def hooks_of_a_reload(net):
    """A reload runs the hooks of what it adds and removes, once; one that fails after the fact is no success."""
    pair = wired(net)
    a, b = gateways(pair)
    told, name = f"{a.folder}/told", pair.left.device.name
    open(told, "w").close()
    os.chown(told, NOBODY.pw_uid, -1)
    b.start()
    tunnel = a.config["wireguard"].pop(name)
    tunnel["hooks"] = {hook: [f"echo {hook} >> {told}"] for hook in HOOKS}
    tunnel["hooks"]["post_up"].append("echo no >&2; exit 9")
    a.start()
    a.config["wireguard"][name] = tunnel
    a.write()
    code, said = a.ctl("reload")
    assert code == 1 and "exit 9" in said and f"added {name}" in said, (code, said)
    assert any("exit 9" in warning for warning in a.status()["warnings"]), "it is forgotten at once"
    assert [line["result"] for line in a.audit() if line["what"] == "reload"] == ["attempt", "partial"]
    assert reaches(a.host, pair.right.inner())
    tunnel["mtu"] = 1400
    a.reload()
    assert open(told).read().split() == ["pre_up", "post_up"], "hooks of a tunnel that stays were run"
    a.config["wireguard"] = {}
    a.reload()
    assert open(told).read().split() == list(HOOKS)


class Systemd:
    """What systemd is told: a datagram socket in its place."""

    def __init__(self, daemon):
        self.path, self.told = f"{daemon.folder}/notify", []
        self.inlet = daemon.host.net.stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
        self.inlet.bind(self.path)
        os.chmod(self.path, 0o666)
        self.inlet.settimeout(0.05)

    def environment(self, watchdog=None):
        return {"NOTIFY_SOCKET": self.path, **({"WATCHDOG_USEC": str(int(watchdog * 1e6))} if watchdog else {})}

    def listen(self):
        """All it was told so far: (moment, lines)."""
        try:
            while True:
                self.told.append((time.monotonic(), self.inlet.recv(4096).decode().splitlines()))
        except OSError:
            return self.told

    def lines(self):
        return [line for _, lines in self.listen() for line in lines]

    def count(self, line):
        return self.lines().count(line)


@case()
def notifications(net):
    """systemd is told READY once all is up, RELOADING and READY around a reload, also a refused one, and STOPPING."""
    pair = wired(net)
    a = gateway(pair, pair.left)
    systemd = Systemd(a)
    a.start(systemd.environment())
    until(lambda: systemd.count("READY=1"), 15, "READY=1")
    assert systemd.lines() == ["READY=1"], systemd.lines()
    for number, reload in enumerate((a.hang_up, a.reload), 1):
        reload()
        until(lambda: systemd.count("READY=1") == number + 1, 15, "READY=1")
        words = [line.split("=")[0] for line in systemd.lines()]
        assert words == ["READY"] + ["RELOADING", "MONOTONIC_USEC", "READY"] * number, words
    a.write("nonsense")
    assert a.hang_up().startswith("not reloaded")
    until(lambda: systemd.count("READY=1") == 4, 15, "READY=1")
    stamp = int(systemd.lines()[-2].split("=")[1]) / 1e6
    assert abs(stamp - time.clock_gettime(time.CLOCK_MONOTONIC)) < 5, stamp
    a.stop()
    assert systemd.lines()[-1] == "STOPPING=1" and a.process.child.returncode == 0


@contextmanager
def stopped_thread(pid, name):
    """One thread of a process does not run meanwhile."""
    tasks = [int(task) for task in os.listdir(f"/proc/{pid}/task")
             if open(f"/proc/{pid}/task/{task}/comm").read().strip() == name]
    task, = tasks
    for request in (PTRACE_SEIZE, PTRACE_INTERRUPT):
        if LIBC.ptrace(request, task, None, None):
            raise OSError(ctypes.get_errno(), "ptrace")
    os.waitpid(task, WALL)
    try:
        yield
    finally:
        LIBC.ptrace(PTRACE_DETACH, task, None, None)


@case()
def watchdog(net):
    """The watchdog is fed while all is well, and not while a control thread hangs, which the status tells as well."""
    pair = wired(net)
    a = gateway(pair, pair.left)
    name, systemd = pair.left.device.name, Systemd(a)
    a.start(systemd.environment(watchdog=3))
    until(lambda: systemd.count("WATCHDOG=1") >= 3, 15, "three times WATCHDOG=1")
    moments = [moment for moment, lines in systemd.told if "WATCHDOG=1" in lines]
    assert max(later - earlier for earlier, later in zip(moments, moments[1:])) < 2, moments
    with stopped_thread(a.process.pid, "control"):
        systemd.listen()
        before = systemd.count("WATCHDOG=1")
        begin = time.monotonic()
        told = a.status()["wireguard"][name]
        assert told["state"] == "stuck" and "does not answer" in told["warnings"][0], told
        # Until what was told is too old to be told again.
        time.sleep(1.1)
        code, said = a.http("GET", "/v1/health")
        assert code == 503 and name in said, said
        took = time.monotonic() - begin
        assert took > 3, "too short for the watchdog's limit"
        assert systemd.count("WATCHDOG=1") <= before + 1, "fed while it hung"
    again = systemd.count("WATCHDOG=1")
    until(lambda: systemd.count("WATCHDOG=1") > again, 15, "WATCHDOG=1 again")
    assert a.status()["wireguard"][name]["state"] == "up"


@case(level=("info", "verbose"))
def json_log(net, level):
    """With format = "json" every line of the log is an object with its time, level and message; no key is in it."""
    pair = wired(net, psk=True)
    a, b = gateways(pair, level=level)
    a.config["log"]["format"] = "json"
    b.start()
    a.start()
    assert reaches(a.host, pair.right.inner())
    a.write("[gateway]\nnam = 1\n[wireguard.x]\n")
    a.ctl("reload")
    a.stop()
    lines = a.process.output().splitlines()[1:]
    for line in map(json.loads, lines):
        assert re.match(r"\d{4}-\d\d-\d\dT.*Z$", line["timestamp"]), line
        assert line["level"] in ("ERROR", "WARN", "INFO", "DEBUG") and line["message"], line
    assert len(lines) > 3 and any("not reloaded" in line for line in lines)
    for secret in (pair.left.keys.private, pair.psk):
        assert secret not in a.process.output()


@case(number=(2, 15))
def signals(net, number):
    """SIGINT and SIGTERM end it with 0, at once, with no device and no socket left; its guards stay."""
    pair = wired(net)
    a = gateway(pair, pair.left).start()
    # Who is used to adit-wireguard sends it that.
    os.kill(a.process.pid, signal.SIGUSR1)
    a.process.wait_output("SIGUSR1 does nothing", 15)
    os.kill(a.process.pid, number)
    assert a.process.wait(10) == 0
    assert pair.left.device.name not in a.host.ip("-o link") and not os.path.exists(pair.left.device.socket)
    assert "read.sock" not in os.listdir(a.sockets)
    assert "10.9.0.0/24" in a.guards() and "fd09::/64" in a.guards(), a.guards()
