"""Frames put on a link and taken from it as they are, VLAN tags and all; and a host in a VLAN by hand.

Not every kernel has VLAN devices. A packet socket is told of a tag beside the frame, from which the kernel has taken it.
"""
import socket
import struct
import threading

from lab.capture import ETH_P_ALL, SNAP, SO_RCVBUFFORCE, SOL_PACKET
from lab.frame import checksum
from lab.wait import until

PACKET_AUXDATA, PACKET_IGNORE_OUTGOING = 8, 23
VLAN_VALID = 0x10
BROADCAST = b"\xff" * 6
ARP, IPV4 = 0x0806, 0x0800


def received(port):
    """A frame, with the VLAN tag that the kernel took out of it put back."""
    data, ancillary, _, _ = port.recvmsg(SNAP, socket.CMSG_SPACE(20))
    for level, kind, value in ancillary:
        if (level, kind) == (SOL_PACKET, PACKET_AUXDATA):
            status, _, _, _, _, control, tag = struct.unpack_from("=IIIHHHH", value)
            if status & VLAN_VALID:
                return data[:12] + struct.pack("!HH", tag, control) + data[12:]
    return data


def packet_socket(host, link, incoming=True):
    """A packet socket for all that arrives at a link, or also for what leaves."""
    port = host.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    port.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, int(incoming))
    port.setsockopt(SOL_PACKET, PACKET_AUXDATA, 1)
    port.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 32 << 20)
    port.bind((link, ETH_P_ALL))
    return port


class Raw:
    """All frames that arrive at a link from now on, in order, and a way to send others."""

    def __init__(self, host, link):
        self.port, self.frames, self.running = packet_socket(host, link), [], True
        self.port.settimeout(0.05)
        self.thread = threading.Thread(target=self.work, daemon=True)
        self.thread.start()
        host.net.stack.callback(self.stop)

    def stop(self):
        self.running = False
        self.thread.join(2)

    def work(self):
        while self.running:
            try:
                frame = received(self.port)
            except OSError:
                continue
            self.frames.append(frame)
            self.handle(frame)

    def handle(self, frame):
        """What is done about a frame: nothing."""

    def send(self, *frames):
        for frame in frames:
            self.port.send(frame)

    def count(self, frame):
        """How many times this frame has arrived, but for padding behind it."""
        return sum(seen[:len(frame)] == frame for seen in list(self.frames))

    def wait(self, frame, seconds=10):
        until(lambda: self.count(frame), seconds, f"the frame {frame[:24].hex()}…")


class Tagged(Raw):
    """A host in a VLAN by hand: it answers ARP and echo requests to its address."""

    def __init__(self, host, link, mac, address, number):
        self.mac, self.address, self.tag = mac, socket.inet_aton(address), struct.pack("!HH", 0x8100, number)
        self.answered = 0
        super().__init__(host, link)

    def handle(self, frame):
        if frame[12:16] != self.tag:
            return
        source, kind, packet = frame[6:12], int.from_bytes(frame[16:18], "big"), frame[18:]
        if kind == ARP and packet[6:8] == b"\0\1" and packet[24:28] == self.address:
            answer = packet[:6] + b"\0\2" + self.mac + self.address + packet[8:18]
        elif kind == IPV4 and packet[9] == 1 and packet[20] == 8 and packet[16:20] == self.address:
            echo = bytearray(b"\0" + packet[21:int.from_bytes(packet[2:4], "big")])
            echo[2:4] = b"\0\0"
            echo[2:4] = struct.pack("!H", checksum(bytes(echo)))
            # The addresses change places: the header's checksum remains.
            answer = packet[:12] + packet[16:20] + packet[12:16] + bytes(echo)
            self.answered += 1
        else:
            return
        self.send(source + self.mac + self.tag + kind.to_bytes(2, "big") + answer)
