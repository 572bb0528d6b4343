"""What strangers do to the enrolment API, and those who were let in once."""
import socket
import ssl
import time

from cases.clients_access import SERVER, cut_off, word
from lab.case import case
from lab.clients import API, NAME, Client, Office
from lab.traffic import Sequence, reaches
from lab.wait import until


def connections(office, count):
    """So many TCP connections to the API."""
    with office.outside.entered():
        return [office.net.stack.enter_context(socket.create_connection(("192.0.2.1", API), 15)) for _ in range(count)]


def lost(office, why):
    return office.daemon.status()["clients"][office.tunnel]["lost"][why]


#   slow clients, and one that is not ---- gateway: aditd
@case(limit=60)
def slow_loris(net):
    """As many connections as a source may have, in handshakes and headers that never end, keep nobody else out for long."""
    office = Office(net).start()
    ticket, context = office.invite("alice"), ssl.create_default_context(cafile=f"{office.pki}/ca.pem")
    office.outside.address("wire", "192.0.2.10/24")
    slow = connections(office, 256)
    for stream in slow[:100]:
        stream.sendall(b"\x16\x03\x01\x02\x00")
    inside = [context.wrap_socket(stream, server_hostname=NAME) for stream in slow[100:110]]
    for stream in inside:
        stream.sendall(b"POST /v1/enrol HTTP/1.1\r\nx")
    one_more, = connections(office, 1)
    # Those who are let in have ten seconds.
    one_more.settimeout(8)
    assert one_more.recv(1) == b"", "the 257th is let go at once"
    client = Client(office)
    status, answer = office.ask("enrol", {"public_key": client.keys.public, "token": ticket},
                                words=("--interface", "192.0.2.10"))
    assert status == 200, answer
    assert lost(office, "crowd") >= 1
    # From the crowded source as well, once they have had their time.
    until(lambda: lost(office, "slow") >= 10, 20, "the end of those with half a header")
    assert word(client.enrol()) == (401, "no_proof")


#   somebody who guesses ---- gateway: aditd
@case(limit=60)
def guesses(net):
    """Guessing tokens and names ends after ten, for that source alone; every refusal is in the audit trail and the metrics."""
    office = Office(net).start()
    office.outside.address("wire", "192.0.2.10/24")
    client, ticket = Client(office), office.invite("alice")
    key = client.keys.public
    answers = [word(office.ask("enrol", {"public_key": key, "token": f"adit-{n:064x}"})) for n in range(5)]
    answers += [word(office.ask("renew", {"public_key": key, "identity": name, "secret": f"adit-{0:064x}"}))
                for name in ("alice", "nobody")]
    answers += [word(office.ask("enrol", None, data=text)) for text in ("\x00\xff", "[]", '{"public_key": 7}')]
    assert answers == [(403, "unknown_token")] * 5 + [(403, "no_lease")] * 2 + [(400, "malformed")] * 3, answers
    assert word(client.enrol(ticket)) == (429, "too_many")
    elsewhere = ("--interface", "192.0.2.10")
    assert office.ask("enrol", {"public_key": key, "token": ticket}, words=elsewhere)[0] == 200
    lines = [line["detail"] for line in office.daemon.audit() if line["what"] == "client_refused"]
    assert sum("192.0.2.9: unknown_token" in line for line in lines) == 5 and len(lines) == 10, lines
    assert "adit-" not in "".join(lines), "no token is written down"
    refused = office.daemon.status()["clients"][office.tunnel]["refused"]
    assert refused == 11, refused
    text = office.daemon.http("GET", "/metrics")[1]
    for reason, count in (("unknown_token", 5), ("no_lease", 2), ("malformed", 3), ("too_many", 1)):
        line = f'adit_client_refusals_total{{tunnel="{office.tunnel}",reason="{reason}"}} {count}'
        assert line in text, [line for line in text.splitlines() if "adit_client" in line]


