"""What aditd's TLS terminator does about its backends, and against those who mean no good."""
import json
import os
import re

from lab.case import case
from lab.etc import own
from lab.tls import BACKEND, WWW, certificate, curl, terminator
from lab.tls_authority import Authority, key_pem, pem, public_file
from lab.wait import until


def backend_of(a, address, route="app"):
    """What the status tells of a backend."""
    backends = a.status()["tls"]["web"]["routes"][route]["backends"]
    return next(one for one in backends if one["address"] == address)


def listening(a, *ports):
    """Waits until somebody listens on each of these ports."""
    until(lambda: all(f":{port} " in a.host.run("ss", "-Htln") for port in ports), 15, "the backends")


#   curl ---- aditd ---- two backends, which it asks for /health
@case()
def checks(net):
    """A backend whose health check fails gets nothing until it passes; with all down each is tried."""
    a, web = terminator(net)
    sick = {port: f"{a.folder}/sick-{port}" for port in (8081, 8082)}
    for port, file in sick.items():
        a.host.start("python3", "-c", BACKEND, str(port), str(port), file)
    listening(a, 8081, 8082)
    web["route"]["app"] |= {"backend": ["127.0.0.1:8081", "127.0.0.1:8082"],
                            "check": {"every": "400ms", "timeout": "400ms", "rise": 2, "fall": 2, "http": "/health"}}
    a.reload()
    up = lambda port: backend_of(a, f"127.0.0.1:{port}")["checks"]["up"]
    until(lambda: up(8081) and up(8082) and backend_of(a, "127.0.0.1:8081")["checks"]["passed"], 15, "both up")
    asked = lambda count: {curl(a)[1] for _ in range(count)}
    assert asked(4) == {"8081", "8082"}
    changes = backend_of(a, "127.0.0.1:8081")["checks"]["changes"]
    open(sick[8081], "w").close()
    until(lambda: not up(8081), 15, "one down")
    assert asked(6) == {"8082"}
    told = backend_of(a, "127.0.0.1:8081")
    assert "503" in told["checks"]["error"] and told["checks"]["changes"] == changes + 1, told
    assert f"the backend 127.0.0.1:8081 of route app is down" in a.ctl("status")[1]
    assert 'adit_tls_backend_up{listener="web",route="app",backend="127.0.0.1:8081"} 0' in a.http("GET", "/metrics")[1]
    open(sick[8082], "w").close()
    until(lambda: not up(8082), 15, "both down")
    assert asked(4) == {"8081", "8082"}, "with all down each is tried"
    os.unlink(sick[8081])
    until(lambda: up(8081), 15, "one up again")
    assert asked(6) == {"8081"}
    assert "backend 127.0.0.1:8081 of route app is down: GET /health: 503" in a.process.output()
    assert "backend 127.0.0.1:8081 of route app is up" in a.process.output()


#   curl ---- aditd ---- two backends, one of which was down
@case()
def slow_start(net):
    """A backend that has come up again gets a small share at first."""
    a, web = terminator(net)
    sick = f"{a.folder}/sick"
    for port, file in ((8081, sick), (8082, f"{sick}-never")):
        a.host.start("python3", "-c", BACKEND, str(port), str(port), file)
    listening(a, 8081, 8082)
    open(sick, "w").close()
    web["route"]["app"] |= {"backend": ["127.0.0.1:8081", "127.0.0.1:8082"], "slow_start": "1h",
                            "check": {"every": "100ms", "rise": 1, "fall": 1, "http": "/health"}}
    a.reload()
    up = lambda: backend_of(a, "127.0.0.1:8081")["checks"]["up"]
    until(lambda: not up(), 15, "it is down")
    os.unlink(sick)
    until(up, 15, "it is up again")
    assert backend_of(a, "127.0.0.1:8081")["share"] < 0.1
    answers = [curl(a)[1] for _ in range(20)]
    assert answers.count("8081") <= 4, answers


