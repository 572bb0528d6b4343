"""adit, the client, on a host: profiles and sockets in folders of its own."""
import json
import os
import shutil
import signal
import tempfile

from lab.daemon import BINARIES
from lab.process import gone
from lab.wait import until

ADIT = f"{BINARIES}/adit"


def profile(pair, extra="", keepalive=None, endpoint=None, dns=None, allowed=None):
    """The wg-quick file that the left site of a pair has for the right one."""
    left, right = pair.left, pair.right
    text = f"[Interface]\nPrivateKey = {left.keys.private}\nAddress = {left.inner()}/32, {left.inner('v6')}/128\n"
    text += f"DNS = {dns}\n" if dns else ""
    peer = right.peer_conf(pair.psk, endpoint or right.endpoint(pair.family), keepalive)
    return text + extra + (peer.replace(right.allowed_ips(), allowed) if allowed else peer)


class Client:
    """One client. `name` is that of its profile and interface once `take_in` has made it."""

    def __init__(self, host):
        self.host, self.name, self.told = host, None, ""
        self.folder = tempfile.mkdtemp(prefix="adit-client-")
        host.net.stack.callback(shutil.rmtree, self.folder, ignore_errors=True)
        self.profiles, self.run = f"{self.folder}/profiles", f"{self.folder}/run"

    def command(self, *words):
        return ADIT, "--profiles", self.profiles, "--run", self.run, *words

    def ctl(self, *words, data=None, timeout=30, env=None):
        """adit with these words; (code, output)."""
        return self.host.attempt(*self.command(*words), data=data, timeout=timeout, env=env)

    def take_in(self, text):
        """Imports a wg-quick file; the profile's name."""
        self.name = self.host.net.device("c")
        path = f"{self.folder}/{self.name}.conf"
        with open(path, "w") as file:
            file.write(text)
        code, self.told = self.ctl("import", path)
        assert code == 0, self.told
        return self.name

    def up(self, *words):
        """Sets it up; connected on return."""
        code, output = self.ctl("up", *words)
        assert code == 0, f"exit {code}: {output}"

    def status(self):
        """What it tells of its profile, as a dict."""
        _, output = self.ctl("status", "--json", self.name)
        return json.loads(output)[0]

    def state(self):
        return self.status()["state"]

    def kill(self):
        """Ends the tunnel's process without a word."""
        pid = self.status()["pid"]
        os.kill(pid, signal.SIGKILL)
        until(lambda: gone(pid), 10, "end of the process")
