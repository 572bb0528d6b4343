"""A DHCP server, dnsmasq, and a client by hand (RFC 2131)."""
import os
import socket
import struct

from lab.wait import until

DISCOVER, OFFER, REQUEST, ACK = 1, 2, 3, 5
COOKIE = b"\x63\x82\x53\x63"
SO_BINDTODEVICE = 25


def serve(host, link, address, first, last):
    """Starts dnsmasq for a range of addresses; without DNS, files of its own or a user to become."""
    server = host.start("dnsmasq", "--no-daemon", "--port=0", f"--interface={link}", "--bind-interfaces", "--user=root",
                        "--conf-file=/dev/null", "--no-ping", "--leasefile-ro", "--log-dhcp",
                        f"--dhcp-range={first},{last},255.255.255.0,1h", f"--dhcp-option=option:router,{address}")
    server.wait_output("DHCP, IP range", 15)
    return server


class Client:
    """Asks for an address at a link, by broadcasts alone, as a machine without any address does."""

    def __init__(self, host, link):
        self.host, self.number = host, os.urandom(4)
        self.mac = bytes.fromhex(host.run("cat", f"/sys/class/net/{link}/address").strip().replace(":", ""))
        self.port = host.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.port.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        self.port.setsockopt(socket.SOL_SOCKET, SO_BINDTODEVICE, link.encode())
        self.port.bind(("0.0.0.0", 68))
        self.port.settimeout(0.5)

    def ask(self, kind, *options):
        """Sends a message; the answer of the kind that follows it: (address, options)."""
        text = b"".join(struct.pack("BB", code, len(value)) + value for code, value in ((53, bytes([kind])), *options))
        # The broadcast flag: the answer is for somebody who has no address yet.
        head = struct.pack("!BBBB4sHH16s16s", 1, 1, 6, 0, self.number, 0, 0x8000, bytes(16), self.mac)
        message = head + bytes(192) + COOKIE + text + b"\xff"

        def answered():
            self.port.sendto(message.ljust(300, b"\0"), ("255.255.255.255", 67))
            try:
                data = self.port.recv(2048)
            except TimeoutError:
                return None
            found = self.options(data)
            return (socket.inet_ntoa(data[16:20]), found) if data[4:8] == self.number and found[53] == bytes([kind + 1]) \
                or found[53] == bytes([ACK]) and kind == REQUEST else None
        return until(answered, 15, "an answer of the DHCP server")

    @staticmethod
    def options(data):
        at, found = 240, {}
        while at < len(data) and data[at] != 255:
            if data[at]:
                found[data[at]] = data[at + 2:at + 2 + data[at + 1]]
                at += 1 + data[at + 1]
            at += 1
        return found

    def lease(self):
        """An address, asked for and acknowledged."""
        offered, options = self.ask(DISCOVER)
        address, _ = self.ask(REQUEST, (50, socket.inet_aton(offered)), (54, options[54]))
        assert address == offered, f"{address} acknowledged, {offered} offered"
        return address
