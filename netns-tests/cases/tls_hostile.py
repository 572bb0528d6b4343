"""Clients and backends that mean no good, at a listener that ends TLS."""
import os
import socket
import struct
import time

from lab.case import SLOW, case
from lab.process import resident
from lab.tls import OTHER, WWW, curl, terminator
from lab.tls_backend import backend
from lab.tls_handmade import ALERT, CHANGE, DATA, HANDSHAKE, KEY_UPDATE, Client, extension, hello, record
from lab.wait import until

CLOSE, UNEXPECTED, MAC, OVERFLOW, DECODE, VERSION, NAME = 0, 10, 20, 22, 50, 70, 112
NOBODY = bytes(range(32))
MIB = 1024


def echoing(net, **more):
    """A terminator in front of an echo, by the name of an alias too; the one in clear behind WWW speaks HTTP."""
    a, web = terminator(net, **more)
    web["route"]["echo"] = {"sni": [f"echo.{WWW}"], "backend": [backend(a.host, "echo", 8081)]}
    a.reload()
    return a, web


def stranger(a, port=443):
    with a.host.entered():
        connection = socket.create_connection(("127.0.0.1", port), 10)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def told(connection):
    """All that comes until the end."""
    came = b""
    try:
        while data := connection.recv(65536):
            came += data
    except ConnectionError:
        pass
    return came


def echoes(client):
    """Whether what is sent comes back."""
    client.send(b"are you there?")
    return client.data() == b"are you there?"


def failures(a):
    """Connections that ended before their time, by reason; those without any left out."""
    return {reason: count for reason, count in a.status()["tls"]["web"]["failures"].items() if count}


def old(version):
    """A ClientHello from before supported_versions, with the suites of its time."""
    return record(HANDSHAKE, hello(WWW, b"", version=version, versions=b"", suites=b"\xc0\x09\xc0\x13\0\x2f\0\x0a"), version)


# What comes first, the alert in clear that answers it, and what it counts as.
FIRST = {
    "noise": (b"\x8f" + bytes(range(200)), DECODE, "hello"),
    "HTTP in clear": (b"GET / HTTP/1.1\r\nHost: www.example.com\r\n\r\n", DECODE, "hello"),
    "SSL 2.0": (b"\x80\x1f\x01\0\x02\0\x06\0\0\0\x10\x07\0\xc0\x05\0\x80" + NOBODY, DECODE, "hello"),
    "SSL 3.0": (old(0x0300), VERSION, "handshake"),
    "TLS 1.0": (old(0x0301), VERSION, "handshake"),
    "TLS 1.1": (old(0x0302), VERSION, "handshake"),
    "a record of no version": (record(HANDSHAKE, hello(WWW, NOBODY), 0x0203), DECODE, "hello"),
    "an empty record": (record(HANDSHAKE, b""), DECODE, "hello"),
    "a record of 2^14 + 1": (b"\x16\x03\x01\x40\x01" + bytes(99), DECODE, "hello"),
    "an alert": (record(ALERT, b"\x02\x28"), DECODE, "hello"),
    "a change of ciphers": (record(CHANGE, b"\x01"), DECODE, "hello"),
    "data": (record(DATA, bytes(99)), DECODE, "hello"),
    "another message": (record(HANDSHAKE, b"\x02\0\0\0"), DECODE, "hello"),
    "one of 64 KiB and more": (record(HANDSHAKE, b"\x01\x01\0\0" + bytes(9)), DECODE, "hello"),
    "something behind it": (record(HANDSHAKE, hello(WWW, NOBODY) + b"\x14\0\0\0"), DECODE, "hello"),
    "two names": (record(HANDSHAKE, hello(WWW, NOBODY, extension(0, b"\0\x04\0\0\x01a"))), DECODE, "hello"),
    "a name that is none": (record(HANDSHAKE, hello("a b", NOBODY)), DECODE, "hello"),
    "a stranger's name": (record(HANDSHAKE, hello(OTHER, NOBODY)), NAME, "refused"),
}


#   Python's sockets ---- 127.0.0.1:443 aditd ---- backends in clear
@case()
def first(net):
    """What is no ClientHello of today is answered by one alert, counted, and keeps nobody else out."""
    a, _ = echoing(net)
    expected = {}
    for what, (data, alert, counted) in FIRST.items():
        connection = stranger(a)
        connection.sendall(data)
        came = told(connection)
        assert came == record(ALERT, bytes([2, alert])), f"{what}: {came.hex()}"
        expected[counted] = expected.get(counted, 0) + 1
    # Who leaves in the middle of it, or breaks off.
    for length in (0, 1, 4, 5, 6, 100):
        connection = stranger(a)
        connection.sendall(record(HANDSHAKE, hello(WWW, NOBODY))[:length])
        if length == 100:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.close()
    expected["left"] = 6
    until(lambda: a.status()["tls"]["web"]["open"] == 0, 5, "the end of all")
    assert failures(a) == expected, (failures(a), expected)
    assert curl(a) == (0, "app")


