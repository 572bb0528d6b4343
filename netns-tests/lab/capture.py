"""What crosses a link, by a packet socket in its namespace; and captures in files, read with nothing but Python."""
import math
import select
import socket
import struct
import threading
import time

from lab import frame
from lab.wait import until

ETH_P_ALL = 3
SOL_PACKET, PACKET_STATISTICS = 263, 6
SO_RCVBUFFORCE = 33
SNAP = 65536 + 64


class Capture:
    """Every frame on one link, both directions, from its making until stop(). `link_header` is 0 on a TUN."""

    def __init__(self, host, link, link_header=frame.ETHERNET):
        self.link_header, self.frames, self.end, self.emptied = link_header, [], math.inf, 0
        self.socket = host.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        self.socket.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 32 << 20)
        self.socket.bind((link, ETH_P_ALL))
        self.socket.setblocking(False)
        self.thread = threading.Thread(target=self.work, daemon=True)
        self.thread.start()

    def work(self):
        while time.monotonic() < self.end:
            try:
                self.frames.append((time.time(), self.socket.recv(SNAP)))
            except BlockingIOError:
                self.emptied += 1
                if self.end < math.inf:
                    return
                select.select([self.socket], [], [], 0.02)
            except OSError:
                # The link is down, which a socket says once.
                if self.end < math.inf:
                    return

    def caught_up(self):
        """Returns once all that the link has carried by now is in `frames`."""
        # The second time the socket was found empty after this, it was looked at after this.
        emptied = self.emptied
        until(lambda: self.emptied > emptied + 1 or not self.thread.is_alive(), 5, "the capture")
        return self

    def stop(self, settle=0.1):
        """Ends the capture once what is under way has been seen; the frames, in order."""
        time.sleep(settle)
        # Until nothing waits in the socket any more, and where traffic never ends not for ever.
        self.end = time.monotonic() + 1
        self.thread.join(2)
        return [data for _, data in self.frames]

    def dropped(self):
        """Frames the kernel could not hand over. Not zero means that an absence proves nothing."""
        counts = self.socket.getsockopt(SOL_PACKET, PACKET_STATISTICS, 8)
        return struct.unpack("II", counts)[1]

    def holds(self, needle):
        """Whether any frame so far has these bytes in it."""
        return any(needle in data for _, data in list(self.frames))

    def wait_holds(self, needle, seconds=10):
        until(lambda: self.holds(needle), seconds, f"{needle!r} on the link")

    def datagrams(self, port=None):
        """The UDP datagrams so far, in order; with `port`, those from or to it."""
        found = (frame.parse_udp(data, self.link_header) for _, data in list(self.frames))
        return [udp for udp in found if udp and port in (None, udp.source_port, udp.target_port)]

    def save(self, path):
        """Writes a pcap file, for a person with Wireshark."""
        with open(path, "wb") as file:
            file.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, SNAP, 1 if self.link_header else 101))
            for moment, data in self.frames:
                whole = int(moment)
                file.write(struct.pack("<IIII", whole, int((moment - whole) * 1e6), len(data), len(data)) + data)


def read_pcap(path):
    """The frames of a pcap file, as tcpdump -w writes it: (seconds since 1970, bytes)."""
    with open(path, "rb") as file:
        data = file.read()
    magics = {b"\xd4\xc3\xb2\xa1": ("<", 1e6), b"\xa1\xb2\xc3\xd4": (">", 1e6),
              b"\x4d\x3c\xb2\xa1": ("<", 1e9), b"\xa1\xb2\x3c\x4d": (">", 1e9)}
    order, unit = magics[data[:4]]
    at, frames = 24, []
    while at + 16 <= len(data):
        seconds, fraction, length, _ = struct.unpack_from(order + "IIII", data, at)
        frames.append((seconds + fraction / unit, data[at + 16:at + 16 + length]))
        at += 16 + length
    return frames
