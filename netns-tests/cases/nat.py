"""Address translation between the sites: mappings that last, end, and change under a flow."""
import time

from lab.case import case
from lab.nat import Nat
from lab.site import wired
from lab.traffic import Sequence, ping
from lab.wait import until


def hidden(net, nat, right="adit", family="v4"):
    """A pair of which the left site is behind the NAT, not started."""
    pair = wired(net, right=right, family=family, middle=nat.between)
    nat.hide(pair.left)
    return pair


def port(endpoint):
    return int(endpoint.rpartition(":")[2])


#   a: adit, 10.1.0.2 ---- nat, 192.0.2.254 ---- b: peer
@case(alone=True, peer=("adit", "wireguard-go"))
def keepalive_holds_the_mapping(net, peer):
    """Behind a NAT that forgets after 2 s, a persistent keepalive of 1 s keeps the site within reach of its peer."""
    nat = Nat(seconds=2)
    pair = hidden(net, nat, right=peer)
    pair.start(first=pair.left)
    a, b = pair.left, pair.right
    a.device.set("peer", b.keys.public, "persistent-keepalive", 1)
    assert ping(a.host, b.inner()) == 3 and ping(b.host, a.inner()) == 3
    seen = b.peer_state(a).endpoint
    assert seen.startswith("192.0.2.254:"), f"not by the NAT: {seen}"
    time.sleep(3.5)
    assert ping(b.host, a.inner()) == 3, "the mapping is gone"
    assert b.peer_state(a).endpoint == seen, "another mapping"


#   a: adit, 10.1.0.2 ---- nat, 192.0.2.254 ---- b: adit
@case()
def mapping_ends(net):
    """Without keepalives the mapping ends; the next packet from inside makes another, and the peer follows it."""
    nat = Nat(seconds=1)
    pair = hidden(net, nat)
    pair.start(first=pair.left)
    a, b = pair.left, pair.right
    assert ping(a.host, b.inner()) == 3
    old, handshake = b.peer_state(a).endpoint, b.peer_state(a).handshake
    time.sleep(2.5)
    assert ping(b.host, a.inner(), wait=0.3) == 0, "the mapping did not end: the test proves nothing"
    # The new one ends soon as well: b has to be quick.
    until(lambda: ping(a.host, b.inner()) == 3 and ping(b.host, a.inner(), wait=0.5) == 3, 15, "echoes both ways")
    assert b.peer_state(a).endpoint != old, "the old mapping was used"
    assert b.peer_state(a).handshake == handshake, "a new handshake was made"


#   a: adit, 10.1.0.2 ---- nat, forgets everything ---- b: adit
@case(alone=True, family=("v4", "v6"))
def rebinding(net, family):
    """A NAT gives a flow another port three times: the peer follows, and hardly a packet is lost either way."""
    nat = Nat()
    pair = hidden(net, nat, family=family)
    pair.start(first=pair.left)
    a, b = pair.left, pair.right
    assert ping(a.host, b.inner()) == 3
    handshake = b.peer_state(a).handshake
    up, down = Sequence(a.host, b.host, b.inner(), 7000), Sequence(b.host, a.host, a.inner(), 7001)
    ports = [port(b.peer_state(a).endpoint)]
    for _ in range(3):
        time.sleep(0.4)
        nat.forget()
        ports.append(until(lambda: (new := port(b.peer_state(a).endpoint)) != ports[-1] and new, 10, "another port"))
    time.sleep(0.4)
    got = up.stop(), down.stop()
    assert len(set(ports)) == 4, f"ports {ports}: the NAT did not change them, or b did not follow"
    seen = b.peer_state(a).endpoint
    assert seen.startswith("192.0.2.254:" if family == "v4" else "[2001:db8::fe]:"), f"not by the NAT: {seen}"
    assert b.peer_state(a).handshake == handshake, "a new handshake was made"
    for number, numbers in zip((up.sent, down.sent), got):
        assert len(numbers) > 0.93 * number and number - numbers[-1] < 20, f"{len(numbers)} of {number} arrived"


#   a: adit, 10.1.0.2 ---- nat, another port each 0.5 s ---- b: adit
@case()
def tcp_through_rebinding(net):
    """TCP in both directions goes on while the NAT changes the port, and then its own address."""
    nat = Nat()
    pair = hidden(net, nat)
    pair.start(first=pair.left)
    a, b = pair.left, pair.right
    assert ping(a.host, b.inner()) == 3
    server = b.host.start("iperf3", "-s", "-1", "--forceflush")
    server.wait_output("Server listening", 15)
    client = a.host.start("iperf3", "-c", b.inner(), "-t", 3, "--bidir", "--forceflush")
    for _ in range(3):
        time.sleep(0.5)
        nat.forget()
    nat.host.address("outside", "192.0.2.253/24")
    nat.host.ip("address del 192.0.2.254/24 dev outside")
    nat.forget()
    assert client.wait(20) == 0, client.output()
    assert b.peer_state(a).endpoint.startswith("192.0.2.253:"), b.peer_state(a).endpoint