@case()
def cut(net):
    """A hello may come byte by byte, in records of a byte, or with 59,000 bytes of padding: the handshake is the same."""
    a, _ = echoing(net)
    bytes_of = lambda data: [data[at:at + 1] for at in range(len(data))]
    chunks = lambda data, size: [data[at:at + size] for at in range(0, len(data), size)]
    name, large = f"echo.{WWW}", extension(21, bytes(59_000))
    for what, pieces, more in (
            ("bytes", lambda message: bytes_of(record(HANDSHAKE, message, 0x0301)), b""),
            ("records of a byte", lambda message: [record(HANDSHAKE, one) for one in bytes_of(message)], b""),
            ("59,000 bytes", lambda message: [record(HANDSHAKE, one) for one in chunks(message, 1 << 14)], large),
            ("59,000 bytes in pieces", lambda message: chunks(b"".join(
                record(HANDSHAKE, one) for one in chunks(message, 9_999)), 7), large)):
        client = Client(a.host)
        client.connect(name, hello(name, client.share(), more), pieces)
        assert echoes(client), what
        client.send(b"\x01\0", ALERT)
        assert client.ends() == CLOSE, what
    assert failures(a) == {} and a.status()["tls"]["web"]["full_handshakes"] == 4


def damaged(client):
    sealed = bytearray(client.sealing.seal(DATA, b"hello"))
    sealed[-1] ^= 1
    client.socket.sendall(sealed)


# What comes behind the handshake, and the alert, sealed, that answers it; "end" if there is none.
BEHIND = {
    "one bit is wrong": (damaged, MAC),
    "a record longer than any": (lambda client: client.socket.sendall(b"\x17\x03\x03\x41\x01"), OVERFLOW),
    "more than 2^14 of content": (lambda client: client.send(bytes((1 << 14) + 1)), OVERFLOW),
    "a record of no version": (lambda client: client.socket.sendall(record(DATA, bytes(40), 0x0403)), UNEXPECTED),
    "a record without a type": (lambda client: client.send(b"", 0, 30), UNEXPECTED),
    "a change of ciphers in clear": (lambda client: client.socket.sendall(record(CHANGE, b"\x01")), UNEXPECTED),
    "an alert in clear": (lambda client: client.socket.sendall(record(ALERT, b"\x02\x28")), UNEXPECTED),
    "a change of ciphers, sealed": (lambda client: client.send(b"\x01", CHANGE), UNEXPECTED),
    "a ClientHello": (lambda client: client.send(hello(WWW, NOBODY), HANDSHAKE), UNEXPECTED),
    "an update that is none": (lambda client: client.send(KEY_UPDATE + b"\x02", HANDSHAKE), UNEXPECTED),
    "half an update": (lambda client: client.send(KEY_UPDATE[:2], HANDSHAKE), UNEXPECTED),
    "half an alert": (lambda client: client.send(b"\x01", ALERT), UNEXPECTED),
    "records without anything": (lambda client: [client.send(b"") for _ in range(33)], UNEXPECTED),
    "padding and nothing else": (lambda client: [client.send(b"", padding=1 << 10) for _ in range(33)], UNEXPECTED),
    "updates of keys": (lambda client: [client.update(at & 1) for at in range(33)], UNEXPECTED),
    "alerts that say nothing": (lambda client: [client.send(b"\x01\x5a", ALERT) for _ in range(33)], UNEXPECTED),
    "a fatal alert": (lambda client: client.send(b"\x02\x50", ALERT), "end"),
}


@case()
def behind(net):
    """What must not come behind the handshake ends the connection with the alert that it deserves, and is counted."""
    a, _ = echoing(net)
    name = f"echo.{WWW}"
    for what, (send, answer) in BEHIND.items():
        client = Client(a.host).connect(name)
        assert echoes(client), what
        send(client)
        ended = client.ends()
        assert ended == answer or (answer == "end" and ended == "reset"), f"{what}: {ended}"
    # As many of them are no fault if data comes between.
    client = Client(a.host).connect(name)
    for at in range(100):
        client.update(at & 1)
        client.send(b"")
        assert echoes(client), at
    client.send(b"\x01\0", ALERT)
    client.socket.sendall(os.urandom(99))
    assert client.ends() in (CLOSE, "reset")
    assert failures(a) == {"record": len(BEHIND)}, failures(a)


