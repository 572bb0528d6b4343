"""Ethernet between two ends on one cable, by whatever carries it: what the group `link` compares.

    a: device ---- wire ---- b: device

The device is the cable itself, or the TAP or VXLAN device of what is measured. Both ends are of one kind.
"""
import os
import tempfile

from lab import link_config, process
from lab.daemon import Daemon
from lab.site import Site
from lab.wireguard import ROOT, Missing
from measure.cost import running_seconds

FORWARDER, OPENVPN = f"{ROOT}/target/release/forwarder", "/usr/sbin/openvpn"
GCM = f"{ROOT}/target/release/gcm"
# The gateway without a cipher: built for this alone, into a folder of its own.
NULL = f"{ROOT}/target/null/release/aditd"
NAME, DEVICE, OVERHEAD = "uplink", "msec0", 32
# What a device may have for an MTU where its frames go in UDP, on a wire of 1500. Equal for all of them.
IN_UDP, IN_UDP_JUMBO, IN_VXLAN = 1420, 8920, 1370
# By name: the MTU of the device, and that of the wire.
MTUS = {
    "cable": (1500, 1500), "cable-jumbo": (9000, 9000), "forwarder": (1500, 1600), "forwarder-jumbo": (9000, 9100),
    "forwarder-single": (1500, 1600), "forwarder-direct": (1500, 1600), "adit-link": (1500, 1500 + OVERHEAD),
    "adit-link-jumbo": (9000, 9000 + OVERHEAD), "adit-link-udp": (IN_UDP, 1500), "adit-link-udp-jumbo": (IN_UDP_JUMBO, 9000),
    "openvpn-tap": (IN_UDP, 1500), "wireguard-go-vxlan": (IN_VXLAN, 1500),
}
# Each of adit's, and the same without a cipher.
CIPHERED = {name: f"{name}-null" for name in MTUS if name.startswith("adit")}
MTUS.update({null: MTUS[name] for name, null in CIPHERED.items()})
LINKS = tuple(MTUS)
# What carries frames in clear, and so is no choice.
IN_CLEAR = tuple(name for name in LINKS if name.startswith(("cable", "forwarder")) or name in CIPHERED.values())


def require(name):
    """Raises Missing, with a sentence that says what to do, if its program is not there."""
    program, words = {"forwarder": (FORWARDER, "bench/run builds it"), "openvpn": (OPENVPN, "apt-get install openvpn"),
                      "wireguard": ("/usr/bin/wireguard-go", "netns-tests/run.sh setup installs it")}.get(
                          name.partition("-")[0], (None, None))
    if name in CIPHERED:
        program, words = GCM, "bench/run builds it"
    if name in CIPHERED.values():
        program, words = NULL, "bench/run builds it"
    if program and not os.path.exists(program):
        raise Missing(f"{name}: no program {program} ({words})")


class WithoutCipher(Daemon):
    """The daemon that was built to measure what is left without a cipher."""

    def command(self):
        return NULL, *super().command()[1:]


