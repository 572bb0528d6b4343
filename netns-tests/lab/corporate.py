"""An authority as companies have them: kept by openssl, with a root, and an intermediate which signs people."""
import os

from lab.process import run

CONFIG = """
[ca]
default_ca = it
[it]
database = {folder}/index
new_certs_dir = {folder}
serial = {folder}/serial
crlnumber = {folder}/crlnumber
certificate = {folder}/ca.pem
private_key = {folder}/ca.key
default_md = sha256
policy = any
unique_subject = no
crl_extensions = list
[any]
commonName = optional
organizationName = optional
[root]
basicConstraints = critical, CA:true
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
[intermediate]
basicConstraints = critical, CA:true, pathlen:0
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
[person]
basicConstraints = CA:false
keyUsage = critical, digitalSignature
extendedKeyUsage = clientAuth
authorityKeyIdentifier = keyid
subjectAltName = {names}
[list]
authorityKeyIdentifier = keyid
"""
KEYS = {"rsa": ["-newkey", "rsa:2048"], "ec": ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]}


class Keeper:
    """One authority in a folder of its own; openssl keeps its books. Its numbers begin at 1000, as everybody's do."""

    def __init__(self, folder, kind):
        self.folder, self.kind = folder, kind
        os.mkdir(folder)
        for name, text in (("index", ""), ("serial", "1000\n"), ("crlnumber", "1000\n")):
            with open(f"{folder}/{name}", "w") as file:
                file.write(text)

    def openssl(self, *words, names="email:nobody@example.org"):
        with open(f"{self.folder}/config", "w") as file:
            file.write(CONFIG.format(folder=self.folder, names=names))
        return run(["openssl", *words])

    def request(self, path, kind, name):
        self.openssl("req", "-new", *KEYS[kind], "-nodes", "-subj", f"/O=Example AG/CN={name}", "-keyout", f"{path}.key",
                     "-out", f"{path}.csr")

    def root(self):
        self.openssl("version")
        self.openssl("req", "-x509", "-new", *KEYS[self.kind], "-nodes", "-subj", "/O=Example AG/CN=Root", "-days", "30",
                     "-config", f"{self.folder}/config", "-extensions", "root", "-keyout", f"{self.folder}/ca.key",
                     "-out", f"{self.folder}/ca.pem")
        return self

    def sign(self, path, profile, **more):
        """Signs PATH.csr; the certificate is PATH.pem."""
        self.openssl("ca", "-batch", "-notext", "-config", f"{self.folder}/config", "-extensions", profile, "-days", "7",
                     "-in", f"{path}.csr", "-out", f"{path}.pem", **more)

    def revoke(self, path):
        self.openssl("ca", "-config", f"{self.folder}/config", "-revoke", f"{path}.pem")

    def list(self, path):
        """Signs a revocation list; it is put in place whole."""
        self.openssl("ca", "-config", f"{self.folder}/config", "-gencrl", "-crldays", "7", "-out", f"{path}.new")
        os.chmod(f"{path}.new", 0o644)
        os.rename(f"{path}.new", path)


class Corporate:
    """Root and intermediate. What the gateway gets is in `folder`: root.pem, and a list of each."""

    def __init__(self, folder, kind):
        self.folder, self.kind = folder, kind
        self.above = Keeper(f"{folder}/above", kind).root()
        self.below = Keeper(f"{folder}/below", kind)
        path = f"{self.below.folder}/ca"
        self.above.request(path, kind, "People")
        self.above.sign(path, "intermediate")
        with open(f"{self.above.folder}/ca.pem") as root, open(f"{folder}/root.pem", "w") as file:
            file.write(root.read())
        self.lists()

    @property
    def files(self):
        return [f"{self.folder}/above.crl", f"{self.folder}/below.crl"]

    def lists(self):
        self.above.list(self.files[0])
        self.below.list(self.files[1])

    def person(self, path, name, names):
        """PATH.pem, with the intermediate behind it, and PATH.key."""
        self.below.request(path, self.kind, name)
        self.below.sign(path, "person", names=names)
        with open(f"{self.below.folder}/ca.pem") as above, open(f"{path}.pem", "a") as file:
            file.write(above.read())
