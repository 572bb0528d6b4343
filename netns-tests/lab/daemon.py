"""The gateway daemon on a host: a file made of a dict, aditd in the foreground, aditctl and the sockets to ask it by.

Its binaries are those of $ADIT_BINARIES, or of the release build. It runs as nobody, as an operator's daemon runs as a
user without rights; its folder lies where that user may pass.
"""
import http.client
import json
import os
import pwd
import re
import shutil
import signal
import socket
import tempfile
import time

from lab.process import Failed
from lab.site import PORT
from lab.wait import until
from lab.wireguard import ROOT

BINARIES = os.path.realpath(os.environ.get("ADIT_BINARIES") or f"{ROOT}/target/release")
ADITD, ADITCTL = f"{BINARIES}/aditd", f"{BINARIES}/aditctl"
USER = "nobody"
NOBODY = pwd.getpwnam(USER)
# The metric of the daemon's guards, as in src/net/route.rs.
GUARD_METRIC = 0xFFFFFFFF


def literal(value):
    """A value as TOML. JSON's strings and numbers are TOML's as well."""
    if isinstance(value, dict):
        return f"{{ {', '.join(f'{key} = {literal(one)}' for key, one in value.items())} }}"
    return f"[{', '.join(map(literal, value))}]" if isinstance(value, list) else json.dumps(value)


def toml(table, path=()):
    """A dict as TOML: what is a dict itself becomes a table."""
    plain = [f"{key} = {literal(value)}\n" for key, value in table.items() if not isinstance(value, dict)]
    text = f"[{'.'.join(path)}]\n" if path and (plain or not table) else ""
    text += "".join(plain)
    return text + "".join(toml(value, (*path, key)) for key, value in table.items() if isinstance(value, dict))


def forget_namespace(number):
    """Takes away the lock that a daemon leaves for each network namespace."""
    if os.path.exists(path := f"/run/aditd-net-{number}.lock"):
        os.unlink(path)


class Connection(http.client.HTTPConnection):
    """HTTP over a socket of the file system."""

    def __init__(self, path, timeout=15):
        super().__init__("localhost", timeout=timeout)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


class Daemon:
    """One aditd. `config` is its file as a dict: change it, then `write()` or `reload()`."""

    def __init__(self, host, user=USER, level="info"):
        self.host, self.process = host, None
        self.folder = tempfile.mkdtemp(prefix="adit-netns-")
        host.net.stack.callback(shutil.rmtree, self.folder, ignore_errors=True)
        os.chmod(self.folder, 0o711)
        host.net.stack.callback(forget_namespace, os.stat(f"/run/netns/{host.netns}").st_ino)
        self.file, self.sockets, self.state = (f"{self.folder}/{name}" for name in ("aditd.toml", "run", "state"))
        self.config = {"gateway": {"name": host.name, "state": self.state, "user": user, "workers": 1},
                       "admin": {"directory": self.sockets}, "log": {"level": level}, "wireguard": {}}

    # -------------------------------------------------------------------------------------------------- its files

    def secret(self, name, text, mode=0o600, owner=None):
        """A key file, for the daemon's user alone unless told otherwise; its path."""
        owner = pwd.getpwnam(self.config["gateway"]["user"]).pw_uid if owner is None else owner
        path = f"{self.folder}/{name}"
        with open(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600), "w") as file:
            file.write(f"{text}\n")
        os.chown(path, owner, -1)
        os.chmod(path, mode)
        return path

    def tunnel(self, name, keys, addresses=(), port=PORT, **more):
        """Puts a tunnel to the configuration, and returns its table."""
        table = {"private_key_file": self.secret(f"{name}.key", keys.private), "listen_port": port,
                 "addresses": list(addresses), **more, "peer": {}}
        self.config["wireguard"][name] = table
        return table

    def peer(self, tunnel, name, public, allowed_ips=(), psk=None, **more):
        """Puts a peer to a tunnel of the configuration, and returns its table."""
        table = {"public_key": public, "allowed_ips": list(allowed_ips), **more}
        if psk:
            table["preshared_key_file"] = self.secret(f"{tunnel}-{name}.psk", psk)
        self.config["wireguard"][tunnel]["peer"][name] = table
        return table

    def write(self, text=None):
        """Writes the file: the configuration, or this text in its place."""
        with open(self.file, "w") as file:
            file.write(toml(self.config) if text is None else text)
        os.chmod(self.file, 0o644)
        return self

    # -------------------------------------------------------------------------------------------------- its life

    def start(self, env=None):
        """Writes the file and starts; ready on return."""
        self.write()
        self.launch(env)
        self.process.wait_output(r": ready;", 20)
        return self

    def command(self):
        return ADITD, "--config", self.file

    def launch(self, env=None):
        self.process = self.host.start(*self.command(), env=env)
        return self.process

    def attempt(self, *words, timeout=20):
        """Writes the file and runs aditd to its end; (code, output)."""
        self.write()
        return self.host.attempt(*self.command(), *words, timeout=timeout)

    def stop(self):
        self.process.stop()

    def kill(self):
        self.process.kill()

    def hang_up(self):
        """SIGHUP: it reads its file again. Returns once it says what came of it."""
        pattern = r"(?:not )?reloaded[:,] .*"
        already = len(re.findall(pattern, self.process.output()))
        os.kill(self.process.pid, signal.SIGHUP)
        return until(lambda: re.findall(pattern, self.process.output())[already:], 20, "the end of a reload")[0]

    # -------------------------------------------------------------------------------------------------- asking it

    def ctl(self, *words, data=None, timeout=20):
        """aditctl with these words; (code, output)."""
        return self.host.attempt(ADITCTL, "--socket", self.sockets, *words, data=data, timeout=timeout)

    def reload(self):
        """Writes the file and has it read again; what was changed, in the daemon's words."""
        self.write()
        code, output = self.ctl("reload")
        if code:
            raise Failed(f"aditctl reload: exit {code}: {output}")
        return output

    def refuses(self):
        """Writes the file and has it read again, which has to be refused; what the daemon says."""
        self.write()
        code, output = self.ctl("reload")
        assert code == 1, f"exit {code} in place of 1: {output}"
        return output

    def status(self):
        """The status of now: the daemon may tell one that is a second old."""
        asked = time.time()
        while True:
            code, output = self.ctl("status", "--json")
            assert code == 0, f"exit {code}: {output}"
            told = json.loads(output)
            if told["now"] >= asked:
                return told
            time.sleep(0.1)

    def http(self, method, path, name="read.sock", headers=()):
        """A request to one of the sockets; (code, body)."""
        connection = Connection(f"{self.sockets}/{name}")
        try:
            connection.request(method, path, headers=dict(headers))
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()

    def audit(self):
        """The lines of the audit trail."""
        with open(f"{self.state}/audit.jsonl") as file:
            return [json.loads(line) for line in file]

    def guards(self):
        """What is held back: the ranges behind which an unreachable route of ours stands, over all tables."""
        found = set()
        for family, whole in (("-4", "0.0.0.0/0"), ("-6", "::/0")):
            for line in self.host.ip(f"{family} route show table all type unreachable").splitlines():
                if f"metric {GUARD_METRIC}" in line:
                    found.add(line.split()[1].replace("default", whole))
        return found


