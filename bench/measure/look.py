"""Packets that are looked at, to be sure that what is measured is what its name says."""
import time
from contextlib import contextmanager
from dataclasses import dataclass

from lab.capture import Capture

UDP, TCP, OPTIONS = 17, 6, 60
SYN = 0x02
TIMESTAMPS = 8


@dataclass
class Packet:
    """An IP packet as a device saw it. `option` is whether it has a destination-options header."""
    length: int
    ecn: int
    protocol: int
    option: bool
    target_port: int
    payload: bytes

    @property
    def syn(self):
        return self.protocol == TCP and bool(self.payload[13] & SYN)

    def tcp_options(self):
        """The kinds of its TCP options (RFC 9293, section 3.1)."""
        rest, kinds = self.payload[20:(self.payload[12] >> 4) * 4], []
        while rest and rest[0] != 0:
            kinds.append(rest[0])
            rest = rest[1:] if rest[0] == 1 or len(rest) < 2 else rest[max(rest[1], 2):]
        return kinds


def parse(data):
    """The packet, or None if it is no TCP or UDP, or no first fragment."""
    if len(data) >= 28 and data[0] >> 4 == 4 and not int.from_bytes(data[6:8], "big") & 0x1FFF:
        start, protocol, ecn, option = (data[0] & 15) * 4, data[9], data[1] & 3, False
    elif len(data) >= 48 and data[0] >> 4 == 6:
        start, protocol, ecn, option = 40, data[6], data[1] >> 4 & 3, data[6] == OPTIONS
        if option:
            start, protocol = start + (data[41] + 1) * 8, data[40]
    else:
        return None
    payload = data[start:]
    if protocol not in (TCP, UDP) or len(payload) < (20 if protocol == TCP else 8):
        return None
    return Packet(len(data), ecn, protocol, option, int.from_bytes(payload[2:4], "big"), payload)


@contextmanager
def looking(host, link, link_header):
    """A list that has the TCP and UDP packets that crossed the link meanwhile, once that is over."""
    capture, packets = Capture(host, link, link_header), []
    time.sleep(0.02)
    yield packets
    found = (parse(frame[link_header:]) for frame in capture.stop())
    packets += [packet for packet in found if packet]


def counters(host, file, group):
    """The counters of a group of /proc/net/snmp or /proc/net/netstat."""
    lines = [line.split() for line in host.run("cat", f"/proc/net/{file}").splitlines()]
    for names, values in zip(lines[::2], lines[1::2]):
        if names[0] == f"{group}:":
            return dict(zip(names[1:], map(int, values[1:])))
    raise AssertionError(f"/proc/net/{file} has no {group}")
