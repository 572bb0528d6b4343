"""Frames of MACsec (IEEE 802.1AE-2018) sealed and opened by hand, with Debian's python3-cryptography: short, and not adit's."""
import struct
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

MACSEC, EAPOL, NOISE = 0x88E5, 0x888E, 0x88B5
# What may be on the wire of an encrypted link.
ALLOWED = (MACSEC, EAPOL, NOISE)
VLAN = (0x8100, 0x88A8)
ICV = 16
# The tag control information (clause 9.5).
VERSION, ES, SC, SCB, E, C = 0x80, 0x40, 0x20, 0x10, 0x08, 0x04
SUITES = ("gcm-aes-128", "gcm-aes-256", "gcm-aes-xpn-128", "gcm-aes-xpn-256")
# Secure data shorter than this tells its length.
SHORT = 48


class Refused(Exception):
    """Why a frame was not taken, in the words of the standard's counters."""


def octets(mac):
    """A MAC address as bytes."""
    return bytes.fromhex(mac.replace(":", ""))


def sci_text(sci):
    """An SCI as adit writes it: address and port."""
    return ":".join(f"{octet:02x}" for octet in sci[:6]) + f"/{int.from_bytes(sci[6:], 'big')}"


def is_xpn(suite):
    return "xpn" in suite


def key_length(suite):
    return 32 if suite.endswith("256") else 16


@dataclass
class Association:
    """The key of one direction, and what extended packet numbers want beside it. `number` is the next packet number."""
    key: bytes = field(repr=False)
    an: int = 0
    salt: bytes | None = None
    ssci: int | None = None
    number: int = 1


@dataclass
class SecTag:
    """What the wire says of a frame. `at` is where the tag's EtherType stands: behind tags that are left in clear."""
    at: int
    tci: int
    length: int
    number: int
    sci: bytes | None
    head: bytes
    data: bytes
    icv: bytes

    @property
    def an(self):
        return self.tci & 3

    @property
    def encrypted(self):
        return bool(self.tci & E)


def ether_type(frame, tags=0):
    """The EtherType, behind `tags` VLAN tags if there are so many; and where it stands."""
    at = 12
    while tags and int.from_bytes(frame[at:at + 2], "big") in VLAN:
        at, tags = at + 4, tags - 1
    return int.from_bytes(frame[at:at + 2], "big"), at


def parse(frame, tags=1):
    """The SecTAG of a frame, which may have VLAN tags in clear ahead of it; None if there is none, or it is not whole."""
    kind, at = ether_type(frame, tags)
    if kind != MACSEC or len(frame) < at + 8 + ICV:
        return None
    tci, length, number = struct.unpack_from("!BBI", frame, at + 2)
    start = at + (16 if tci & SC else 8)
    if len(frame) < start + ICV:
        return None
    # Behind a short one there may be padding.
    end = start + length + ICV if length else len(frame)
    sci = frame[at + 8:at + 16] if tci & SC else None
    return SecTag(at, tci, length, number, sci, frame[:12] + frame[at:start], frame[start:end - ICV],
                  frame[end - ICV:end])


def is_bad(tag):
    """Whether a tag is against the rules (clauses 9.5 to 9.8, 9.12), but for packet numbers of 0 with extended ones."""
    twice = tag.tci & SC and tag.tci & (ES | SCB)
    changed = tag.tci & C and not tag.tci & E
    length = len(tag.data) < SHORT if tag.length == 0 else tag.length >= SHORT or len(tag.data) != tag.length
    return bool(tag.tci & VERSION or twice or changed or length or tag.number == 0)


def nonce(sci, number, association):
    if association.salt is None:
        return sci + struct.pack("!I", number)
    plain = struct.pack("!IQ", association.ssci, number)
    return bytes(a ^ b for a, b in zip(plain, association.salt))


def seal(frame, association, sci, number=None, encrypt=True, sci_mode="included", clear=0, tci=None):
    """The frame as it goes on the wire; `number` else is the association's next one, which is used up.

    `sci_mode` is one of adit's words: included, end-station, broadcast, none. `tci` replaces what follows from the rest.
    `clear` VLAN tags stay ahead of the SecTAG.
    """
    if number is None:
        number, association.number = association.number, association.number + 1
    flags = {"included": SC, "end-station": ES, "broadcast": SCB, "none": 0}[sci_mode]
    flags |= (E | C if encrypt else 0) | association.an
    flags = flags if tci is None else tci
    _, at = ether_type(frame, clear)
    data = frame[at:]
    tag = struct.pack("!HBBI", MACSEC, flags, len(data) if len(data) < SHORT else 0, number & 0xFFFFFFFF)
    tag += sci if flags & SC else b""
    head, iv, cipher = frame[:12] + tag, nonce(sci, number, association), AESGCM(association.key)
    body = cipher.encrypt(iv, data, head) if encrypt else data + cipher.encrypt(iv, b"", head + data)
    return frame[:at] + tag + body


def open_(frame, tag, association, sci, number):
    """The frame in the tag, opened under this packet number."""
    cipher, iv = AESGCM(association.key), nonce(sci, number, association)
    try:
        if tag.encrypted:
            data = cipher.decrypt(iv, tag.data + tag.icv, tag.head)
        else:
            cipher.decrypt(iv, tag.icv, tag.head + tag.data)
            data = tag.data
    except InvalidTag:
        raise Refused("InPktsNotValid") from None
    return frame[:tag.at] + data


def recovered(low, expected, xpn):
    """The whole packet number (clause 10.6.2): its upper half is not on the wire."""
    if not xpn:
        return low
    high = expected >> 32
    if low < expected & 0xFFFFFFFF and (low ^ expected) & 0x80000000:
        high += 1
    return high << 32 | low


def opens(frame, associations, sci=None):
    """Opens a frame of a capture with whichever of these associations fits; (frame, packet number), or None.

    Only the lower half of a packet number is on the wire: the upper one is that of the association's `number`.
    """
    tag = parse(frame)
    if tag is None:
        return None
    sender = tag.sci or sci or frame[6:12] + b"\0\1"
    for association in associations:
        if association.an == tag.an:
            number = recovered(tag.number, association.number, association.salt is not None)
            try:
                return open_(frame, tag, association, sender, number), number
            except Refused:
                continue
    return None
