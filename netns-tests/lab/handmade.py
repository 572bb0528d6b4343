"""A WireGuard peer made by hand, which says whatever a case wants: it has the keys, and no manners.

It stands on a host of its own as site number 2 does, but only as far as a case drives it; nothing happens by itself.
"""
import base64
import hashlib
import hmac
import os
import socket
import struct
import time

from lab.cipher import open_, public_of, seal, x25519, xseal
from lab.wireguard import keys

CONSTRUCTION = b"Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s"
PROLOGUE = b"WireGuard v1 zx2c4 Jason@zx2c4.com"
INITIATION, RESPONSE, COOKIE, DATA = 1, 2, 3, 4
TAI_OFFSET = (1 << 62) + 10


def blake(*parts):
    return hashlib.blake2s(b"".join(parts)).digest()


def mac(key, *parts):
    return hashlib.blake2s(b"".join(parts), digest_size=16, key=key).digest()


def derive(chain, secret, count):
    """HKDF with BLAKE2s: `count` keys of 32 bytes."""
    first, keys_, last = hmac.digest(chain, secret, "blake2s"), [], b""
    for number in range(count):
        last = hmac.digest(first, last + bytes([number + 1]), "blake2s")
        keys_.append(last)
    return keys_


def nonce(counter):
    return bytes(4) + struct.pack("<Q", counter)


def stamp(wall=None):
    """TAI64N of a time in seconds since 1970."""
    wall = time.time() if wall is None else wall
    return struct.pack("!QI", TAI_OFFSET + int(wall), int(wall % 1 * 1e9))


class Hash:
    """The running hash and the chaining key of a handshake."""

    def __init__(self, responder):
        self.chain = blake(CONSTRUCTION)
        self.hash = blake(blake(self.chain, PROLOGUE), responder)

    def take(self, data):
        self.hash = blake(self.hash, data)
        return data

    def mix(self, secret, count=1):
        """The chaining key moves on; what else was derived."""
        self.chain, *more = derive(self.chain, secret, count)
        return more

    def seal(self, key, text):
        return self.take(seal(key, nonce(0), text, self.hash))

    def open(self, key, sealed):
        text = open_(key, nonce(0), sealed, self.hash)
        self.take(sealed)
        return text


class Handmade:
    """A peer of `site`, on `host`. It has keys and a socket; the rest is up to the case. Its preshared key can be set."""

    def __init__(self, host, site, port, family="v4"):
        self.host, self.site, self.keys, self.psk = host, site, keys(), bytes(32)
        self.private, self.public = base64.b64decode(self.keys.private), base64.b64decode(self.keys.public)
        self.remote = base64.b64decode(site.keys.public)
        self.socket = host.socket(socket.AF_INET if family == "v4" else socket.AF_INET6, socket.SOCK_DGRAM)
        self.socket.bind(("0.0.0.0" if family == "v4" else "::", port))
        self.target = (site.outer(family), int(site.endpoint().rpartition(":")[2]))
        self.counter = 0

    def send(self, *datagrams):
        for datagram in datagrams:
            self.socket.sendto(datagram, self.target)
            # One at a time: none is to be lost in a queue.
            time.sleep(0.001)

    def receive(self, kind, seconds=10):
        """The next datagram of this type; others are passed over. None if there is none in time."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            self.socket.settimeout(left)
            try:
                data = self.socket.recv(65536)
            except TimeoutError:
                return None
            if data[0] == kind:
                return data
        return None

    def macs(self, message):
        """Both MACs at the end: the first is right, the second empty."""
        return message + mac(blake(b"mac1----", self.remote), message) + bytes(16)

    def initiation(self, wall=None, ephemeral_public=None):
        """A new first message. What the answer needs is kept."""
        self.index, self.ephemeral = os.urandom(4), os.urandom(32)
        state = self.state = Hash(self.remote)
        public = state.take(ephemeral_public or public_of(self.ephemeral))
        state.mix(public)
        key, = state.mix(x25519(self.ephemeral, self.remote), 2)
        static = state.seal(key, self.public)
        key, = state.mix(x25519(self.private, self.remote), 2)
        return self.macs(struct.pack("<I", INITIATION) + self.index + public + static + state.seal(key, stamp(wall)))

    def finish(self, response):
        """Takes the answer in, and has the keys of the session then."""
        state, self.peer_index = self.state, response[4:8]
        assert response[8:12] == self.index, "an answer to something else"
        public = state.take(response[12:44])
        state.mix(public)
        state.mix(x25519(self.ephemeral, public))
        state.mix(x25519(self.private, public))
        hashed, key = state.mix(self.psk, 3)
        state.take(hashed)
        state.open(key, response[44:60])
        self.sending, self.receiving = derive(state.chain, b"", 2)
        self.counter = 0

    def handshake(self):
        """Begins a session, and confirms it."""
        self.send(self.initiation())
        response = self.receive(RESPONSE)
        assert response, "no answer to an initiation"
        self.finish(response)
        self.send(self.data(b""))

    def respond(self, initiation):
        """The answer to an initiation, and with it a session."""
        state, self.peer_index, self.index = Hash(self.public), initiation[4:8], os.urandom(4)
        remote = state.take(initiation[8:40])
        state.mix(remote)
        key, = state.mix(x25519(self.private, remote), 2)
        assert state.open(key, initiation[40:88]) == self.remote, "an initiation of somebody else"
        key, = state.mix(x25519(self.private, self.remote), 2)
        state.open(key, initiation[88:116])
        ephemeral = os.urandom(32)
        public = state.take(public_of(ephemeral))
        state.mix(public)
        state.mix(x25519(ephemeral, remote))
        state.mix(x25519(ephemeral, self.remote))
        hashed, key = state.mix(self.psk, 3)
        state.take(hashed)
        message = struct.pack("<I", RESPONSE) + self.index + self.peer_index + public + state.seal(key, b"")
        self.receiving, self.sending = derive(state.chain, b"", 2)
        self.counter = 0
        return self.macs(message)

    def cookie(self, message):
        """A cookie reply to a handshake message; the cookie is noise, which its receiver cannot know."""
        random = os.urandom(24)
        sealed = xseal(blake(b"cookie--", self.public), random, os.urandom(16), message[-32:-16])
        return struct.pack("<I", COOKIE) + message[4:8] + random + sealed

    def data(self, packet, counter=None, pad=16):
        """A data message around `packet`, padded to a multiple of `pad`; the next counter, unless one is given."""
        if counter is None:
            counter, self.counter = self.counter, self.counter + 1
        text = packet + bytes(-len(packet) % pad)
        return struct.pack("<I", DATA) + self.peer_index + struct.pack("<Q", counter) \
            + seal(self.sending, nonce(counter), text)
