"""Ethernet frames taken apart and put together, as far as tests need it."""
import ipaddress
import struct
from dataclasses import dataclass

ETHERNET = 14


def checksum(data):
    """The Internet checksum (RFC 1071)."""
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


@dataclass
class Udp:
    """A UDP datagram with what the headers around it said. `tos` is the whole byte; its low two bits are ECN."""
    source: str
    source_port: int
    target: str
    target_port: int
    tos: int
    payload: bytes

    @property
    def ecn(self):
        return self.tos & 3


def ip_text(data):
    return str(ipaddress.ip_address(data))


def parse_udp(frame, link=ETHERNET):
    """The UDP datagram in a frame, or None. `link` is the length of the link header (0 on a TUN)."""
    packet = frame[link:]
    if len(packet) < 28:
        return None
    if packet[0] >> 4 == 4 and packet[9] == 17 and not struct.unpack_from("!H", packet, 6)[0] & 0x1FFF:
        start = (packet[0] & 15) * 4
        source, target, tos = packet[12:16], packet[16:20], packet[1]
    elif packet[0] >> 4 == 6 and packet[6] == 17 and len(packet) >= 48:
        start, source, target = 40, packet[8:24], packet[24:40]
        tos = struct.unpack_from("!H", packet)[0] >> 4 & 0xFF
    else:
        return None
    from_port, to_port, length, _ = struct.unpack_from("!HHHH", packet, start)
    return Udp(ip_text(source), from_port, ip_text(target), to_port, tos, packet[start + 8:start + length])


@dataclass
class Tcp:
    """A segment of TCP. `ends` says whether it has FIN."""
    source_port: int
    target_port: int
    ends: bool
    payload: bytes


def parse_tcp(frame):
    """The segment of TCP over IPv4 in a frame, or None."""
    packet = frame[ETHERNET:]
    if frame[12:14] != b"\x08\0" or packet[9] != 6:
        return None
    tcp = packet[(packet[0] & 15) * 4:struct.unpack_from("!H", packet, 2)[0]]
    return Tcp(*struct.unpack_from("!HH", tcp), bool(tcp[13] & 1), tcp[(tcp[12] >> 4) * 4:])


def is_icmp_error(frame):
    """Whether it tells of trouble: unreachable, too big, time exceeded, parameter problem; in either family."""
    packet = frame[ETHERNET:]
    if frame[12:14] == b"\x08\0" and packet[9] == 1:
        return packet[(packet[0] & 15) * 4] in (3, 4, 5, 11, 12)
    return frame[12:14] == b"\x86\xdd" and packet[6] == 58 and packet[40] < 128


def is_fragment(frame):
    """Whether it is a part of an IP packet."""
    if frame[12:14] == b"\x08\0":
        return bool(struct.unpack_from("!H", frame, ETHERNET + 6)[0] & 0x3FFF)
    return frame[12:14] == b"\x86\xdd" and frame[ETHERNET + 6] == 44


def fragments(frame, mtu):
    """The frame as a router would send it on a link of this MTU: as it is, in parts, or not at all.

    Only IPv4 without DF is cut (RFC 791); what may not be cut and is too long is lost.
    """
    head, packet = frame[:ETHERNET], frame[ETHERNET:]
    if frame[12:14] not in (b"\x08\0", b"\x86\xdd"):
        return [frame]
    length = struct.unpack_from("!H", packet, 2)[0] if frame[12:14] == b"\x08\0" else len(packet)
    packet = packet[:length]
    if length <= mtu:
        return [frame]
    flags, = struct.unpack_from("!H", packet, 6)
    if frame[12:14] != b"\x08\0" or flags & 0x4000:
        return []
    start = (packet[0] & 15) * 4
    ip, payload, offset = bytearray(packet[:start]), packet[start:], flags & 0x1FFF
    step, parts = (mtu - start) // 8 * 8, []
    for at in range(0, len(payload), step):
        part = payload[at:at + step]
        more = flags & 0x2000 or at + step < len(payload)
        struct.pack_into("!H", ip, 2, start + len(part))
        struct.pack_into("!H", ip, 6, (0x2000 if more else 0) | (offset + at // 8))
        struct.pack_into("!H", ip, 10, 0)
        struct.pack_into("!H", ip, 10, checksum(bytes(ip)))
        parts.append(head + bytes(ip) + part)
    return parts


def set_ecn(frame, mark):
    """The frame with this ECN mark in its IP header (v4 or v6), checksum and all."""
    data = bytearray(frame)
    if data[ETHERNET] >> 4 == 4:
        head = (data[ETHERNET] & 15) * 4
        data[ETHERNET + 1] = data[ETHERNET + 1] & 0xFC | mark
        data[ETHERNET + 10:ETHERNET + 12] = b"\0\0"
        data[ETHERNET + 10:ETHERNET + 12] = struct.pack("!H", checksum(bytes(data[ETHERNET:ETHERNET + head])))
    elif data[ETHERNET] >> 4 == 6:
        data[ETHERNET + 1] = data[ETHERNET + 1] & 0xCF | mark << 4
    return bytes(data)
