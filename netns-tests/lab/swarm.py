"""Many clients in one program: each asks the API over TLS, and speaks WireGuard by hand with what it was granted."""
import base64
import ipaddress
import json
import os
import socket
import ssl
import struct
from concurrent.futures import ThreadPoolExecutor

from lab import frame
from lab.cipher import open_, public_of
from lab.clients import API, NAME
from lab.handmade import DATA, RESPONSE, Handmade, nonce
from lab.wireguard import Keys

ECHO, REPLY = 8, 0
# Connections at a time.
ABREAST = 32


def echo(source, target, number):
    """An echo request."""
    source, target = ipaddress.ip_address(source).packed, ipaddress.ip_address(target).packed
    body = struct.pack("!BBHHH", ECHO, 0, 0, 7, number)
    body = body[:2] + struct.pack("!H", frame.checksum(body)) + body[4:]
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(body), 0, 0, 64, 1, 0) + source + target
    return head[:10] + struct.pack("!H", frame.checksum(head)) + head[12:] + body


class Member(Handmade):
    """One client, on a port of its own."""

    def __init__(self, swarm, port):
        self.host, self.psk = swarm.office.outside, bytes(32)
        self.private = os.urandom(32)
        self.public = public_of(self.private)
        self.keys = Keys(base64.b64encode(self.private).decode(), base64.b64encode(self.public).decode())
        self.remote = base64.b64decode(swarm.office.keys.public)
        self.socket = self.host.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("0.0.0.0", port))
        self.counter = 0

    def leased(self, lease):
        """Takes over what the API answered."""
        self.lease, self.address = lease, lease["addresses"][0]
        self.psk = base64.b64decode(lease["preshared_key"])
        host, _, port = lease["gateway"]["endpoints"][0].rpartition(":")
        self.target = (host, int(port))

    def ask(self, target, number):
        self.send(self.data(echo(self.address, target, number)))

    def answer(self, seconds=10):
        """(source, kind, number) of the next echo that arrives; None if there is none in time."""
        sealed = self.receive(DATA, seconds)
        while sealed:
            packet = open_(self.receiving, nonce(struct.unpack_from("<Q", sealed, 8)[0]), sealed[16:])
            if packet:
                return str(ipaddress.ip_address(packet[12:16])), packet[20], struct.unpack_from("!H", packet, 26)[0]
            sealed = self.receive(DATA, seconds)
        return None

    def session(self):
        """A handshake; whether it was answered."""
        self.send(self.initiation())
        response = self.receive(RESPONSE)
        if response:
            self.finish(response)
        return bool(response)


class Swarm:
    """`count` clients of an office."""

    def __init__(self, office, count):
        self.office = office
        self.members = [Member(self, 20_000 + number) for number in range(count)]
        self.context = ssl.create_default_context(cafile=f"{office.pki}/ca.pem")

    def invite(self):
        """A token for each, as `aditctl client invite` gets them."""
        tokens = []
        for number in range(len(self.members)):
            status, body = self.office.daemon.http("POST", f"/v1/clients/invite?name=c{number}&seconds=600", "write.sock")
            assert status == 200, body
            tokens.append(json.loads(body)["token"])
        return tokens

    def post(self, body):
        """One request on a connection of its own; (status, answer)."""
        with self.office.outside.entered():
            plain = socket.create_connection(("192.0.2.1", API), 15)
        with self.context.wrap_socket(plain, server_hostname=NAME) as stream:
            body = json.dumps(body).encode()
            stream.sendall(b"POST /v1/enrol HTTP/1.1\r\nhost: %s\r\nconnection: close\r\ncontent-length: %d\r\n\r\n%s"
                           % (NAME.encode(), len(body), body))
            answer = b""
            while part := stream.recv(65536):
                answer += part
        head, _, body = answer.partition(b"\r\n\r\n")
        return int(head.split()[1]), json.loads(body)

    def enrol(self, tokens):
        """All of them, many at once; the statuses."""
        def one(pair):
            member, token = pair
            status, answer = self.post({"public_key": member.keys.public, "token": token})
            if status == 200:
                member.leased(answer)
            return status
        with ThreadPoolExecutor(ABREAST) as pool:
            return list(pool.map(one, zip(self.members, tokens)))
