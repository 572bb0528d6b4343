"""Clients get leases from the gateway, reach what they may, and are put out."""
import ssl
import time

from lab.case import case
from lab.clients import Client, Office
from lab.process import run
from lab.traffic import reaches
from lab.wait import until

SERVER, ELSEWHERE = "10.20.0.7", "10.21.0.7"


def peers(office):
    """The peers that the daemon tells of, by name."""
    return {peer["name"]: peer for peer in office.daemon.status()["wireguard"][office.tunnel]["peers"]}


def word(answer):
    status, body = answer
    return status, body["error"]


def cut_off(office, client, seconds=10):
    """Waits until a client is no peer any more."""
    shown = ("wg", "show", office.tunnel, "peers")
    until(lambda: client.keys.public not in office.host.run(*shown), seconds, "the end of a peer")


#   client, by curl and wg ---- gateway: aditd ---- server
@case(limit=60)
def token(net):
    """A token gets a lease once; the client reaches the listed network and no other, and is out once it is removed."""
    office = Office(net).start()
    client, ticket = Client(office), office.invite("alice")
    status, answer = client.enrol(ticket)
    assert status == 200, answer
    assert answer["identity"] == "alice" and answer["routes"] == ["10.20.0.0/24"], answer
    assert word(client.enrol(ticket)) == (403, "used_token")
    client.up()
    assert reaches(office.outside, SERVER)
    peer = peers(office)["alice"]
    assert peer["owner"] == "lease" and peer["preshared_key"] and peer["allowed_ips"] == [f"{client.address}/32"], peer
    # Neither a reload nor wg takes it away.
    office.daemon.reload()
    office.daemon.config["wireguard"][office.tunnel]["mtu"] = 1400
    office.daemon.reload()
    interface = f"[Interface]\nPrivateKey = {office.keys.private}\nListenPort = 51820\n"
    office.host.run("wg", "syncconf", office.tunnel, "/dev/stdin", data=interface)
    there = peers(office)
    assert "alice" in there and reaches(office.outside, SERVER), there
    # The gateway routes to it, but a client may not.
    assert not reaches(office.outside, ELSEWHERE, 1)
    drops = office.daemon.status()["wireguard"][office.tunnel]["drops"]
    assert drops.get("access", 0) > 0, drops
    # A renewal gives another preshared key, and needs the last secret.
    before = client.lease["preshared_key"]
    status, answer = client.renew()
    assert status == 200 and answer["preshared_key"] != before, answer
    client.device.setconf(client.configuration())
    assert reaches(office.outside, SERVER)
    code, output = office.daemon.ctl("client", "list")
    assert code == 0 and "alice" in output and client.keys.public in output, output
    code, output = office.daemon.ctl("client", "remove", "alice")
    assert code == 0, output
    cut_off(office, client)
    assert not reaches(office.outside, SERVER, 1)
    assert word(client.renew()) == (403, "no_lease")
    code, output = office.daemon.ctl("client", "remove", "alice")
    assert code == 1 and "no such client" in output, output
    done = [line["what"] for line in office.daemon.audit() if line["result"] == "ok"]
    assert "client_invite" in done and "client_remove" in done, done


#   client, by curl and wg ---- gateway: aditd ---- server
@case(limit=60, alone=True)
def certificate(net):
    """A certificate gets a lease that ends with it; revoking it cuts the client off within a second."""
    office = Office(net, lease=86_400)
    office.issue("bob", "--lifetime", "1h")
    office.start()
    client = Client(office)
    status, answer = client.enrol(certificate="bob")
    assert status == 200, answer
    assert answer["identity"] == "bob" and answer["renewal"] is None, answer
    end = run(["openssl", "x509", "-in", f"{office.folder}/bob.pem", "-noout", "-enddate"])[1].strip().partition("=")[2]
    # To the last second that the certificate is valid in.
    assert answer["until"] == ssl.cert_time_to_seconds(end) + 1, (answer, end)
    client.up()
    assert reaches(office.outside, SERVER)
    assert word(Client(office, "d").enrol()) == (401, "no_proof")
    office.aditctl("revoke", "bob")
    cut_off(office, client, 1)
    assert not reaches(office.outside, SERVER, 1)
    assert word(client.enrol(certificate="bob")) == (403, "certificate_revoked")


