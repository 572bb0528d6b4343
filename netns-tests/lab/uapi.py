"""WireGuard's configuration protocol spoken directly, for what `wg` would never send."""
import base64
import socket


def ask(device, text, timeout=5):
    """Sends one request; (errno as a positive number, answer as a list of (key, value))."""
    with socket.socket(socket.AF_UNIX) as talk:
        talk.settimeout(timeout)
        talk.connect(device.socket)
        talk.sendall(text.encode())
        data = b""
        while not data.endswith(b"\n\n"):
            more = talk.recv(65536)
            if not more:
                break
            data += more
    pairs = [tuple(line.split("=", 1)) for line in data.decode().split("\n") if "=" in line]
    assert pairs and pairs[-1][0] == "errno", f"no errno at the end of {data!r}"
    return abs(int(pairs[-1][1])), pairs[:-1]


def hexadecimal(key):
    """A base64 key as the protocol writes it."""
    return base64.b64decode(key).hex()
