"""Opens MACsec frames by what a link's key log tells, with scapy, which is not adit's.

As a program, for Debian's Python, which is the one that has scapy: the key log's path as an argument, frames as hexadecimal
digits a line; a line for each is the frame within it, or "-" if no key of the file opens it.
"""
import re
import subprocess
import sys

PYTHON = "/usr/bin/python3"
LINE = re.compile(r'(?P<key>[0-9a-f]+),"(?P<name>\S+) (?P<suite>\S+) offset=(?P<offset>\d+) sci=(?P<sci>[0-9a-f]{16}) an=(?P<an>[0-3]) '
                  r'pn=(?P<pn>\d+)(?: ssci=(?P<ssci>\d+) salt=(?P<salt>[0-9a-f]{24}))? id=(?P<id>[0-9a-f]{32})"')


def read(path):
    """Every line of the file, each a dict by the names that it has."""
    with open(path) as file:
        lines = file.read().splitlines()
    found = [LINE.fullmatch(line) for line in lines]
    assert lines and all(found), f"not as documented: {[line[-60:] for line, match in zip(lines, found) if not match]}"
    return [match.groupdict() for match in found]


def opened(path, frames):
    """The frame within each protected one, None where no key of the file opens it."""
    done = subprocess.run([PYTHON, "-B", __file__, path], input="\n".join(frame.hex() for frame in frames), text=True,
                          capture_output=True, check=False, timeout=30)
    assert done.returncode == 0, done.stderr
    return [None if line == "-" else bytes.fromhex(line) for line in done.stdout.split()]


def main():
    from cryptography.exceptions import InvalidTag
    from scapy.compat import raw
    from scapy.contrib.macsec import MACsec, MACsecSA
    from scapy.layers.l2 import Ether

    associations = []
    for one in read(sys.argv[1]):
        xpn = {"xpn_en": True, "ssci": int(one["ssci"]), "salt": bytes.fromhex(one["salt"])} if one["salt"] else {}
        associations.append(MACsecSA(bytes.fromhex(one["sci"]), int(one["an"]), int(one["pn"]), bytes.fromhex(one["key"]),
                                     16, True, True, **xpn))
    for line in sys.stdin:
        packet, found = Ether(bytes.fromhex(line)), "-"
        for association in associations:
            if packet[MACsec].AN == association.an and raw(packet[MACsec].SCI) == association.sci:
                try:
                    found = raw(association.decap(association.decrypt(packet))).hex()
                except InvalidTag:
                    continue
        print(found)


if __name__ == "__main__":
    main()