class Ethernet:
    """Two ends with addresses on their devices, started. `device` is where frames go in."""

    def __init__(self, net, name):
        self.net, self.name, self.processes = net, name, []
        self.mtu, wire = MTUS[name]
        self.a, self.b = net.host("a"), net.host("b")
        # Without offloads a frame on this cable is one on a real wire. In UDP trains are part of what is measured.
        net.link(self.a, "wire", self.b, "wire", wire, offload=self.over_udp() or name in ("openvpn-tap", "wireguard-go-vxlan"))
        self.device = self.begin()
        for host, number in ((self.a, 1), (self.b, 2)):
            host.address(self.device, f"10.8.0.{number}/24")
        self.address = "10.8.0.2"

    def begin(self):
        kind = self.name.partition("-")[0]
        return {"cable": lambda: "wire", "forwarder": self.forwarders, "adit": self.daemons, "openvpn": self.openvpns,
                "wireguard": self.vxlans}[kind]()

    def over_udp(self):
        return "-udp" in self.name

    def both(self):
        return ((self.a, 1), (self.b, 2))

    def outside(self):
        for host, number in self.both():
            host.address("wire", f"192.0.2.{number}/24")

    def forwarders(self):
        more = {"single": ["--offloads", "none"], "direct": ["--direct"]}
        words = ["--mtu", self.mtu, *more.get(self.name.rpartition("-")[2], [])]
        for host, _ in self.both():
            started = host.start(FORWARDER, "wire", DEVICE, *words)
            started.wait_output("ready", 5)
            self.processes.append(started)
        return DEVICE

    def daemons(self):
        ends = [(Daemon if self.name in CIPHERED else WithoutCipher)(host) for host, _ in self.both()]
        if self.over_udp():
            self.outside()
        tables = link_config.noise(ends, NAME)
        for (_, number), daemon, table in zip(self.both(), ends, tables):
            udp = {"listen": link_config.PORT, "peer": f"192.0.2.{3 - number}:{link_config.PORT}"}
            link_config.put(daemon, NAME, {**table, "tap": DEVICE, "mtu": self.mtu, "cipher": "gcm-aes-xpn-256",
                                           **({"udp": udp} if self.over_udp() else {"link": "wire"})})
            self.processes.append(daemon.start().process)
        return DEVICE

    def openvpns(self):
        """TLS by fingerprints of certificates made for this alone, and AES-256-GCM, which is its default too."""
        self.outside()
        folder = tempfile.mkdtemp(prefix="adit-bench-")
        self.net.stack.callback(process.run, ["rm", "-r", folder])
        prints = [certificate(folder, number) for _, number in self.both()]
        for host, number in self.both():
            role = ["--tls-server", "--dh", "none"] if number == 1 else ["--tls-client"]
            started = host.start(
                OPENVPN, "--dev", DEVICE, "--dev-type", "tap", "--tun-mtu", self.mtu, "--proto", "udp", *role,
                "--local", f"192.0.2.{number}", "--remote", f"192.0.2.{3 - number}", "--port", 1194,
                "--cert", f"{folder}/{number}.crt", "--key", f"{folder}/{number}.key",
                "--peer-fingerprint", prints[2 - number], "--data-ciphers", "AES-256-GCM", "--cipher", "AES-256-GCM",
                "--ping", 10, "--verb", 3)
            self.processes.append(started)
        for started, (host, _) in zip(self.processes, self.both()):
            started.wait_output("Initialization Sequence Completed", 20)
            host.ip(f"link set {DEVICE} up")
        return DEVICE

    def vxlans(self):
        """VXLAN of the kernel inside a tunnel of Debian's wireguard-go, which is what counts as a process."""
        sites = [Site(host, "wireguard-go", number, "wire") for host, number in self.both()]
        for site in sites:
            site.address_wire()
            site.start(1420)
        for site, other in zip(sites, reversed(sites)):
            site.device.setconf(site.interface_conf() + other.peer_conf(endpoint=other.endpoint()))
            site.host.ip(f"link add {DEVICE} type vxlan id 7 dstport 4789 local {site.inner()} remote {other.inner()} "
                         f"dev {site.device.name}")
            site.host.ip(f"link set {DEVICE} mtu {self.mtu} up")
            self.processes.append(site.device.process)
        return DEVICE

    def used(self):
        """Processor time of each end, and the bytes that came out of both devices."""
        return {"cpu": [running_seconds(started.pid) for started in self.processes],
                "bytes": sum(host.statistic(self.device, "rx_bytes") for host, _ in self.both())}


def certificate(folder, number):
    """A certificate signed by itself, in files; its fingerprint as openvpn reads it."""
    files = [f"{folder}/{number}.key", f"{folder}/{number}.crt"]
    process.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days",
                 "2", "-subj", f"/CN=end{number}", "-keyout", files[0], "-out", files[1]])
    return process.run(["openssl", "x509", "-in", files[1], "-noout", "-fingerprint", "-sha256"])[1].strip().partition("=")[2]
