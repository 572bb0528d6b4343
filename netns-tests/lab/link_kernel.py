"""The guest kernel's MACsec device, set up and asked by iproute2."""
import re

from lab import link_secy as secy

MAC = "52:54:00:00:00:01"
SCI = secy.octets(MAC) + b"\0\1"
# How the words of adit's `sci` are said to `ip link`.
SCI_WORDS = {"included": "", "end-station": "send_sci off end_station on", "broadcast": "send_sci off scb on",
             "none": "send_sci off"}


def association_words(association, suite):
    """The words of `ip macsec` for one, its name as a hash of nothing: 01 and so on."""
    if secy.is_xpn(suite):
        words = f"xpn {association.number} salt {association.salt.hex()} ssci {association.ssci:08x}"
    else:
        words = f"pn {association.number}"
    return f"sa {association.an} {words} on key {association.an + 1:02x} {association.key.hex()}"


class KernelLink:
    """A MACsec device of the guest on one of its links, up. `peer` maps ANs to what frames of `peer_sci` are opened with."""

    def __init__(self, guest, suite, transmit, peer_sci, peer, encrypt=True, sci_mode="included", window=None, link="eth0",
                 name="macsec0", mtu=1400):
        self.guest, self.name = guest, name
        # Off by default (`ip macsec` would only authenticate), and this is the one that encrypts.
        words = f"cipher {suite} encrypt {'on' if encrypt else 'off'} {SCI_WORDS[sci_mode]}"
        words += "" if window is None else f" replay on window {window}"
        port = f"port {int.from_bytes(peer_sci[6:], 'big')} address {':'.join(f'{octet:02x}' for octet in peer_sci[:6])}"
        guest.ip(f"link add link {link} {name} type macsec {words} encodingsa {transmit.an}")
        guest.ip(f"macsec add {name} tx {association_words(transmit, suite)}")
        guest.ip(f"macsec add {name} rx {port}")
        for association in peer.values():
            guest.ip(f"macsec add {name} rx {port} {association_words(association, suite)}")
        guest.ip(f"link set {name} mtu {mtu} up")

    def counters(self):
        """The counters of the standard, by their names. With one channel and association both tell the same."""
        found, names = {}, []
        for line in self.guest.ip(f"-s macsec show {self.name}").splitlines():
            words = line.replace("stats:", " ").split()
            if words and all(re.fullmatch(r"(In|Out)(Pkts|Octets)\w+", word) for word in words):
                names = words
            elif names:
                found.update({name: max(found.get(name, 0), int(value)) for name, value in zip(names, words)})
                names = []
        return found

    def delete(self):
        self.guest.ip(f"link del {self.name}")