#   somebody with no TLS ---- gateway: aditd
@case(limit=60)
def garbage(net):
    """What is neither TLS nor HTTP is let go and counted, and the next one is served."""
    office = Office(net).start()
    for text in (b"GET / HTTP/1.1\r\n\r\n", bytes(4096), b"\x16\x03\x01\xff\xff" + bytes(300)):
        for stream in connections(office, 3):
            stream.sendall(text)
    until(lambda: lost(office, "handshake") >= 9, 15, "nine handshakes that were none")
    context = ssl.create_default_context(cafile=f"{office.pki}/ca.pem")
    for text in (b"\xff" * 64 + b"\r\n\r\n", b"POST /v1/enrol HTTP/1.1\r\n" + b"a: b\r\n" * 2000 + b"\r\n"):
        for stream in connections(office, 1):
            stream = context.wrap_socket(stream, server_hostname=NAME)
            stream.sendall(text)
            stream.settimeout(15)
            assert stream.recv(64).startswith(b"HTTP/1.1 4"), "refused by the letter"
    assert Client(office).enrol(office.invite("alice"))[0] == 200


#   client under a flow ---- gateway: aditd ---- server
@case(limit=60, alone=True)
def cut_off_in_mid_flow(net):
    """A revoked certificate, and a removed token's client: the flow ends within a second; neither comes back by itself."""
    office = Office(net)
    office.issue("bob")
    office.start()
    bob, alice = Client(office), Client(office, "d")
    assert bob.enrol(certificate="bob")[0] == 200 and alice.enrol(office.invite("alice"))[0] == 200
    bob.up()
    assert reaches(office.outside, SERVER)
    flow = Sequence(office.outside, office.server, SERVER, pace=0.002)
    time.sleep(0.3)
    begin = time.monotonic()
    office.aditctl("revoke", "bob")
    revoked = time.monotonic()
    time.sleep(1.5)
    flow.stop(patience=0.3)
    last = max(moment for moment, _ in flow.arrived)
    assert begin < last < revoked + 1.0, f"it went on for {last - revoked:.2f} s"
    assert office.daemon.ctl("client", "remove", "alice")[0] == 0
    cut_off(office, alice)
    assert word(bob.enrol(certificate="bob")) == (403, "certificate_revoked")
    assert word(alice.renew()) == (403, "no_lease")


#   clients ---- gateway: aditd
@case(limit=60)
def stolen(net):
    """A key and an address that somebody has are nobody else's; a certificate of another authority is told so by TLS."""
    office = Office(net)
    office.issue("bob", "--lifetime", "1h")
    office.start()
    bob, thief = Client(office), Client(office, "d")
    assert bob.enrol(certificate="bob")[0] == 200
    # The thief has another's key pair, or another's name: by a token, and by a certificate.
    thief.keys = bob.keys
    assert word(thief.enrol(office.invite("mallory"))) == (409, "key_taken")
    office.issue("eve")
    assert word(thief.enrol(certificate="eve")) == (409, "key_taken")
    status, answer = Client(office, "e").enrol(certificate="eve")
    assert status == 200 and answer["addresses"] != bob.lease["addresses"], answer
    # One of another authority is told by TLS alone.
    code, output = office.outside.attempt(
        "openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=bob", "-days", "1",
        "-keyout", f"{office.folder}/other.key", "-out", f"{office.folder}/other.pem")
    assert code == 0, output
    code, output = office.outside.attempt(
        "curl", "-sS", "--cacert", f"{office.pki}/ca.pem", "--resolve", f"{NAME}:{API}:192.0.2.1", "--cert",
        f"{office.folder}/other.pem", "--key", f"{office.folder}/other.key", "-d", "{}", f"https://{NAME}:{API}/v1/enrol")
    assert code and "alert" in output, f"exit {code}: {output}"
    until(lambda: lost(office, "handshake") == 1, 10, "a handshake that was none")
