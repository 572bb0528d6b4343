"""What the daemon says of certificates that are not as they should be, when it is asked to check them and when it starts."""
import os

from cryptography.hazmat.primitives.asymmetric import ec

from lab.case import case
from lab.tls import WWW, certificate, terminator
from lab.tls_authority import Authority, installed, key_pem, new_key, pem, public_file

NAMES = [WWW, f"*.{WWW}"]
# What is found, the words that have to be in what is said, and whether the daemon takes it all the same.
REFUSED, WARNED, SILENT = "refused", "warned", "silent"


class Made:
    """Chains with keys, each of them odd in one way."""

    def __init__(self, a):
        self.a = a
        self.root, self.other = Authority("root"), Authority("other root")
        self.issuing = Authority("issuing", self.root)
        # The same CA, vouched for by another root.
        self.crossed = Authority("issuing", self.other, key=self.issuing.key)
        self.leaf, self.key = self.issuing.issue(NAMES)

    def put(self, chain, key=None):
        return installed(self.a, "odd", chain, key or self.key)

    def text(self, chain):
        """The same with any text for a chain."""
        return {**self.put([self.leaf]), "chain_file": public_file(self.a, "odd-text.pem", chain)}

    def issued(self, authority=None, **more):
        leaf, key = (authority or self.issuing).issue(more.pop("names", NAMES), **more)
        return self.put([leaf, self.issuing.certificate], key)

    def weak(self):
        """Signed with SHA-1, which only openssl still does."""
        stem = f"{self.a.folder}/sha1"
        self.a.host.run("openssl", "req", "-x509", "-sha1", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                        "-keyout", f"{stem}.key", "-out", f"{stem}.pem", "-days", "30", "-subj", f"/CN={WWW}", "-addext",
                        f"subjectAltName=DNS:{WWW},DNS:*.{WWW}")
        os.chmod(f"{stem}.pem", 0o644)
        with open(f"{stem}.key") as file:
            return {"chain_file": f"{stem}.pem", "key_file": self.a.secret("sha1-key.pem", file.read())}

    def readable(self):
        entry = self.put([self.leaf, self.issuing.certificate])
        os.chmod(entry["key_file"], 0o644)
        return entry


ODD = {
    "as it should be": (SILENT, "", lambda m: m.put([m.leaf, m.issuing.certificate])),
    "with another root's cross": (REFUSED, "is not the issuer of the one before it",
                                  lambda m: m.put([m.leaf, m.issuing.certificate, m.crossed.certificate])),
    "by a cross": (SILENT, "", lambda m: m.put([m.leaf, m.crossed.certificate])),
    "with its root": (SILENT, "", lambda m: m.put([m.leaf, m.issuing.certificate, m.root.certificate])),
    "without its intermediate": (SILENT, "", lambda m: m.put([m.leaf])),
    "expired": (WARNED, "the certificate expired at", lambda m: m.issued(days=(-30, -1))),
    "soon to end": (WARNED, "the certificate expires at", lambda m: m.issued(days=(-80, 2))),
    "not yet valid": (WARNED, "the certificate is not valid before", lambda m: m.issued(days=(2, 30))),
    "for another name": (REFUSED, "which no certificate names", lambda m: m.issued(names=["mail.example.net"])),
    "with another's key": (REFUSED, "the private key does not belong to the certificate",
                           lambda m: m.put([m.leaf, m.issuing.certificate], new_key())),
    "with a key of another kind": (REFUSED, "the private key does not belong to the certificate",
                                   lambda m: m.put([m.leaf, m.issuing.certificate], new_key("rsa"))),
    "self-signed": (WARNED, "only clients that were given it trust it", lambda m: certificate(m.a, "self")),
    "RSA 1024": (REFUSED, "RSA key of 1024 bits; at least 2048 are needed", lambda m: m.issued(kind="rsa", bits=1024)),
    "on another curve": (REFUSED, "a key of another kind", lambda m: m.issued(key=ec.generate_private_key(ec.SECP256K1()))),
    "SHA-1": (REFUSED, "is signed with SHA-1; expected SHA-256 or better", lambda m: m.weak()),
    "reversed": (REFUSED, "is not the issuer of the one before it", lambda m: m.put([m.issuing.certificate, m.leaf])),
    "twice": (REFUSED, "is not the issuer of the one before it", lambda m: m.put([m.leaf, m.leaf, m.issuing.certificate])),
    "with one too many": (REFUSED, "is not the issuer of the one before it",
                          lambda m: m.put([m.leaf, m.issuing.certificate, m.other.certificate])),
    "by somebody of the issuer's name": (REFUSED, "has the issuer's name, but did not sign",
                                         lambda m: m.put([m.leaf, Authority("issuing", m.root).certificate])),
    "a CA's": (WARNED, "the certificate is a CA's", lambda m: m.put([m.issuing.issue(NAMES, key=m.key, ca=True)[0]])),
    "no certificate": (REFUSED, "chain_file", lambda m: m.text("nothing\n")),
    "empty": (REFUSED, "chain_file", lambda m: m.text("")),
    "cut in the middle": (REFUSED, "chain_file", lambda m: m.text(pem(m.leaf)[:300])),
    "its key in place of it": (REFUSED, "chain_file", lambda m: m.text(key_pem(m.key))),
    "not there": (REFUSED, "chain_file", lambda m: {**m.put([m.leaf]), "chain_file": "/nowhere.pem"}),
    "with a key that others can read": (REFUSED, "key_file", lambda m: m.readable()),
}


@case(limit=60)
def odd(net):
    """Each odd certificate is refused or warned of in its own words by --check and by a reload, which leaves the last in place."""
    a, web = terminator(net)
    made, good = Made(a), web["certificates"]
    secret = key_pem(made.key).splitlines()[2]
    for what, (fate, words, make) in ODD.items():
        web["certificates"] = [make(made)]
        code, said = a.attempt("--check")
        found = REFUSED if code else WARNED if "warning" in said.lower() else SILENT
        assert (found, words in said) == (fate, True), f"{what}: exit {code}: {said}"
        if fate == REFUSED:
            refused = a.refuses()
            assert words in refused, f"{what}: {refused}"
        assert secret not in said, f"{what}: {said}"
    web["certificates"] = good
    assert "nothing changed" in a.reload()
