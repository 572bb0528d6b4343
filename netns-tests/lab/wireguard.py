"""A WireGuard device of any implementation, configured by the unmodified `wg`.

adit is the device under test. Its binary is $ADIT_WIREGUARD, or the release build of this repository; so the cases
can be tried against another implementation when the question is whether a case itself is right.
"""
import os
import re
import shutil
import signal
from dataclasses import dataclass, field

from lab import process
from lab.wait import until

ROOT = os.path.realpath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "../.."))
PEER_PROGRAMS = f"{ROOT}/target/peers/bin"
ADIT = os.environ.get("ADIT_WIREGUARD") or f"{ROOT}/target/release/adit-wireguard"
# What to start for each implementation, in the foreground; the device's name comes last.
PROGRAMS = {
    "adit": [ADIT, "-f"],
    "wireguard-go": ["/usr/bin/wireguard-go", "-f"],
    "boringtun-cli": [f"{PEER_PROGRAMS}/boringtun-cli", "--disable-drop-privileges", "-f"],
    "gotatun-cli": [f"{PEER_PROGRAMS}/gotatun", "--disable-drop-privileges", "-f"],
}
# Every implementation there is to talk to.
PEERS = (*PROGRAMS, "kernel")
ENVIRONMENT = {"LOG_LEVEL": "error"}
SOCKETS = "/var/run/wireguard"


class Missing(Exception):
    """An implementation that a case needs is not on this machine. That fails the case."""


def program(implementation):
    """Its command line without the device's name."""
    command = PROGRAMS[implementation]
    if not shutil.which(command[0]):
        raise Missing(f"{implementation}: no program {command[0]} (netns-tests/run.sh setup installs the peers)")
    return command


@dataclass(frozen=True)
class Keys:
    """A private key and its public key, in base64, made by `wg`."""
    private: str
    public: str


def keys():
    private = process.run(["wg", "genkey"])[1].strip()
    return Keys(private, process.run(["wg", "pubkey"], data=private)[1].strip())


def preshared_key():
    return process.run(["wg", "genpsk"])[1].strip()


@dataclass
class PeerState:
    """A peer as `wg show NAME dump` tells it. Times in seconds since 1970 (0: never), counts in bytes."""
    endpoint: str
    allowed_ips: list
    handshake: int
    received: int
    sent: int
    keepalive: str
    preshared_key: str


@dataclass
class DeviceState:
    """A device as `wg show NAME dump` tells it."""
    private_key: str
    public_key: str
    port: int
    fwmark: str
    peers: dict = field(default_factory=dict)


class Device:
    """One WireGuard device on a host. On a guest the kernel makes it, elsewhere a program does."""

    def __init__(self, host, implementation, name):
        self.host, self.implementation, self.name, self.process = host, implementation, name, None
        self.environment = dict(ENVIRONMENT)

    @property
    def socket(self):
        return f"{SOCKETS}/{self.name}.sock"

    def start(self):
        """Makes the device; ready for `wg` on return."""
        if self.implementation == "kernel":
            self.host.run("ip", "link", "add", self.name, "type", "wireguard")
            return self
        self.process = self.host.start(*program(self.implementation), self.name, env=self.environment)

        def ready():
            if not self.process.alive():
                code = self.process.child.returncode
                raise process.Failed(f"{self.implementation} ended with {code}: {self.process.output()[-500:]}")
            return os.path.exists(self.socket) and self.host.attempt("wg", "show", self.name)[0] == 0
        until(ready, 20, f"{self.implementation} {self.name} answers wg", step=0.02)
        return self

    def up(self, mtu, *addresses):
        """Sets the MTU and the addresses, and brings the link up."""
        self.host.ip(f"link set {self.name} mtu {mtu}")
        self.host.address(self.name, *addresses)
        self.host.ip(f"link set {self.name} up")

    def stop(self):
        """Ends the device as its user would."""
        if self.process:
            self.process.stop()
        else:
            self.host.ip(f"link del {self.name}")

    def crash(self):
        """Ends its process without a word."""
        self.process.kill()
        if os.path.exists(self.socket):
            os.unlink(self.socket)

    def alive(self):
        return self.process is None or self.process.alive()

    def drops(self):
        """What adit has dropped so far, by reason. It says so in its log on SIGUSR1, at LOG_LEVEL=info."""
        pattern = rf"{self.name}: drops: (.*)"
        already = len(re.findall(pattern, self.process.output()))
        os.kill(self.process.pid, signal.SIGUSR1)
        said = until(lambda: re.findall(pattern, self.process.output())[already:], 10, "the drop counters in the log")
        return {reason: int(packets) for reason, packets in re.findall(r"(\w+)=(\d+)", said[0])}

    def set(self, *words, data=None):
        """`wg set NAME ...`; with `data`, the word /dev/stdin reads it."""
        return self.host.run("wg", "set", self.name, *words, data=data)

    def attempt(self, *words, data=None):
        """`wg WORDS`; (code, output)."""
        return self.host.attempt("wg", *words, data=data)

    def setconf(self, text):
        self.host.run("wg", "setconf", self.name, "/dev/stdin", data=text)

    def state(self):
        """All that `wg show NAME dump` tells."""
        lines = [line.split("\t") for line in self.host.run("wg", "show", self.name, "dump").splitlines()]
        private, public, port, fwmark = lines[0]
        state = DeviceState(private, public, int(port), fwmark)
        for public, psk, endpoint, allowed, handshake, received, sent, keepalive in lines[1:]:
            allowed = [] if allowed == "(none)" else allowed.split(",")
            state.peers[public] = PeerState(endpoint, allowed, int(handshake), int(received), int(sent), keepalive, psk)
        return state
