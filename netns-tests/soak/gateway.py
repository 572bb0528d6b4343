"""The gateways of a soak: aditd as systemd would run it, and a device that wg configures."""
import os
import re
import signal
import socket
import time

from lab import daemon, process
from lab.process import resident
from lab.wireguard import ROOT, Device

# Seconds in which the daemon has to feed its watchdog.
WATCHDOG = 30
# A program that ended starts again after so many seconds, as with systemd's RestartSec=1.
RESTART = 1
# Seconds from its start until a daemon has to be ready.
READY = 15
# Lines of the log at this level that are no surprise; how many is compared with what was provoked.
REFUSED = "not reloaded, nothing was changed"
# What the unit puts into the daemon's environment.
with open(f"{ROOT}/configs/aditd.service") as unit:
    ENVIRONMENT = dict(re.findall(r"^Environment=(\w+)=(.*)$", unit.read(), re.MULTILINE))
ESCAPES = re.compile(r"\x1b\[[0-9;]*m")


def figures(pid):
    """What a process uses: KiB, descriptors, threads, seconds of processor time."""
    with open(f"/proc/{pid}/status") as file:
        fields = dict(line.split(":", 1) for line in file if ":" in line)
    return {"rss_kib": resident(pid), "anon_kib": int(fields["RssAnon"].split()[0]),
            "threads": int(fields["Threads"]), "descriptors": len(os.listdir(f"/proc/{pid}/fd")),
            "cpu": round(process.busy(pid), 2)}


class Gateway:
    """One side, with its lives: it starts, is killed, and starts again; also after an end that nobody brought about."""

    def __init__(self, host, record):
        self.host, self.name, self.record, self.lost = host, host.name, record, None
        self.process, self.life, self.born, self.expected, self.errors = None, -1, 0.0, False, []

    def begin_life(self):
        self.life, self.born, self.expected = self.life + 1, self.record.now(), True

    def kill(self):
        """kill -9"""
        self.look()
        self.expected = False
        self.process.kill()

    def look(self):
        """Notices an end that nobody brought about."""
        if self.expected and not self.process.alive():
            self.expected, self.lost = False, self.record.now()
            self.record.violation(f"{self.name}: ended by itself with {self.process.child.returncode}: "
                                  f"{self.process.output()[-600:]}")
        if self.lost is not None and self.record.now() - self.lost > RESTART:
            self.lost = None
            self.start()

    def sample(self, **fields):
        if self.expected and self.process.alive():
            self.record.write("sample", process=self.name, life=self.life,
                              age=round(self.record.now() - self.born, 1), **figures(self.process.pid), **fields)


class Supervised(daemon.Daemon):
    """aditd with a /run/wireguard of its own: `ip netns exec` gives each its mounts."""

    def command(self):
        here = f"{self.folder}/wireguard"
        return "sh", "-c", f"mount --bind {here} /run/wireguard && exec {' '.join(super().command())}"


class Daemon(Gateway):
    """aditd, with a notification socket and a watchdog as from systemd."""

    def __init__(self, host, record):
        super().__init__(host, record)
        self.aditd = Supervised(host)
        self.folder, self.fed, self.ready, self.refusals, self.read = self.aditd.folder, 0.0, None, 0, 0
        self.aditd.config["gateway"]["workers"] = 2
        self.aditd.config["metrics"] = {"listen": "127.0.0.1:9586"}
        os.mkdir(f"{self.folder}/wireguard", 0o755)
        self.notices = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self.notices.bind(f"{self.folder}/notify")
        os.chmod(f"{self.folder}/notify", 0o777)
        host.net.stack.callback(self.notices.close)

    def start(self):
        """Does not wait until it is ready: poll() notices."""
        self.ready, self.read, self.fed = None, 0, self.record.now()
        self.process = self.aditd.launch({**ENVIRONMENT, "NOTIFY_SOCKET": f"{self.folder}/notify",
                                          "WATCHDOG_USEC": str(WATCHDOG * 1_000_000)})
        self.begin_life()

    def poll(self):
        """Reads what it told systemd, and looks whether it is well."""
        self.look()
        while True:
            try:
                said = self.notices.recv(4096).decode()
            except BlockingIOError:
                break
            if "WATCHDOG=1" in said:
                self.fed = self.record.now()
            if "READY=1" in said and self.ready is None:
                self.ready = self.record.now()
                self.record.event(f"{self.name}: ready after {self.ready - self.born:.2f} s")
        if self.expected and self.ready is None and self.record.now() - self.born > READY:
            self.ready = 0.0
            self.record.violation(f"{self.name}: not ready after {READY} s")
        if self.expected and self.record.now() - self.fed > WATCHDOG:
            self.fed = self.record.now()
            self.record.violation(f"{self.name}: did not feed its watchdog for {WATCHDOG} s")
        self.read_log()

    def read_log(self):
        """Collects the lines of the log that tell of errors."""
        with open(self.process.log, errors="replace") as file:
            file.seek(self.read)
            text = file.read()
        text = text[:text.rfind("\n") + 1]
        self.read += len(text.encode())
        for line in ESCAPES.sub("", text).splitlines():
            if re.search(r"\bERROR\b|panicked", line):
                self.errors.append(line)
                self.record.write("error", process=self.name, line=line)

    def unexpected_errors(self):
        """Lines beyond those that were provoked."""
        refused = [line for line in self.errors if REFUSED in line]
        return [line for line in self.errors if REFUSED not in line] + refused[self.refusals:]

    def usable(self):
        return self.expected and self.ready is not None and self.process.alive()

    def status(self):
        return self.aditd.status()

    def reload(self, why, refused=False):
        """By aditctl. What is asked for has to happen: to be done, or to be refused."""
        self.refusals += refused
        begin = time.monotonic()
        code, output = self.aditd.ctl("reload")
        took = time.monotonic() - begin
        self.told(why, took, output.strip())
        if (code != 0) != refused or "; but " in output:
            self.record.violation(f"{self.name}: reload: {why}: exit {code}: {output.strip()}")

    def reload_by_signal(self, why):
        """By SIGHUP, as `systemctl reload` of old does it."""
        def reloads():
            return self.status()["configuration"]["reloads"]
        before, begin = reloads(), time.monotonic()
        os.kill(self.process.pid, signal.SIGHUP)
        while reloads() == before:
            if time.monotonic() - begin > 10:
                self.record.violation(f"{self.name}: not reloaded 10 s after SIGHUP: {why}")
                break
            time.sleep(0.02)
        self.told(why, time.monotonic() - begin, "SIGHUP")

    def told(self, why, took, answer):
        self.record.event(f"{self.name}: reload: {why}: {took * 1000:.0f} ms: {answer.splitlines()[0] if answer else ''}",
                          took=took)


class Plain(Gateway):
    """A device that wg configures: adit-wireguard or wireguard-go."""

    def __init__(self, host, record, implementation, mtu, addresses):
        super().__init__(host, record)
        self.implementation, self.conf, self.mtu, self.addresses = implementation, None, mtu, addresses
        self.tag = host.net.device("soak")

    def start(self):
        self.device = Device(self.host, self.implementation, self.tag)
        try:
            self.device.start()
        except process.Failed as error:
            self.lost = self.record.now()
            return self.record.violation(f"{self.name}: does not start: {error}")
        self.process = self.device.process
        self.device.setconf(self.conf)
        self.device.up(self.mtu, *self.addresses)
        self.begin_life()

    def kill(self):
        super().kill()
        if os.path.exists(self.device.socket):
            os.unlink(self.device.socket)

    def poll(self):
        self.look()
