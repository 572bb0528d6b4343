"""TLS ends at aditd: what curl and openssl get through it from a backend that speaks HTTP in clear."""
import json
import os
import re
import time

from lab import frame
from lab.capture import Capture
from lab.case import case
from lab.tls import OTHER, WWW, certificate, curl, s_client, terminator
from lab.wait import until

# New connections all the time beside one that stays; at the end, how many requests there were and which failed.
LOAD = """
import http.client, json, ssl, sys, threading, time
context = ssl.create_default_context()
context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
end, done, failed, shown = time.monotonic() + float(sys.argv[2]), [], [], set()
def ask(keep):
    connection = None
    while time.monotonic() < end:
        try:
            if connection is None:
                connection = http.client.HTTPConnection("127.0.0.1", int(sys.argv[1]), timeout=5)
                connection.connect()
                connection.sock = context.wrap_socket(connection.sock, server_hostname="www.example.com")
                shown.add(hash(connection.sock.getpeercert(True)))
            connection.request("GET", "/")
            assert connection.getresponse().read() == b"app"
            done.append(keep)
        except Exception as error:
            failed.append(f"{keep}: {error!r}")
            connection = None
        if not keep:
            connection and connection.close()
            connection = None
        time.sleep(0.002)
threads = [threading.Thread(target=ask, args=(at == 0,)) for at in range(4)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
print(json.dumps([len(done), failed[:5], len(shown)]))
"""

# A client that says nothing behind its handshake: it ends properly, or waits and tells whether it got a ticket.
TICKETS = """
import socket, ssl, sys
context = ssl.create_default_context()
context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
connection = context.wrap_socket(socket.create_connection(("127.0.0.1", int(sys.argv[1]))), server_hostname="www.example.com")
if sys.argv[2] == "close":
    connection.unwrap()
else:
    connection.settimeout(1)
    try:
        connection.recv(1)
    except TimeoutError:
        print("ticket", connection.session.has_ticket)
"""


#   curl, openssl ---- 127.0.0.1:443 aditd ---- 127.0.0.1:8080 a backend that speaks HTTP
@case()
def names(net):
    """A name finds its route, a wildcard too; a stranger is refused; pass-through shows the backend's own certificate."""
    a, web = terminator(net)
    assert curl(a) == (0, "app"), curl(a)
    assert curl(a, f"x.{WWW}") == (0, "app")
    code, output = curl(a, OTHER)
    assert code == 35 and "unrecognized name" in output, (code, output)
    own = certificate(a, "mail", OTHER)
    a.host.start("openssl", "s_server", "-accept", "127.0.0.1:8443", "-cert", own["chain_file"], "-key", own["key_file"], "-www")
    web["route"]["mail"] = {"sni": [OTHER], "backend": ["127.0.0.1:8443"], "pass_through": True}
    assert "changed TLS web" in a.reload()
    until(lambda: f"CN = {OTHER}" in s_client(a, name=OTHER), 15, "the backend's certificate")
    assert curl(a) == (0, "app")
    told = a.status()["tls"]["web"]
    assert told["failures"]["refused"] == 1 and told["passed_through"] >= 1 and told["full_handshakes"] >= 3, told
    assert a.http("GET", "/v1/health")[0] == 200


@case()
def versions(net):
    """`modern` is TLS 1.3 alone, `intermediate` TLS 1.2 too; neither has TLS 1.1, and 1.2 has forward-secret AEADs alone."""
    a, web = terminator(net)
    old = ("-cipher", "ALL:@SECLEVEL=0")
    for policy, offered in (("modern", {"-tls1_3"}), ("intermediate", {"-tls1_3", "-tls1_2"})):
        web["policy"] = policy
        a.reload()
        for version in ("-tls1_3", "-tls1_2", "-tls1_1", "-tls1"):
            found = s_client(a, version, *(() if version == "-tls1_3" else old))
            agreed = re.search(r"New, (TLSv\S+), Cipher is ((?!\(NONE)\S+)", found)
            assert bool(agreed) == (version in offered), f"{policy} {version}: {found}"
    for suite in ("AES128-GCM-SHA256", "ECDHE-ECDSA-AES128-SHA", "ECDHE-ECDSA-AES256-SHA384", "DHE-RSA-AES128-GCM-SHA256"):
        assert "Cipher is (NONE)" in s_client(a, "-tls1_2", "-cipher", f"{suite}:@SECLEVEL=0"), suite
    assert "Cipher is ECDHE-ECDSA" in s_client(a, "-tls1_2")


@case()
def tickets(net):
    """Under TLS 1.3 a ticket resumes, also after a reload with another certificate; under TLS 1.2 there is none."""
    a, web = terminator(net, policy="intermediate")
    session = f"{a.folder}/session.pem"
    request = f"GET / HTTP/1.1\r\nHost: {WWW}\r\nConnection: close\r\n\r\n"

    def connect(*words):
        command = ["openssl", "s_client", "-connect", "127.0.0.1:443", "-servername", WWW, "-ign_eof", *words]
        return a.host.attempt(*command, data=request)[1]

    assert "New, TLSv1.3" in connect("-tls1_3", "-sess_out", session)
    assert "Reused, TLSv1.3" in connect("-tls1_3", "-sess_in", session, "-sess_out", session)
    certificate(a, "www")
    assert "changed TLS web" in a.reload()
    assert "Reused, TLSv1.3" in connect("-tls1_3", "-sess_in", session)
    first = connect("-tls1_2", "-sess_out", session)
    assert "New, TLSv1.2" in first and "TLS session ticket:" not in first, first
    assert "New, TLSv1.2" in connect("-tls1_2", "-sess_in", session)
    assert a.status()["tls"]["web"]["resumed_handshakes"] == 2