# Prints what each connection begins with, in hex, then answers "app".
RECORDER = """
import socketserver, ssl, sys
class Answer(socketserver.BaseRequestHandler):
    def handle(self):
        got = b""
        while b"GET /" not in got or not got.endswith(b"\\r\\n\\r\\n"):
            more = self.request.recv(4096)
            if not more:
                break
            got += more
        print(got.hex(), flush=True)
        self.request.sendall(b"HTTP/1.1 200 OK\\r\\nContent-Length: 3\\r\\nConnection: close\\r\\n\\r\\napp")
class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address, daemon_threads = True, True
Server(("127.0.0.1", int(sys.argv[1])), Answer).serve_forever()
"""


#   curl ---- aditd ---- a backend that prints what comes, and python's ssl client with a PROXY header of its own
@case()
def proxy_protocol(net):
    """Backends are told who the client is, by both versions; sources that are trusted have to tell it, others cannot."""
    a, web = terminator(net)
    recorder = a.host.start("python3", "-c", RECORDER, "8090")
    listening(a, 8090)
    app = web["route"]["app"]
    app |= {"backend": ["127.0.0.1:8090"], "proxy_protocol": "v1"}
    a.reload()
    came = lambda: re.findall(r"^(?:[0-9a-f]{2}){20,}$", recorder.output(), re.M)
    seen = lambda number: bytes.fromhex(until(lambda: came()[number:], 15, "a connection")[0])
    assert curl(a) == (0, "app")
    assert re.match(rb"PROXY TCP4 127\.0\.0\.1 127\.0\.0\.1 \d+ 443\r\nGET /", seen(0)), seen(0)
    app["proxy_protocol"] = "v2"
    a.reload()
    assert curl(a) == (0, "app")
    told = seen(1)
    assert told.startswith(b"\r\n\r\n\0\r\nQUIT\n\x21\x11") and told[26:28] == (443).to_bytes(2, "big"), told
    assert WWW.encode() in told and b"TLSv1.3" in told and b"TLS_A" in told and b"GET /" in told, told
    # curl sends a header of version 1 with its own address; from who is not trusted that is no TLS.
    code, output = curl(a, WWW, "--haproxy-protocol")
    assert code, output
    until(lambda: a.status()["tls"]["web"]["failures"]["hello"] == 1, 10, "a hello that was none")
    web["accept_proxy"] = ["127.0.0.0/8"]
    web["timeouts"] = {"handshake": "1500ms"}
    a.reload()
    assert curl(a, WWW, "--haproxy-protocol") == (0, "app")
    assert curl(a)[0], "without a header from who has to send one"
    def turned_away():
        told = a.status()["tls"]["web"]
        return told["failures"]["proxy"] == 1 and told["open"] == 0
    until(turned_away, 10, "a connection without a header, and its end")
    client = f"""
import socket, ssl, sys
raw = socket.create_connection(("127.0.0.1", 443))
raw.sendall(b"PROXY TCP4 192.0.2.7 198.51.100.9 4660 8443\\r\\n")
context = ssl.create_default_context()
context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
tls = context.wrap_socket(raw, server_hostname="{WWW}")
tls.sendall(b"GET / HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n")
print(tls.recv(100)[-3:])
"""
    assert "app" in a.host.run("python3", "-c", client)
    told = seen(3)
    assert told[16:28] == bytes([192, 0, 2, 7, 198, 51, 100, 9]) + (4660).to_bytes(2, "big") + (8443).to_bytes(2, "big"), told
    # Half a header, and then nothing: it is not waited for longer than for a handshake.
    a.host.attempt("timeout", "10", "bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/443; printf 'PROXY TCP4 ' >&3; cat <&3")
    until(lambda: a.status()["tls"]["web"]["failures"].get("handshake_time"), 10, "the deadline")


