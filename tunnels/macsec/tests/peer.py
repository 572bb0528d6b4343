"""Protects and opens frames with scapy's MACsec (scapy.contrib.macsec), one a line.

in:  key, salt or -, SSCI, SCI, AN, packet number, 1 if encrypted, confidentiality offset, SC, ES, SCB, clear frame, protected frame
out: the clear frame protected by scapy, the protected frame opened by scapy; or why it does not open
"""

import sys

from cryptography.exceptions import InvalidTag
from scapy.compat import raw
from scapy.contrib.macsec import MACsec, MACsecSA
from scapy.layers.l2 import Ether
from scapy.packet import Raw

x = bytes.fromhex


def association(key, salt, ssci, sci, an, pn, encrypted, named):
    xpn = {} if salt == "-" else {"xpn_en": True, "ssci": int(ssci), "salt": x(salt)}
    return MACsecSA(x(sci), int(an), int(pn), x(key), 16, encrypted, named, **xpn)


def ethernet(frame):
    """Dissected no further than its EtherType, so that nothing is made anew."""
    return Ether(dst=frame[:6], src=frame[6:12], type=int.from_bytes(frame[12:14], "big")) / Raw(frame[14:])


for line in sys.stdin:
    *names, encrypted, offset, sc, es, scb, clear, protected = line.split()
    encrypted, sc, clear, protected = encrypted == "1", sc == "1", x(clear), x(protected)
    sa = association(*names, encrypted, sc)
    # scapy has no offsets of its own, but takes the octets that are authenticated only: addresses, SecTAG, readable data.
    authenticated = 12 + (16 if sc else 8) + min(int(offset), len(clear) - 12)

    frame = sa.encap(ethernet(clear))
    frame[MACsec].ES, frame[MACsec].SCB = int(es), int(scb)
    theirs = raw(sa.encrypt(frame, authenticated))
    try:
        opened = raw(sa.decap(sa.decrypt(Ether(protected), authenticated))).hex()
    except InvalidTag:
        opened = "refused"
    print(theirs.hex(), opened, flush=True)