@case()
def early(net):
    """No ticket allows early data, and what comes as such before the handshake is done reaches no backend."""
    a, web = echoing(net)
    session = f"{a.folder}/session.pem"
    command = ["timeout", "2", "openssl", "s_client", "-connect", "127.0.0.1:443", "-servername", WWW, "-sess_out", session, "-ign_eof"]
    request = f"GET / HTTP/1.1\r\nHost: {WWW}\r\nConnection: close\r\n\r\n"
    a.host.attempt(*command, data=request)
    shown = a.host.run("openssl", "sess_id", "-in", session, "-noout", "-text")
    assert "TLS session ticket:" in shown and "Max Early Data: 0" in shown.replace("  ", " "), shown
    name, before = f"echo.{WWW}", a.status()["tls"]["web"]["received_bytes"]
    client = Client(a.host)
    client.connect(name, hello(name, client.share(), extension(42, b"")), behind=record(DATA, os.urandom(60)))
    assert echoes(client)
    client.close()
    assert a.status()["tls"]["web"]["received_bytes"] - before == len(b"are you there?")
    # Data in place of Finished, with no word of early data.
    client = Client(a.host)
    message = hello(name, client.share())
    client.socket.sendall(record(HANDSHAKE, message) + record(DATA, os.urandom(60)))
    came = told(client.socket)
    assert came[:1] == bytes([HANDSHAKE]), came.hex()
    told_of = a.status()["tls"]["web"]
    assert told_of["routes"]["echo"]["backends"][0]["connections"] == 1, told_of
    assert failures(a)["handshake"] == 1, failures(a)


@case()
def again(net):
    """A client of TLS 1.2 that asks for another handshake is told off, and none is made."""
    a, _ = terminator(net, policy="intermediate")
    words = f"openssl s_client -tls1_2 -legacy_renegotiation -connect 127.0.0.1:443 -servername {WWW}"
    code, output = a.host.attempt("sh", "-c", f"(sleep 0.5; echo R; sleep 1) | timeout 5 {words}")
    assert "RENEGOTIATING" in output and code != 0 and "alert unexpected message" in output, output
    assert failures(a) == {"record": 1} and a.status()["tls"]["web"]["full_handshakes"] == 1
    assert curl(a) == (0, "app")


@case()
def backends(net):
    """A backend that breaks off in the middle is no proper end for the client; one that ends properly is."""
    a, web = terminator(net)
    for port, manner in enumerate(("breaks", "leaves"), 8081):
        web["route"][manner] = {"sni": [f"{manner}.{WWW}"], "backend": [backend(a.host, manner, port)]}
    a.reload()
    for _ in range(20):
        client = Client(a.host).connect(f"breaks.{WWW}")
        came = 0
        while came < 65536:
            came += len(client.data())
        client.send(b"x")
        assert client.ends() in ("end", "reset")
        client = Client(a.host).connect(f"leaves.{WWW}")
        assert client.data() == b"bye" and client.ends() == CLOSE
        client.close()
    found = failures(a)
    assert found.get("backend") == 20, found
    assert curl(a) == (0, "app")


@case(limit=60)
def slow_readers(net):
    """400 clients that ask for more than they read hold no more memory than the buffers may be, and others are served."""
    a, web = terminator(net)
    # Else it is the kernel that holds megabytes for each of them.
    a.host.sysctl("net.ipv4.tcp_wmem", "4096 16384 65536")
    a.host.sysctl("net.ipv4.tcp_rmem", "4096 16384 65536")
    web["route"]["endless"] = {"sni": [f"endless.{WWW}"], "backend": [backend(a.host, "endless", 8081)]}
    a.reload()
    assert curl(a) == (0, "app")
    before = resident(a.process.pid)
    clients = [Client(a.host).connect(f"endless.{WWW}") for _ in range(400)]
    seen = []
    for _ in range(10):
        time.sleep(0.1)
        seen.append(resident(a.process.pid) - before)
        begun = time.monotonic()
        assert curl(a) == (0, "app")
        assert time.monotonic() - begun < 5
    print(f"400 slow readers: {max(seen)} KiB")
    # 256 buffers of 256 KiB may be lent, and one of 16 KiB to each beyond.
    assert max(seen) < (64 + 16) * MIB, seen
    for client in clients:
        client.close()
    until(lambda: a.status()["tls"]["web"]["open"] == 0, 10, "the end of all")


