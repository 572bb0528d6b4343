#!/usr/bin/python3
"""Writes derivation.txt: the keys of MACsec links as src/agreement/derive.rs says, with nothing but hashlib and hmac."""
import hashlib
import hmac

SUITES = {"gcm-aes-128": (1, 16), "gcm-aes-256": (2, 32), "gcm-aes-xpn-128": (3, 16), "gcm-aes-xpn-256": (4, 32)}
LOW, HIGH = "0200000000010001", "02000000000200ff"


def expand(prk, info, length):
    """RFC 5869, section 2.3."""
    block, okm, count = b"", b"", 1
    while len(okm) < length:
        block = hmac.new(prk, block + info + bytes([count]), hashlib.sha256).digest()
        okm, count = okm + block, count + 1
    return okm[:length]


print("# Written by derivation.py.")
for at, (suite, (number, length)) in enumerate(SUITES.items()):
    xpn = "xpn" in suite
    for turn, (sender, receiver) in enumerate([(LOW, HIGH), (HIGH, LOW)]):
        secret = hashlib.sha256(b"secret %d %d" % (at, turn)).digest()
        an, protection = (at + turn) % 4, turn if xpn else (at + 2 * turn) % 4
        context = bytes.fromhex("0080c20001000000")[:7] + bytes([number])
        context += bytes.fromhex(sender) + bytes.fromhex(receiver) + bytes([an, protection])
        print(f"\nsecret = {secret.hex()}\nsuite = {suite}\nprotection = {protection}")
        print(f"from = {sender}\nto = {receiver}\nan = {an}")
        print(f"sak = {expand(secret, b'adit v1 macsec sak' + context, length).hex()}")
        print(f"key_id = {expand(secret, b'adit v1 macsec key id' + context, 16).hex()}")
        if xpn:
            print(f"salt = {expand(secret, b'adit v1 macsec salt' + context, 12).hex()}")
            print(f"ssci = {1 if sender > receiver else 2}")
