"""One TCP stream over IPv6 whose every packet has a destination-options header, which iperf3 cannot send.

    stream.py sink ADDRESS PORT SECONDS OMIT     prints what arrived as JSON, the first OMIT seconds left out
    stream.py send ADDRESS PORT                  until the sink has enough
"""
import json
import socket
import sys
import time

CHUNK = 1 << 20
# Next header, which the kernel fills in, and length; then PadN over the other six bytes (RFC 8200, section 4.2).
OPTIONS = bytes([0, 0, 1, 4, 0, 0, 0, 0])
CONGESTION = b"cubic"


def prepared():
    one = socket.socket(socket.AF_INET6, socket.SOCK_STREAM)
    one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_DSTOPTS, OPTIONS)
    one.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, CONGESTION)
    one.settimeout(20)
    return one


def sink(place, seconds, omit):
    listener = prepared()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(place)
    listener.listen()
    print("listening", flush=True)
    flow, _ = listener.accept()
    flow.settimeout(10)
    buffer, start, counted, begun = bytearray(CHUNK), time.monotonic(), 0, None
    while True:
        length, now = flow.recv_into(buffer), time.monotonic()
        if not length:
            raise SystemExit("the sender ended")
        if begun is None and now - start >= omit:
            begun = now
        elif begun is not None:
            counted += length
            if now - begun >= seconds:
                break
    print(json.dumps({"bits_per_second": counted * 8 / (now - begun), "bytes": counted}), flush=True)


def send(place):
    flow, data = prepared(), bytes(CHUNK)
    flow.connect(place)
    try:
        while True:
            flow.sendall(data)
    except (BrokenPipeError, ConnectionResetError):
        pass


def main():
    what, address, port, *times = sys.argv[1:]
    if what == "sink":
        sink((address, int(port)), *map(float, times))
    else:
        send((address, int(port)))


if __name__ == "__main__":
    main()
