"""A token of SoftHSM, with keys and certificates in it, and a module that writes down what it is asked."""
import glob
import os

from lab.process import run

MODULE = "/usr/lib/softhsm/libsofthsm2.so"
# OpenSC's: passes everything on to another module, and notes it.
SPY = next(iter(glob.glob("/usr/lib/*/pkcs11-spy.so")), "pkcs11-spy.so")
PIN, SO_PIN = "473913", "80025102"


class Token:
    """A token in a folder of its own. `env` leads a program to it, and through the spy."""

    def __init__(self, folder, label):
        self.folder, self.label, self.spied = folder, label, f"{folder}/spied"
        os.makedirs(f"{folder}/tokens")
        with open(f"{folder}/softhsm2.conf", "w") as file:
            file.write(f"directories.tokendir = {folder}/tokens\nlog.level = ERROR\n")
        self.env = {"SOFTHSM2_CONF": f"{folder}/softhsm2.conf", "PKCS11SPY": MODULE, "PKCS11SPY_OUTPUT": self.spied,
                    "ADIT_PKCS11_MODULE": SPY}
        self.run("softhsm2-util", "--init-token", "--free", "--label", label, "--pin", PIN, "--so-pin", SO_PIN)

    def run(self, *command):
        return run(command, env=self.env)[1]

    def put(self, name, number, key, certificate):
        """A key and its certificate, from files, under one label and identifier."""
        self.run("softhsm2-util", "--import", key, "--token", self.label, "--label", name, "--id", number, "--pin", PIN)
        der = f"{self.folder}/{name}.der"
        run(["openssl", "x509", "-in", certificate, "-outform", "DER", "-out", der])
        self.run("pkcs11-tool", "--module", MODULE, "--token-label", self.label, "--login", "--pin", PIN, "--write-object", der,
                 "--type", "cert", "--label", name, "--id", number)

    def pin_file(self, pin=PIN):
        """A file with a PIN, for its owner alone."""
        path = f"{self.folder}/pin"
        with open(path, "w", opener=lambda *words: os.open(*words, 0o600)) as file:
            file.write(pin + "\n")
        return path

    def uri(self, name, more=""):
        return f"pkcs11:token={self.label};object={name}{more}"

    def tries(self):
        """How often it was given a PIN."""
        if not os.path.exists(self.spied):
            return 0
        with open(self.spied) as file:
            return sum(line.rstrip().endswith(": C_Login") for line in file)