#   two clients ---- gateway: aditd ---- server
@case(limit=60)
def between(net):
    """One client does not reach another until the configuration lets it."""
    office = Office(net).start()
    one, two = Client(office, "c"), Client(office, "d")
    assert one.enrol(office.invite("one"))[0] == 200 and two.enrol(office.invite("two"))[0] == 200
    one.up()
    # The other client is where the gateway is asked for it: its address is on another host, so only the drop tells.
    assert reaches(office.outside, SERVER)
    assert not reaches(office.outside, two.address, 1)
    drops = lambda: office.daemon.status()["wireguard"][office.tunnel]["drops"].get("access", 0)
    until(drops, 10, "the drops")
    office.table["between_clients"] = True
    assert "changed clients of" in office.daemon.reload()
    # What was on its way until then was dropped or not; what is sent from now on is not.
    before, heard = drops(), peers(office)["one"]["received_bytes"]
    assert not reaches(office.outside, two.address, 1), "nobody is there to answer"
    until(lambda: peers(office)["one"]["received_bytes"] >= heard + 3 * 112, 10, "the echoes")
    assert drops() == before


#   client ---- gateway: aditd, started twice ---- server
@case(limit=90, alone=True)
def ends(net):
    """A lease outlives a restart of the daemon, and ends within a second of its time."""
    office = Office(net, lease=60).start()
    client = Client(office)
    begin = time.time()
    code, output = office.daemon.ctl("client", "profile", "phone", "--public-key", client.keys.public, "--lease", "6s")
    given = time.time()
    assert code == 0 and "[Interface]" in output and "PresharedKey" in output, output
    office.daemon.kill()
    office.daemon.start()
    # When it was asked for last while it was there.
    there, asked = None, time.time()
    while client.keys.public in office.host.run("wg", "show", office.tunnel, "peers"):
        there = asked
        time.sleep(0.1)
        asked = time.time()
    assert there, "it did not outlive the restart"
    gone, told = time.time() - begin, there - given
    assert gone > 5 and told < 7.5, f"gone {gone:.1f} s after it was asked for, there {told:.1f} s after it was given"
    assert office.daemon.status()["clients"][office.tunnel]["expired"] == 1


#   somebody with curl ---- gateway: aditd
@case(limit=60)
def refusals(net):
    """Guessing, oversized bodies, TLS 1.2, and what is no request are refused, each in words."""
    office = Office(net, pool=["10.9.0.2-10.9.0.3"]).start()
    client = Client(office)
    key = client.keys.public
    assert word(office.ask("enrol", None, data="{")) == (400, "malformed")
    assert word(office.ask("enrol", None, data="x" * 5000)) == (413, "too_large")
    assert word(office.ask("other", {})) == (404, "no_such_call")
    code, output = office.outside.attempt("curl", "-sS", "--tls-max", "1.2", "--insecure", "https://192.0.2.1:8443/v1/enrol")
    assert code == 35, f"exit {code}: {output}"
    for name in ("one", "two"):
        assert Client(office, name).enrol(office.invite(name))[0] == 200
    assert word(client.enrol(office.invite("three"))) == (503, "full")
    taken = Client(office)
    taken.keys = type(taken.keys)(office.keys.private, office.keys.public)
    assert word(taken.enrol(office.invite("four"))) == (409, "key_reserved")
    answers = [word(office.ask("enrol", {"public_key": key, "token": "adit-" + f"{n:064x}"})) for n in range(12)]
    assert (403, "unknown_token") in answers and answers[-1] == (429, "too_many"), answers