#   curl ---- aditd ==== openssl s_server, which asks for a certificate
@case()
def backend_tls(net):
    """TLS is spoken to backends: who is not signed by the CA, or has another name, gets nothing; sessions are resumed."""
    a, web = terminator(net)
    mine, authority, other = certificate(a, "mine", "gateway.internal"), Authority("ca"), Authority("other")
    chain, key = authority.issue(["app.internal"])
    a.host.start("openssl", "s_server", "-accept", "127.0.0.1:8443", "-cert", public_file(a, "app.pem", pem(chain)), "-key",
                 a.secret("app-key.pem", key_pem(key)), "-www", "-Verify", "1", "-CAfile", mine["chain_file"])
    listening(a, 8443)
    app = web["route"]["app"]
    trusted, wrong = (public_file(a, f"ca-{number}.pem", pem(one.certificate)) for number, one in enumerate((authority, other)))
    secured = {"ca_file": trusted, "name": "app.internal", **mine}
    app |= {"backend": ["127.0.0.1:8443"], "backend_tls": secured}
    a.reload()
    for kind in ("New", "Reused"):
        code, output = curl(a)
        assert code == 0 and f"{kind}, TLSv1.3, Cipher is TLS_AES" in output, output
    assert "gateway.internal" in output, f"no certificate of ours in {output}"
    for change, why in (({"ca_file": wrong}, "UnknownIssuer"), ({"name": "app.example"}, "not valid for name")):
        app["backend_tls"] = {**secured, **change}
        a.reload()
        assert curl(a)[0], "an answer of a backend that is not trusted"
        told = backend_of(a, "127.0.0.1:8443")
        assert told["failing"] and why in told["error"], told
    app["backend_tls"] = {"ca_file": trusted, "name": "app.internal"}
    a.reload()
    assert curl(a)[0], "an answer without a certificate of ours"
    app["backend_tls"] = {**secured, "verify": False}
    assert "backends are always verified" in a.refuses()


#   curl ---- aditd, which finds app.internal by a hosts file that changes ---- backends on 127.0.0.1 and 127.0.0.2
@case(limit=60)
def backend_names(net):
    """A backend is found by its name, and found elsewhere when it does not answer there; without an answer it stays."""
    a, web = terminator(net)

    def lead(*addresses):
        own(a.host, "hosts", "127.0.0.1 localhost\n" + "".join(f"{address} app.internal\n" for address in addresses))
    a.stop()
    lead("127.0.0.3")
    web["route"]["app"]["backend"] = ["app.internal:8080"]
    a.start()
    assert curl(a)[0], "somebody answers at 127.0.0.3"
    assert backend_of(a, "127.0.0.3:8080")["name"] == "app.internal"
    lead("127.0.0.1", "127.0.0.3")
    until(lambda: curl(a) == (0, "app"), 15, "the name is looked up again")
    assert {one["address"] for one in a.status()["tls"]["web"]["routes"]["app"]["backends"]} == {"127.0.0.1:8080", "127.0.0.3:8080"}
    lead()
    assert curl(a) == (0, "app")
    lost = lambda: a.status()["tls"]["web"]["routes"]["app"]["names"][0]["error"]
    until(lambda: [curl(a), lost()][1], 15, "the name is lost")
    assert curl(a) == (0, "app"), "the last good address"
    assert "is not found" in a.ctl("status")[1]


# Holds connections of an address until a file is there, and asks for something then.
HOLD = f"""
import os, socket, ssl, sys, time
context = ssl.create_default_context()
context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
# All at once: who is too many is so before anybody's handshake.
connections, held = [socket.create_connection(("127.0.0.1", 443), source_address=(sys.argv[3], 0))
                     for _ in range(int(sys.argv[1]))], []
for one in connections:
    try:
        held.append(context.wrap_socket(one, server_hostname="{WWW}"))
    except OSError as error:
        pass
print("held", len(held), flush=True)
while not os.path.exists(sys.argv[2]):
    time.sleep(0.02)
for one in held:
    one.sendall(b"GET / HTTP/1.1\\r\\nHost: x\\r\\nConnection: close\\r\\n\\r\\n")
print("answers", sum(b"200" in one.recv(4096) for one in held), flush=True)
"""


@case()
def limits(net):
    """There are no more connections than may be, of all and of an address; an address begins no more than it may."""
    a, web = terminator(net)
    failures = lambda: a.status()["tls"]["web"]["failures"]
    for key, most, reason in (("max_connections", 5, "limit"), ("max_connections_per_address", 3, "address_limit")):
        web[key], go = most, f"{a.folder}/{key}"
        a.reload()
        held = a.host.start("python3", "-c", HOLD, "8", go, "127.0.0.1")
        held.wait_output(rf"held {most}\b", 15)
        open(go, "w").close()
        held.wait_output(rf"answers {most}\b", 15)
        until(lambda: a.status()["tls"]["web"]["open"] == 0, 15, "all are gone")
        assert failures()[reason] == 8 - most, failures()
        del web[key]
    web["max_handshakes_per_address"] = 2
    a.reload()
    held = a.host.start("python3", "-c", HOLD, "8", a.folder, "127.0.0.2")
    # Two seconds' worth, for an address that is new.
    held.wait_output(r"answers 4\b", 15)
    until(lambda: failures()["address_rate"] == 4, 10, "those who were too fast")
    assert a.status()["tls"]["web"]["turned_away"] == 3 + 5 + 4


