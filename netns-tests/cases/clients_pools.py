"""Addresses of both families for clients, and what is told once there are none."""
from cases.clients_access import ELSEWHERE, SERVER, word
from lab.case import case
from lab.clients import Client, Office
from lab.traffic import reaches
from lab.wait import until

SERVER_V6, ELSEWHERE_V6 = "fd20::7", "fd21::7"


#   client ---- gateway: aditd, pools of both families ---- server
@case(limit=60)
def both_families(net):
    """A lease has an address of each family; the rules of access are kept for both, also between clients."""
    office = Office(net, pool=["10.9.0.0/24", "fd09::/64"], routes=["10.20.0.0/24", "fd20::/64"]).start()
    client, other = Client(office), Client(office, "d")
    for one, name in ((client, "one"), (other, "two")):
        status, answer = one.enrol(office.invite(name))
        assert status == 200 and len(answer["addresses"]) == 2, answer
    assert client.lease["addresses"] == ["10.9.0.2", "fd09::2"] and other.lease["addresses"] == ["10.9.0.3", "fd09::3"]
    client.up()
    assert reaches(office.outside, SERVER) and reaches(office.outside, SERVER_V6)
    drops = lambda: office.daemon.status()["wireguard"][office.tunnel]["drops"].get("access", 0)
    for address in (ELSEWHERE, ELSEWHERE_V6, *other.lease["addresses"]):
        before = drops()
        assert not reaches(office.outside, address, 1), address
        until(lambda: drops() > before, 10, f"the drops for {address}")


#   client ---- gateway: aditd, two addresses
@case(limit=60)
def full(net):
    """A pool without a free address is told to who asks, to the operator and in the status; a removed client makes room."""
    office = Office(net, pool=["10.9.0.2-10.9.0.3", "fd09::/64"]).start()
    for name in ("one", "two"):
        assert Client(office, name).enrol(office.invite(name))[0] == 200
    late, ticket = Client(office), office.invite("three")
    status, answer = late.enrol(ticket)
    assert word((status, answer)) == (503, "full") and "every address" in answer["message"], answer
    code, output = office.daemon.ctl("client", "profile", "phone", "--generate-key")
    assert code == 1 and "every address" in output and "PrivateKey" not in output, output
    warnings = office.daemon.status()["clients"][office.tunnel]["warnings"]
    assert any("all 2 leases are given out" in warning for warning in warnings), warnings
    assert office.daemon.ctl("client", "remove", "one")[0] == 0
    status, answer = late.enrol(ticket)
    assert status == 200 and answer["addresses"] == ["10.9.0.2", "fd09::2"], "the invitation counts as before"
