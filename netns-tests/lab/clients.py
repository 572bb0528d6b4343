"""Clients of a gateway: its certificates, made by aditctl and openssl, and a client that asks by curl.

The client proper is another program; this one is independent of it and does what an answer says with `wg`.
"""
import json
import os

from lab.daemon import ADITCTL, NOBODY, Daemon
from lab.process import run
from lab.site import PORT
from lab.wireguard import Device, keys

API = 8443
NAME = "vpn.test"


class Office:
    """A gateway with clients.

        client ---- outside ---- gateway ---- inside ---- server
        192.0.2.9        192.0.2.1   10.20.0.1       10.20.0.7
    """

    def __init__(self, net, implementation="adit", **clients):
        self.net = net
        self.host, self.outside, self.server = net.host("gateway"), net.host("client"), net.host("server")
        net.link(self.host, "wire", self.outside, "wire")
        net.link(self.host, "inside", self.server, "inside")
        self.host.address("wire", "192.0.2.1/24")
        self.outside.address("wire", "192.0.2.9/24")
        self.host.address("inside", "10.20.0.1/24", "10.21.0.1/24", "fd20::1/64", "fd21::1/64")
        self.server.address("inside", "10.20.0.7/24", "10.21.0.7/24", "fd20::7/64", "fd21::7/64")
        self.server.route("default via 10.20.0.1", "default via fd20::1")
        self.host.forward()
        self.daemon, self.implementation = Daemon(self.host), implementation
        self.tunnel, self.keys = net.device("wg"), keys()
        self.daemon.tunnel(self.tunnel, self.keys, ["10.9.0.1/24", "fd09::1/64"])
        self.folder = self.daemon.folder
        self.pki, self.passphrase = f"{self.folder}/pki", self.daemon.secret("passphrase", "correct horse", owner=0)
        self.aditctl("init", "--name", "Test CA")
        # From now on root changes what is in it, and the daemon has to be able to read that.
        self.own(self.pki)
        self.issue("gateway", "--for", "server", "--dns", NAME)
        table = {"listen": [f"192.0.2.1:{API}"], "certificate_file": f"{self.folder}/gateway.pem",
                 "private_key_file": f"{self.folder}/gateway.key", "pki": self.pki, "pool": ["10.9.0.0/24"],
                 "routes": ["10.20.0.0/24"], "endpoints": [f"192.0.2.1:{PORT}"], **clients}
        self.table = self.daemon.config.setdefault("clients", {})[self.tunnel] = table

    def aditctl(self, word, *words):
        """`aditctl pki` as root."""
        run([ADITCTL, "pki", "--dir", self.pki, word, "--passphrase-file", self.passphrase, *words])

    def own(self, path):
        run(["chown", "-R", str(NOBODY.pw_uid), path])

    def secret_folder(self):
        """A folder that the daemon's user may look into."""
        path = f"{self.folder}/company"
        os.mkdir(path)
        os.chmod(path, 0o755)
        return path

    def issue(self, name, *words):
        """A certificate with its key: NAME.pem and NAME.key in the daemon's folder."""
        self.aditctl("issue", name, *words, "--out", self.folder)
        for ending in ("pem", "key"):
            self.own(f"{self.folder}/{name}.{ending}")

    def start(self):
        self.daemon.start()
        return self

    def invite(self, name, *words):
        code, output = self.daemon.ctl("client", "invite", name, "--json", *words)
        assert code == 0, output
        return json.loads(output)["token"]

    def ask(self, call, body, certificate=None, data=None, words=()):
        """Asks the API; (status, the answer as a dict or text)."""
        command = ["curl", "-sS", "--max-time", "10", "--cacert", f"{self.pki}/ca.pem", "--resolve", f"{NAME}:{API}:192.0.2.1",
                   "-w", "\n%{http_code}", "--data-binary", "@-", *words]
        if certificate:
            command += ["--cert", f"{self.folder}/{certificate}.pem", "--key", f"{self.folder}/{certificate}.key"]
        output = self.outside.run(*command, f"https://{NAME}:{API}/v1/{call}", data=data or json.dumps(body))
        text, _, status = output.rpartition("\n")
        return int(status), json.loads(text)


class Client:
    """A device on the client's host, of the implementation that the office has."""

    def __init__(self, office, tag="c"):
        self.office, self.keys = office, keys()
        self.device = Device(office.outside, office.implementation, office.net.device(tag))
        self.lease = None

    def enrol(self, token=None, certificate=None):
        """Asks for a lease; (status, answer)."""
        body = {"public_key": self.keys.public, **({"token": token} if token else {})}
        status, answer = self.office.ask("enrol", body, certificate)
        if status == 200:
            self.lease = answer
        return status, answer

    def renew(self):
        body = {"public_key": self.keys.public, "identity": self.lease["identity"], "secret": self.lease["renewal"]}
        status, answer = self.office.ask("renew", body)
        if status == 200:
            self.lease = answer
        return status, answer

    def configuration(self):
        gateway = self.lease["gateway"]
        return (f"[Interface]\nPrivateKey = {self.keys.private}\n[Peer]\nPublicKey = {gateway['public_key']}\n"
                f"PresharedKey = {self.lease['preshared_key']}\nAllowedIPs = 10.0.0.0/8, fd00::/8\n"
                f"Endpoint = {gateway['endpoints'][0]}\n")

    def up(self):
        """Does what the lease says, but routes everything into it: what is refused is for the gateway to say."""
        self.device.start().up(1420, *self.lease["addresses"])
        self.device.setconf(self.configuration())
        for address in self.lease["addresses"]:
            network = "fd00::/8" if ":" in address else "10.0.0.0/8"
            self.office.outside.route(f"{network} dev {self.device.name} src {address}")
        return self

    @property
    def address(self):
        return self.lease["addresses"][0]
