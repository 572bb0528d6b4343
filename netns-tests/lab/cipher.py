"""X25519, ChaCha20-Poly1305 and XChaCha20-Poly1305 (RFC 7748, RFC 8439) in plain Python: slow, short, not adit's."""
import struct

PRIME = 2 ** 255 - 19
BASE = (9).to_bytes(32, "little")
SIGMA = struct.unpack("<4I", b"expand 32-byte k")
QUARTERS = ((0, 4, 8, 12), (1, 5, 9, 13), (2, 6, 10, 14), (3, 7, 11, 15),
            (0, 5, 10, 15), (1, 6, 11, 12), (2, 7, 8, 13), (3, 4, 9, 14))


class Forged(Exception):
    """A tag does not verify."""


def x25519(private, public):
    """The shared secret (RFC 7748, section 5)."""
    scalar = int.from_bytes(private, "little") & ~7 & (1 << 254) - 1 | 1 << 254
    u = int.from_bytes(public, "little") & (1 << 255) - 1
    x2, z2, x3, z3, swapped = 1, 0, u, 1, 0
    for at in range(254, -1, -1):
        bit = scalar >> at & 1
        if bit != swapped:
            x2, x3, z2, z3 = x3, x2, z3, z2
        swapped = bit
        plus, minus = x2 + z2, x2 - z2
        squared, difference = plus * plus % PRIME, minus * minus % PRIME
        one, other = (x3 - z3) * plus % PRIME, (x3 + z3) * minus % PRIME
        x3, z3 = (one + other) ** 2 % PRIME, u * (one - other) ** 2 % PRIME
        gap = squared - difference
        x2, z2 = squared * difference % PRIME, gap * (squared + 121665 * gap) % PRIME
    if swapped:
        x2, z2 = x3, z3
    return (x2 * pow(z2, PRIME - 2, PRIME) % PRIME).to_bytes(32, "little")


def public_of(private):
    return x25519(private, BASE)


def rounds(state):
    """The twenty rounds of ChaCha, without the final addition."""
    x = list(state)
    for _ in range(10):
        for a, b, c, d in QUARTERS:
            for (i, j, k), turn in zip(((a, b, d), (c, d, b), (a, b, d), (c, d, b)), (16, 12, 8, 7)):
                x[i] = x[i] + x[j] & 0xFFFFFFFF
                mixed = x[k] ^ x[i]
                x[k] = (mixed << turn | mixed >> 32 - turn) & 0xFFFFFFFF
    return x


def stream(key, nonce, length, counter):
    """Key stream of ChaCha20, from a block on."""
    words = struct.unpack("<8I", key), struct.unpack("<3I", nonce)
    blocks = []
    for number in range(counter, counter + -(-length // 64)):
        state = (*SIGMA, *words[0], number, *words[1])
        blocks.append(struct.pack("<16I", *(a + b & 0xFFFFFFFF for a, b in zip(rounds(state), state))))
    return b"".join(blocks)[:length]


def mix(data, other):
    return bytes(a ^ b for a, b in zip(data, other))


def tag(key, nonce, sealed, aad):
    """Poly1305 over what is sealed (RFC 8439, section 2.8)."""
    one_time = stream(key, nonce, 32, 0)
    r = int.from_bytes(one_time[:16], "little") & 0x0FFFFFFC0FFFFFFC0FFFFFFC0FFFFFFF
    text = aad + bytes(-len(aad) % 16) + sealed + bytes(-len(sealed) % 16) + struct.pack("<QQ", len(aad), len(sealed))
    total = 0
    for at in range(0, len(text), 16):
        total = (total + int.from_bytes(text[at:at + 16] + b"\1", "little")) * r % (2 ** 130 - 5)
    return (total + int.from_bytes(one_time[16:], "little") & 2 ** 128 - 1).to_bytes(16, "little")


def seal(key, nonce, text, aad=b""):
    sealed = mix(text, stream(key, nonce, len(text), 1))
    return sealed + tag(key, nonce, sealed, aad)


def open_(key, nonce, sealed, aad=b""):
    sealed, given = sealed[:-16], sealed[-16:]
    if tag(key, nonce, sealed, aad) != given:
        raise Forged
    return mix(sealed, stream(key, nonce, len(sealed), 1))


def xseal(key, nonce, text, aad=b""):
    """XChaCha20-Poly1305: a nonce of 24 bytes."""
    state = (*SIGMA, *struct.unpack("<8I", key), *struct.unpack("<4I", nonce[:16]))
    words = rounds(state)
    return seal(struct.pack("<8I", *words[:4], *words[12:]), bytes(4) + nonce[16:], text, aad)