def everything(host, *daemons):
    """The state of a namespace that must not change when nothing is to be changed: links, addresses, routes, rules,
    sockets, and what `wg` and aditctl tell of configuration."""
    state = {what: host.ip(what) for what in ("-o link", "-o address", "-4 route show table all",
                                              "-6 route show table all", "-4 rule", "-6 rule")}
    # Lifetimes and counters run by themselves.
    state = {what: re.sub(r"(expires|valid_lft|preferred_lft) \S+", "", text) for what, text in state.items()}
    state["udp"] = sorted(line.split()[3] for line in host.run("ss", "-Hunl").splitlines())
    for daemon in daemons:
        status = daemon.status()
        for tunnel in status["wireguard"].values():
            for peer in tunnel["peers"]:
                for key in ("received_bytes", "sent_bytes", "received_rate", "sent_rate", "latest_handshake",
                            "handshake_age", "trying_for", "warnings", "path_mtu"):
                    peer.pop(key)
            for key in ("workers", "handshake_queue", "handshakes", "drops", "warnings"):
                tunnel.pop(key)
        state[daemon.folder] = status["wireguard"]
        for name in status["wireguard"]:
            shown = host.attempt("wg", "showconf", name)
            state[name] = shown
        state[f"{daemon.folder} sockets"] = sorted(os.listdir(daemon.sockets))
    return state


def gateway(pair, site, **more):
    """A daemon for one site of a pair, with a tunnel to the other one; `site.device` speaks of that tunnel."""
    other, daemon = pair.other(site), Daemon(site.host, **more)
    daemon.tunnel(site.device.name, site.keys, [f"{site.inner()}/24", f"{site.inner('v6')}/64"])
    daemon.peer(site.device.name, "other", other.keys.public, other.allowed_ips().split(","), pair.psk,
                endpoint=other.endpoint(pair.family))
    return daemon


def gateways(pair, **more):
    """A daemon on either side of a pair, not started."""
    return gateway(pair, pair.left, **more), gateway(pair, pair.right, **more)


def plain(pair, site):
    """The device of a site that is no daemon, made and configured as ever."""
    site.start()
    pair.configure(site)
    return site
