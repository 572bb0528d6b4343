"""A TLS 1.3 client by hand (RFC 8446), to send what no library would: X25519, AES-128-GCM and SHA-256 alone. The server is
not verified: that is others' test."""
import hashlib
import hmac
import os
import socket
import struct

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

CHANGE, ALERT, HANDSHAKE, DATA = 20, 21, 22, 23
KEY_UPDATE = b"\x18\x00\x00\x01"
NO_CONTEXT = hashlib.sha256(b"").digest()


def vector(size, data):
    """Bytes behind their length, which has so many bytes."""
    return len(data).to_bytes(size, "big") + data


def extension(kind, body):
    return struct.pack(">H", kind) + vector(2, body)


def record(kind, content, version=0x0303):
    return struct.pack(">BH", kind, version) + vector(2, content)


def hello(name, share, more=b"", version=0x0303, suites=b"\x13\x01", versions=b"\x03\x04", session=b""):
    """A ClientHello without its record. `versions` is the list in supported_versions; without one there is no such extension."""
    host = name.encode()
    extensions = extension(0, vector(2, b"\0" + vector(2, host)))
    extensions += extension(10, vector(2, b"\0\x1d")) + extension(11, b"\x01\0")
    extensions += extension(13, vector(2, b"\x04\x03\x08\x04\x04\x01"))
    if versions:
        extensions += extension(43, vector(1, versions)) + extension(51, vector(2, b"\0\x1d" + vector(2, share)))
    body = struct.pack(">H", version) + os.urandom(32) + vector(1, session) + vector(2, suites) + b"\x01\0"
    return b"\x01" + vector(3, body + vector(2, extensions + more))


def expand(secret, label, context, length):
    """HKDF-Expand-Label (section 7.1), for outputs of at most one hash."""
    info = struct.pack(">H", length) + vector(1, b"tls13 " + label) + vector(1, context)
    return hmac.digest(secret, info + b"\x01", "sha256")[:length]


class Half:
    """The key of one direction."""

    def __init__(self, secret):
        self.secret, self.number = secret, 0
        self.key, self.iv = AESGCM(expand(secret, b"key", b"", 16)), expand(secret, b"iv", b"", 12)

    def nonce(self):
        nonce = int.from_bytes(self.iv, "big") ^ self.number
        self.number += 1
        return nonce.to_bytes(12, "big")

    def seal(self, kind, content, padding=0):
        inner = content + bytes([kind]) + bytes(padding)
        head = struct.pack(">BHH", DATA, 0x0303, len(inner) + 16)
        return head + self.key.encrypt(self.nonce(), inner, head)

    def open(self, head, body):
        """(type, content)."""
        inner = self.key.decrypt(self.nonce(), body, head).rstrip(b"\0")
        return inner[-1], inner[:-1]

    def updated(self):
        return Half(expand(self.secret, b"traffic upd", b"", 32))


class Client:
    """A connection. `connect` shakes hands; what is sent and received then is in the caller's hand."""

    def __init__(self, host, port=443, timeout=10):
        with host.entered():
            self.socket = socket.create_connection(("127.0.0.1", port), timeout)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer, self.private = b"", X25519PrivateKey.generate()

    def share(self):
        return self.private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)

    def exactly(self, count):
        while len(self.buffer) < count:
            came = self.socket.recv(65536)
            if not came:
                raise EOFError("the end, in place of a record")
            self.buffer += came
        taken, self.buffer = self.buffer[:count], self.buffer[count:]
        return taken

    def record(self):
        """The next record as it came: (type, header, body)."""
        head = self.exactly(5)
        return head[0], head, self.exactly(int.from_bytes(head[3:], "big"))

    def connect(self, name, message=None, pieces=None, behind=b""):
        """Shakes hands. `pieces` makes what is sent one after the other of the first message; `behind` follows it at once."""
        message = message or hello(name, self.share())
        for piece in pieces(message) if pieces else [record(HANDSHAKE, message, 0x0301)]:
            self.socket.sendall(piece)
        if behind:
            self.socket.sendall(behind)
        kind, _, server_hello = self.record()
        assert kind == HANDSHAKE, (kind, server_hello)
        transcript = message + server_hello
        at = 4 + 2 + 32
        at += 1 + server_hello[at] + 2 + 1 + 2
        key = None
        while at < len(server_hello):
            number, length = struct.unpack_from(">HH", server_hello, at)
            if number == 51:
                key = server_hello[at + 8:at + 4 + length]
            at += 4 + length
        shared = self.private.exchange(X25519PublicKey.from_public_bytes(key))
        early = hmac.digest(bytes(32), bytes(32), "sha256")
        secret = hmac.digest(expand(early, b"derived", NO_CONTEXT, 32), shared, "sha256")
        so_far = hashlib.sha256(transcript).digest()
        ours, theirs = (expand(secret, label, so_far, 32) for label in (b"c hs traffic", b"s hs traffic"))
        master = hmac.digest(expand(secret, b"derived", NO_CONTEXT, 32), bytes(32), "sha256")
        self.sealing, self.opening = Half(ours), Half(theirs)
        flight = b""
        # Finished is the last, with a hash behind its header.
        while not self.finished(flight):
            kind, content = self.receive()
            assert kind == HANDSHAKE, (kind, content)
            flight += content
        so_far = hashlib.sha256(transcript + flight).digest()
        verify = hmac.digest(expand(ours, b"finished", b"", 32), so_far, "sha256")
        self.socket.sendall(self.sealing.seal(HANDSHAKE, b"\x14" + vector(3, verify)))
        self.sealing = Half(expand(master, b"c ap traffic", so_far, 32))
        self.opening = Half(expand(master, b"s ap traffic", so_far, 32))
        return self

    @staticmethod
    def finished(flight):
        """Whether these handshake messages end with Finished."""
        at, kind = 0, None
        while at + 4 <= len(flight):
            kind = flight[at]
            at += 4 + int.from_bytes(flight[at + 1:at + 4], "big")
        return kind == 20 and at == len(flight)

    def receive(self):
        """The next record, opened: (type, content). Changes of cipher specs say nothing; one in clear is told as it is."""
        while True:
            kind, head, body = self.record()
            if kind == DATA:
                return self.opening.open(head, body)
            if kind != CHANGE:
                return kind, body

    def send(self, data, kind=DATA, padding=0):
        self.socket.sendall(self.sealing.seal(kind, data, padding))

    def update(self, ask):
        """Changes the key of what is sent, and asks for one of what is received."""
        self.send(KEY_UPDATE + bytes([ask]), HANDSHAKE)
        self.sealing = self.sealing.updated()

    def data(self):
        """The next data. Tickets are passed over, and a change of key is followed."""
        while True:
            kind, content = self.receive()
            if kind == DATA:
                return content
            if kind == ALERT:
                raise EOFError(f"alert {content.hex()}")
            if content.startswith(KEY_UPDATE):
                self.opening = self.opening.updated()

    def ends(self):
        """How it ended: the number of the alert, "end" or "reset". Whatever comes before is passed over."""
        try:
            while True:
                kind, content = self.receive()
                if kind == ALERT:
                    return content[1]
        except EOFError:
            return "end"
        except ConnectionError:
            return "reset"

    def close(self):
        self.socket.close()
