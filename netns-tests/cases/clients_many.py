"""Many clients at once."""
from cases.clients_access import SERVER
from lab.case import case
from lab.clients import Office
from lab.swarm import REPLY, Swarm
from lab.wait import until


#   200 clients in one program ---- gateway: aditd ---- server
@case(limit=90, count=(200,))
def at_once(net, count):
    """Enrolled concurrently by tokens, each has an address of its own, a session, and the server; none reaches another."""
    office = Office(net).start()
    swarm = Swarm(office, count)
    tokens = swarm.invite()
    assert swarm.enrol(tokens) == [200] * count
    assert set(swarm.enrol(tokens[:5])) == {403}, "each token counted once"
    members = swarm.members
    assert len({member.address for member in members}) == count
    assert all(member.session() for member in members)
    for number, member in enumerate(members):
        member.ask(SERVER, number)
        assert member.answer() == (SERVER, REPLY, number), member.address
    tunnel = lambda: office.daemon.status()["wireguard"][office.tunnel]
    before = tunnel()
    shaken = [peer for peer in before["peers"] if peer["latest_handshake"] and peer["name"].startswith("c")]
    assert len(shaken) == count
    for number, member in enumerate(members):
        member.ask(members[number - 1].address, number)
    dropped = lambda: tunnel()["drops"].get("access", 0) - before["drops"].get("access", 0)
    until(lambda: dropped() >= count, 15, "a drop for each")
    assert dropped() == count
    assert not [member.address for member in members if member.answer(0.001)], "something came from another client"
    clients = office.daemon.status()["clients"][office.tunnel]
    assert (clients["leases"], clients["granted"], clients["refusals"]) == (count, count, {"used_token": 5}), clients