@case()
def access_log(net):
    """Each connection is a line with what is known of it; a file that was moved away is begun anew by a reload."""
    a, web = terminator(net)
    folder = f"{a.folder}/log"
    os.mkdir(folder)
    os.chmod(folder, 0o777)
    file = f"{folder}/access.log"
    web["access_log"] = {"file": file, "format": "json"}
    a.reload()
    # Those that are whole.
    lines = lambda name=file: [json.loads(line) for line in open(name) if line.endswith("\n")] if os.path.exists(name) else []
    assert curl(a) == (0, "app")
    told = until(lines, 15, "a line")[0]
    assert told["listener"] == "web" and told["sni"] == WWW and told["version"] == "TLSv1.3" and told["end"] in ("done", "truncated"), told
    assert told["client"].startswith("127.0.0.1:") and told["route"] == "app" and told["backend"] == "127.0.0.1:8080", told
    assert told["received"] > 50 and told["sent"] > 50 and 0 < told["handshake"] < told["duration"], told
    assert re.fullmatch(r"t13d\w{6}_\w{12}_\w{12}", told["ja4"]) and told["suite"].startswith("TLS_") and told["group"], told
    assert curl(a, "mail.example.net")[0]
    until(lambda: lines()[1:] and lines()[1]["end"] == "refused", 15, "the line of who was refused")
    os.rename(file, f"{file}.1")
    a.reload()
    assert curl(a) == (0, "app")
    assert len(until(lines, 15, "a new file")) == 1 and len(lines(f"{file}.1")) == 2
    web["access_log"]["format"] = "text"
    a.reload()
    assert curl(a) == (0, "app")
    until(lambda: f" sni={WWW} " in open(file).read(), 15, "a line of text")
    web["access_log"]["file"] = f"{a.folder}/nowhere/access.log"
    assert "the access log cannot be written" in a.refuses()


#   a connection that stays, and new ones ---- aditd, which drains
@case()
def drains(net):
    """While it drains nothing is accepted and what is there goes on; health and audit say so; --undo takes it back."""
    a, web = terminator(net)
    go = f"{a.folder}/go"
    held = a.host.start("python3", "-c", HOLD, "2", go, "127.0.0.1")
    held.wait_output("held 2", 15)
    code, said = a.ctl("drain", "web")
    assert code == 0 and "web: accepts nothing more; 2 connections left" in said, said
    until(lambda: curl(a)[0] == 7, 15, "nothing is accepted")
    code, health = a.http("GET", "/v1/health")
    assert code == 503 and json.loads(health) == {"health": "draining", "draining": ["web"], "connections": 2}, (code, health)
    web["policy"] = "intermediate"
    a.reload()
    assert curl(a)[0] == 7, "a reload ended it"
    open(go, "w").close()
    # What was there goes on.
    held.wait_output("answers 2", 15)
    until(lambda: a.status()["tls"]["web"]["open"] == 0, 15, "they are gone")
    assert a.status()["tls"]["web"]["draining"] and "it drains" in a.ctl("status")[1]
    assert a.ctl("drain", "--undo")[0] == 0
    assert curl(a) == (0, "app") and a.http("GET", "/v1/health")[0] == 200
    code, said = a.ctl("drain", "mail")
    assert code == 1 and "there is no [tls.mail]; there is web" in said, said
    trail = [(line["what"], line["result"]) for line in a.audit() if line["what"].startswith("drain")]
    assert trail == [("drain", "attempt"), ("drain", "ok"), ("drain_undo", "attempt"), ("drain_undo", "ok"),
                     ("drain", "attempt"), ("drain", "refused")], trail