# Sends the same first message again and again, waits for the answer, which took a signature, and is gone.
FLOOD = """
import socket, struct, sys, time
message, end, made = bytes.fromhex(sys.argv[1]), time.monotonic() + float(sys.argv[2]), 0
while time.monotonic() < end:
    crowd = []
    for _ in range(32):
        one = socket.create_connection(("127.0.0.1", 443))
        one.sendall(message)
        crowd.append(one)
    for one in crowd:
        one.settimeout(10)
        made += len(one.recv(5)) > 0
        one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        one.close()
print("made", made)
"""


def trips(client, seconds):
    """Round trips of a connection, one after the other, in seconds, sorted."""
    found, end = [], time.monotonic() + seconds
    while time.monotonic() < end:
        begun = time.monotonic()
        assert echoes(client)
        found.append(time.monotonic() - begun)
        time.sleep(0.005)
    return sorted(found)


@case(limit=60)
def flood(net):
    """A flood of handshakes that are never finished does not starve a connection that is there."""
    a, _ = echoing(net)
    client = Client(a.host).connect(f"echo.{WWW}")
    quiet = trips(client, 0.5)
    message = record(HANDSHAKE, hello(WWW, Client(a.host).share())).hex()
    floods = [a.host.start("python3", "-c", FLOOD, message, "4") for _ in range(2)]
    time.sleep(0.5)
    found = trips(client, 3)
    made = sum(int(one.wait_output(r"made (\d+)", 20)[1]) for one in floods)
    middle, worst = found[len(found) // 2], found[-1]
    print(f"{made} handshakes in 4 s: median {middle * 1e3:.1f} ms (quiet {quiet[len(quiet) // 2] * 1e3:.1f}), worst {worst * 1e3:.0f} ms")
    assert made > 400 and len(found) > 10, (made, len(found))
    # Behind a queue of 64 handshakes a trip would take longer than that.
    assert middle < 0.25 and worst < 5, (middle, worst)
    until(lambda: a.status()["tls"]["web"]["open"] == 1, 10, "the end of the flood")
    assert failures(a)["left"] >= made and echoes(client)


@case(limit=60, group=SLOW)
def half_open(net):
    """Clients that never finish their handshake are shown out after 10 seconds, and keep nobody out until then."""
    a, _ = echoing(net)
    message = record(HANDSHAKE, hello(WWW, Client(a.host).share()))
    before = resident(a.process.pid)
    crowd = []
    for at in range(900):
        connection = stranger(a)
        connection.sendall(message[:(0, 100, len(message))[at % 3]])
        crowd.append(connection)
    begun = time.monotonic()
    assert curl(a) == (0, "app")
    grown = resident(a.process.pid) - before
    print(f"900 half-open connections: {grown} KiB")
    assert grown < 64 * MIB, grown
    until(lambda: a.status()["tls"]["web"]["open"] == 0, 20, "the end of all", 0.2)
    assert 8 < time.monotonic() - begun < 20
    assert failures(a)["handshake_time"] == 900, failures(a)
    assert all(told(connection)[:1] in (b"", bytes([HANDSHAKE])) for connection in crowd)


@case(limit=180, group=SLOW)
def idle(net):
    """5,000 idle connections: what each takes of memory is told, and is less than 20 kB."""
    import resource
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    a, _ = echoing(net)
    assert echoes(Client(a.host).connect(f"echo.{WWW}"))
    before = resident(a.process.pid)
    clients = [Client(a.host).connect(f"echo.{WWW}") for _ in range(5000)]
    assert all(echoes(client) for client in clients[::50])
    time.sleep(1)
    each = (resident(a.process.pid) - before) * 1024 / 5000
    print(f"5,000 idle connections: {each:.0f} bytes each")
    assert each < 20_000, each


@case(limit=90, group=SLOW)
def slow_requests(net):
    """slowhttptest's 500 slow clients, whose requests are as slow here as behind, keep nobody out."""
    a, web = terminator(net)
    # slowhttptest asks for no name.
    web["route"]["rest"] = {"backend": ["127.0.0.1:8080"]}
    a.reload()
    attack = a.host.start("slowhttptest", "-H", "-c", "500", "-r", "200", "-i", "2", "-l", "12", "-u", "https://127.0.0.1:443/")
    most = 0
    for _ in range(10):
        time.sleep(1)
        begun = time.monotonic()
        assert curl(a) == (0, "app")
        assert time.monotonic() - begun < 5
        most = max(most, a.status()["tls"]["web"]["open"])
    assert most >= 500, most
    attack.wait(60)
