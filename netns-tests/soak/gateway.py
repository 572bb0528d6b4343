"""The gateways of a soak: aditd as systemd would run it, and a device that wg configures."""
import json
import os
import re
import signal
import socket
import time

from lab import process
from lab.process import resident
from lab.wireguard import Device

# Who the daemons become.
USER = "nobody"
# Seconds in which the daemon has to feed its watchdog.
WATCHDOG = 30
# Seconds from its start until a daemon has to be ready.
READY = 15
# Lines of the log at this level that are no surprise; how many is compared with what was provoked.
REFUSED = "not reloaded, nothing was changed"
ESCAPES = re.compile(r"\x1b\[[0-9;]*m")


def figures(pid):
    """What a process uses: KiB, descriptors, threads, seconds of processor time."""
    with open(f"/proc/{pid}/status") as file:
        fields = dict(line.split(":", 1) for line in file if ":" in line)
    return {"rss_kib": resident(pid), "anon_kib": int(fields["RssAnon"].split()[0]),
            "threads": int(fields["Threads"]), "descriptors": len(os.listdir(f"/proc/{pid}/fd")),
            "cpu": round(process.busy(pid), 2)}


class Gateway:
    """One side, with its lives: it starts, is killed, and starts again."""

    def __init__(self, host, record):
        self.host, self.name, self.record = host, host.name, record
        self.process, self.life, self.born, self.expected, self.errors = None, -1, 0.0, False, []

    def begin_life(self):
        self.life, self.born, self.expected = self.life + 1, self.record.now(), True

    def kill(self):
        """kill -9"""
        self.expected = False
        self.look()
        self.process.kill()

    def look(self):
        """Notices an end that nobody brought about."""
        if self.expected and not self.process.alive():
            self.expected = False
            self.record.violation(f"{self.name}: ended by itself with {self.process.child.returncode}: "
                                  f"{self.process.output()[-600:]}")

    def sample(self, **fields):
        if self.expected and self.process.alive():
            self.record.write("sample", process=self.name, life=self.life,
                              age=round(self.record.now() - self.born, 1), **figures(self.process.pid), **fields)


class Daemon(Gateway):
    """aditd, with a notification socket and a watchdog as from systemd, and a /run/wireguard of its own: `ip netns exec` gives each its mounts."""

    def __init__(self, host, record, folder, binaries):
        super().__init__(host, record)
        self.folder, self.binaries, self.fed, self.ready, self.refusals, self.read = folder, binaries, 0.0, None, 0, 0
        for name in (folder, f"{folder}/wireguard"):
            os.mkdir(name, 0o755)
        self.notices = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self.notices.bind(f"{folder}/notify")
        os.chmod(f"{folder}/notify", 0o777)
        host.net.stack.callback(self.notices.close)

    @property
    def file(self):
        return f"{self.folder}/aditd.toml"

    def key(self, name, key):
        """A key file that the daemon's user alone may read."""
        path = f"{self.folder}/{name}"
        with open(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600), "w") as file:
            file.write(key + "\n")
        os.chown(path, 65534, 65534)

    def write(self, text):
        with open(self.file, "w") as file:
            file.write(f'[gateway]\nname = "{self.name}"\nstate = "{self.folder}/state"\nuser = "{USER}"\nworkers = 2\n'
                       f'[admin]\ndirectory = "{self.folder}/run"\n[metrics]\nlisten = "127.0.0.1:9586"\n{text}')

    def start(self):
        """Does not wait until it is ready: poll() notices."""
        self.ready, self.read, self.fed = None, 0, self.record.now()
        command = f"mount --bind {self.folder}/wireguard /run/wireguard && exec {self.binaries}/aditd --config {self.file}"
        self.process = self.host.start("sh", "-c", command, env={
            "NOTIFY_SOCKET": f"{self.folder}/notify", "WATCHDOG_USEC": str(WATCHDOG * 1_000_000)})
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

    def control(self, *words, timeout=20):
        """aditctl; (code, output)."""
        return process.run([f"{self.binaries}/aditctl", "--socket", f"{self.folder}/run", *words], timeout=timeout,
                           check=False)

    def metrics(self):
        """What Prometheus would get, with the head of the answer."""
        with socket.socket(socket.AF_UNIX) as talk:
            talk.settimeout(5)
            talk.connect(f"{self.folder}/run/read.sock")
            talk.sendall(b"GET /metrics HTTP/1.1\r\nHost: soak\r\nConnection: close\r\n\r\n")
            answer = b""
            while more := talk.recv(65536):
                answer += more
        return answer.decode()

    def status(self):
        code, output = self.control("status", "--json", timeout=10)
        return json.loads(output) if code == 0 else None

    def reload(self, why, refused=False):
        """By aditctl. What is asked for has to happen: to be done, or to be refused."""
        self.refusals += refused
        begin = time.monotonic()
        code, output = self.control("reload")
        took = time.monotonic() - begin
        self.told(why, took, output.strip())
        if (code != 0) != refused or "; but " in output:
            self.record.violation(f"{self.name}: reload: {why}: exit {code}: {output.strip()}")

    def reload_by_signal(self, why):
        """By SIGHUP, as `systemctl reload` of old does it."""
        def reloads():
            status = self.status()
            return status["configuration"]["reloads"] if status else 0
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

    def __init__(self, host, record, implementation, conf, mtu, addresses):
        super().__init__(host, record)
        self.implementation, self.conf, self.mtu, self.addresses = implementation, conf, mtu, addresses
        self.tag = host.net.device("soak")

    def start(self):
        self.device = Device(self.host, self.implementation, self.tag).start()
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
