"""A MACsec station by hand: a TAP device and an Ethernet link, and a SecY of Python between them.

It stands where aditd would, so that a case can be proved against the kernel without it, and aditd against a station that
says what the case wants. Slow: some thousand frames a second.
"""
import fcntl
import os
import select
import socket
import struct
import threading
from collections import Counter

from lab import link_secy as secy
from lab.capture import SNAP
from lab.link_raw import packet_socket, received

# What stands before a frame in a datagram.
DATA = b"\x10\0\0\0"
TUNSETIFF, IFF_TAP, IFF_NO_PI = 0x400454CA, 0x0002, 0x1000


def tap(host, name, mac, mtu):
    """Makes a TAP device in the host's namespace, up; its descriptor."""
    with host.entered():
        device = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
        fcntl.ioctl(device, TUNSETIFF, struct.pack("16sH14x", name.encode(), IFF_TAP | IFF_NO_PI))
    host.ip(f"link set {name} address {mac} mtu {mtu} up")
    return device


class Station:
    """Frames of the device `name` go out on `link` under `transmit`; `peer` maps ANs to the associations of `peer_sci`.

    `sci_mode` and `clear` are adit's `sci` and `clear_tags`. `window` is replayWindow, None for no replay protection.
    `udp` is a port and where the other end is: frames go there, not on the link. `counts` has the standard's counters by
    their names.
    """

    def __init__(self, host, link, name, mac, transmit, peer_sci, peer, encrypt=True, sci_mode="included", window=0,
                 clear=0, mtu=1400, udp=None):
        self.host, self.mac, self.sci = host, mac, secy.octets(mac) + b"\0\1"
        self.transmit, self.peer_sci, self.peer = transmit, peer_sci, peer
        self.encrypt, self.sci_mode, self.window, self.clear = encrypt, sci_mode, window, clear
        self.counts, self.running, self.udp = Counter(), True, udp
        if udp:
            self.port = host.socket(socket.AF_INET6 if ":" in udp[1][0] else socket.AF_INET, socket.SOCK_DGRAM)
            self.port.bind(("::" if ":" in udp[1][0] else "0.0.0.0", udp[0]))
        else:
            self.port = packet_socket(host, link)
            host.ip(f"link set {link} promisc on")
        self.device = tap(host, name, mac, mtu)
        self.thread = threading.Thread(target=self.work, daemon=True)
        self.thread.start()
        host.net.stack.callback(self.stop)

    def stop(self):
        if self.running:
            self.running = False
            self.thread.join(2)
            os.close(self.device)
            self.port.close()

    def work(self):
        while self.running:
            ready, _, _ = select.select([self.port, self.device], [], [], 0.02)
            try:
                if self.device in ready:
                    self.send(os.read(self.device, SNAP))
                if self.port in ready:
                    self.take()
            except OSError:
                self.counts["OSError"] += 1

    def send(self, frame, **more):
        """Seals a frame and puts it on the link."""
        words = {"encrypt": self.encrypt, "sci_mode": self.sci_mode, "clear": self.clear, **more}
        self.put(secy.seal(frame, self.transmit, self.sci, **words))
        self.counts["OutPktsEncrypted" if self.encrypt else "OutPktsProtected"] += 1

    def put(self, frame):
        """Puts a frame on the link as it is."""
        if self.udp:
            self.port.sendto(DATA + frame, self.udp[1])
        else:
            self.port.send(frame)

    def take(self):
        """Receives a frame from the link, in whatever it comes."""
        if not self.udp:
            self.receive(received(self.port))
        elif (data := self.port.recv(SNAP)).startswith(DATA):
            self.receive(data[len(DATA):])

    def receive(self, frame):
        """Opens a frame and hands it to the device, or counts why not."""
        try:
            os.write(self.device, self.opened(frame))
            self.counts["InPktsOK"] += 1
        except secy.Refused as reason:
            self.counts[str(reason)] += 1

    def opened(self, frame):
        tag = secy.parse(frame, self.clear)
        if secy.ether_type(frame, self.clear)[0] != secy.MACSEC:
            raise secy.Refused("InPktsNoTag")
        if tag is None or secy.is_bad(tag):
            raise secy.Refused("InPktsBadTag")
        sci = tag.sci or (frame[6:12] + b"\0\1" if tag.tci & secy.ES else self.peer_sci)
        if sci != self.peer_sci:
            raise secy.Refused("InPktsUnknownSCI")
        association = self.peer.get(tag.an)
        if association is None:
            raise secy.Refused("InPktsNotUsingSA")
        number = secy.recovered(tag.number, association.number, association.salt is not None)
        lowest = 0 if self.window is None else association.number - self.window
        if number < lowest:
            raise secy.Refused("InPktsLate")
        clear = secy.open_(frame, tag, association, self.peer_sci, number)
        association.number = max(association.number, number + 1)
        return clear