#   a client of Python ---- lo ---- aditd
@case()
def segments(net):
    """Tickets wait a moment for what can go with them, the end goes with the last data; who says nothing has tickets too."""
    a, _ = terminator(net)
    lo = Capture(a.host, "lo")
    a.host.run("python3", "-c", TICKETS, "443", "close")
    # On this device a frame is seen as it leaves and as it comes.
    seen = map(frame.parse_tcp, dict.fromkeys(lo.stop()))
    sent = [(len(tcp.payload), tcp.ends) for tcp in seen if tcp and tcp.source_port == 443 and (tcp.payload or tcp.ends)]
    assert [ends for length, ends in sent if length] == [False, True] and len(sent) == 2, f"(bytes, end) of segments: {sent}"
    assert "ticket True" in a.host.run("python3", "-c", TICKETS, "443", "wait")


#   requests on new connections and on one that stays ---- aditd, reloaded ---- backend
@case(limit=60)
def reloads(net):
    """Certificates change ten times under load without a failed request; a wrong one is refused and the last stays."""
    a, web = terminator(net)
    load = a.host.start("python3", "-c", LOAD, "443", "6")
    time.sleep(0.5)
    for _ in range(10):
        certificate(a, "www")
        assert "changed TLS web" in a.reload()
        assert curl(a) == (0, "app")
    good = web["certificates"]
    web["certificates"] = [{**good[0], "key_file": certificate(a, "other")["key_file"]}]
    assert "the private key does not belong to the certificate" in a.refuses()
    assert curl(a) == (0, "app")
    web["certificates"] = good
    assert "nothing changed" in a.reload()
    web["listen"].append("127.0.0.1:8443")
    a.reload()
    assert curl(a, port=8443) == (0, "app")
    web["listen"].pop()
    a.reload()
    assert curl(a, port=8443)[0] == 7
    done, failed, shown = json.loads(load.wait_output(r"\[\d+, .*\]", 30)[0])
    assert done > 200 and failed == [] and shown >= 5, (done, failed, shown)
    assert a.status()["configuration"]["reloads_refused"] == 1


@case()
def clients(net):
    """A client shows a certificate of the CA with a name that is allowed, or is refused."""
    a, web = terminator(net)
    ca, key = f"{a.folder}/ca.pem", f"{a.folder}/ca-key.pem"
    a.host.run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", key,
               "-out", ca, "-days", "30", "-subj", "/CN=ca")
    os.chmod(ca, 0o644)
    for name in ("good", "bad"):
        stem = f"{a.folder}/{name}"
        a.host.run("openssl", "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout",
                   f"{stem}.key", "-out", f"{stem}.csr", "-subj", f"/CN={name}")
        with open(f"{stem}.ext", "w") as file:
            file.write(f"subjectAltName=DNS:{name}.example.org\nextendedKeyUsage=clientAuth\nbasicConstraints=CA:FALSE\n")
        a.host.run("openssl", "x509", "-req", "-in", f"{stem}.csr", "-CA", ca, "-CAkey", key, "-CAcreateserial", "-days",
                   "9", "-extfile", f"{stem}.ext", "-out", f"{stem}.pem")
    web["client_certificates"] = {"ca_file": ca, "mode": "required", "allow": ["dns:good.example.org"]}
    a.reload()
    with_one = {name: ("--cert", f"{a.folder}/{name}.pem", "--key", f"{a.folder}/{name}.key") for name in ("good", "bad")}
    assert curl(a, WWW, *with_one["good"]) == (0, "app"), curl(a, WWW, *with_one["good"])
    assert curl(a, WWW, *with_one["bad"])[0] and curl(a)[0], "let in"
    until(lambda: a.status()["tls"]["web"]["failures"]["handshake"] == 2, 10, "two that were not let in")


@case()
def backends(net):
    """A backend that refuses is passed over, and told; with none left the connection ends."""
    a, web = terminator(net)
    web["route"]["app"]["backend"] = ["127.0.0.1:9", "127.0.0.1:8080"]
    a.reload()
    assert [curl(a) for _ in range(6)] == [(0, "app")] * 6
    # Also what came close behind the handshake: a request of curl's has at least 70 bytes.
    received = a.status()["tls"]["web"]["received_bytes"]
    assert received >= 6 * 70, received
    told = {one["address"]: one for one in a.status()["tls"]["web"]["routes"]["app"]["backends"]}
    assert told["127.0.0.1:9"]["failing"] and told["127.0.0.1:8080"]["connections"] >= 6, told
    assert "the backend 127.0.0.1:9 of route app refused" in a.ctl("status")[1]
    web["route"]["app"]["backend"] = ["127.0.0.1:9"]
    a.reload()
    assert curl(a)[0] != 0
    until(lambda: a.status()["tls"]["web"]["failures"]["no_backend"] == 1, 10, "a connection without a backend")
