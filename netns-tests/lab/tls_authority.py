"""An authority for servers' certificates, and odd ones: made with Debian's python3-cryptography."""
import datetime
import os

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

DAY = datetime.timedelta(days=1)


def new_key(kind="ecdsa", bits=2048):
    return rsa.generate_private_key(65537, bits) if kind == "rsa" else ec.generate_private_key(ec.SECP256R1())


def named(common):
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


class Authority:
    """A CA: its certificate is its own, or signed by the one `above` it. With `key` of another it is that one's cross."""

    def __init__(self, name, above=None, kind="ecdsa", key=None):
        self.name, self.key = named(name), key or new_key(kind)
        signer = above or self
        builder = base(self.name, signer.name, self.key.public_key(), (-30, 3000))
        builder = builder.add_extension(x509.BasicConstraints(True, None), critical=True)
        usage = dict.fromkeys(("content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "encipher_only",
                               "decipher_only"), False)
        builder = builder.add_extension(x509.KeyUsage(True, key_cert_sign=True, crl_sign=True, **usage), critical=True)
        self.certificate = sign(builder, signer)

    def issue(self, names, kind="ecdsa", days=(-1, 29), bits=2048, key=None, ca=False):
        """A server's certificate for these names, valid between so many days from now; it and its key."""
        key = key or new_key(kind, bits)
        builder = base(named(names[0]), self.name, key.public_key(), days)
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), critical=False)
        builder = builder.add_extension(x509.BasicConstraints(ca, None), critical=True)
        builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        return sign(builder, self), key


def base(subject, issuer, public, days):
    now = datetime.datetime.now(datetime.timezone.utc).replace(tzinfo=None)
    return (x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(public)
            .serial_number(x509.random_serial_number()).not_valid_before(now + days[0] * DAY)
            .not_valid_after(now + days[1] * DAY))


def sign(builder, signer):
    identifier = x509.SubjectKeyIdentifier.from_public_key(signer.key.public_key())
    builder = builder.add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier), critical=False)
    own = x509.SubjectKeyIdentifier.from_public_key(builder._public_key)
    return builder.add_extension(own, critical=False).sign(signer.key, hashes.SHA256())


def pem(*certificates):
    return "".join(one.public_bytes(serialization.Encoding.PEM).decode() for one in certificates)


def key_pem(key):
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                             serialization.NoEncryption()).decode()


def public_file(a, name, text):
    """A file of a daemon's that anybody may read; its path."""
    path = f"{a.folder}/{name}"
    with open(path, "w") as file:
        file.write(text)
    os.chmod(path, 0o644)
    return path


def installed(a, tag, chain, key):
    """A chain and its key as a daemon's files: an entry of `certificates`."""
    return {"chain_file": public_file(a, f"{tag}.pem", pem(*chain)), "key_file": a.secret(f"{tag}-key.pem", key_pem(key))}
