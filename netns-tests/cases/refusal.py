"""Keys that do not match: nothing passes, and the counters say so."""
from lab.capture import Capture
from lab.case import case
from lab.site import PORT, wired
from lab.traffic import Marker, heard, ping
from lab.wait import until
from lab.wireguard import PEERS, keys, preshared_key


#   a: adit ---- wire ---- b: peer
@case(peer=PEERS, wrong=("psk", "private-key", "public-key"), first=("adit-first", "peer-first"))
def wrong_key(net, peer, wrong, first):
    """With a wrong key there is no handshake in either role, and no byte of the inner packets leaves or arrives."""
    pair = wired(net, right=peer, psk=True)
    first = pair.left if first == "adit-first" else pair.right
    second = pair.other(first)
    pair.start(first=first)
    wire = Capture(pair.left.host, "wire")
    before = heard(second.host)
    if wrong == "psk":
        pair.left.device.set("peer", pair.right.keys.public, "preshared-key", "/dev/stdin", data=preshared_key())
    elif wrong == "private-key":
        pair.left.device.set("private-key", "/dev/stdin", data=keys().private)
    else:
        # The initiator looks for somebody who is not there.
        stranger = keys().public
        first.device.set("peer", second.keys.public, "remove")
        first.device.set("peer", stranger, "endpoint", second.endpoint(), "allowed-ips", second.allowed_ips())
    marker = Marker("not for anybody")
    marker.send(first.host, second.inner(), count=5)
    assert ping(first.host, second.inner(), wait=0.5) == 0, "an echo was answered"
    until(lambda: any(udp.payload[:1] == b"\1" for udp in wire.datagrams(PORT)), 10, "an initiation")
    wire.stop()
    assert not any(udp.payload[:1] == b"\4" for udp in wire.datagrams(PORT)), "data was sent"
    assert not wire.holds(marker.bytes[:16]), "the marker was seen"
    assert heard(second.host) == before, "something came out of the device"
    for site in (pair.left, pair.right):
        # gotatun tells of a handshake as soon as it has answered one. Only the PSK can still be wrong then.
        if site is second and (peer, wrong) == ("gotatun-cli", "psk"):
            continue
        for peer_state in site.device.state().peers.values():
            assert peer_state.handshake == 0, f"{site.host.name} tells of a handshake"


#   a: adit (no private key) ---- wire ---- b: adit
@case()
def no_key(net):
    """A device without a private key neither sends nor answers, and works as soon as it has one."""
    pair = wired(net).start()
    peer = pair.right.peer_conf(endpoint=pair.right.endpoint())
    pair.left.device.setconf(f"[Interface]\nListenPort = {PORT}\n{peer}")
    # setconf leaves a private key that it does not name; all zeros takes it away.
    pair.left.device.set("private-key", "/dev/null")
    assert pair.left.device.state().private_key == "(none)"
    wire = Capture(pair.left.host, "wire")
    assert ping(pair.left.host, pair.right.inner(), wait=0.3) == 0
    assert ping(pair.right.host, pair.left.inner(), wait=0.3) == 0
    wire.stop()
    sent = [udp.payload[:4].hex() for udp in wire.datagrams(PORT) if udp.source == pair.left.outer()]
    assert not sent, f"it sent messages of type {sent}"
    pair.configure(pair.left)
    before = heard(pair.right.host)
    assert ping(pair.left.host, pair.right.inner()) == 3
    Marker("for anybody").send(pair.left.host, pair.right.inner(), count=5)
    until(lambda: heard(pair.right.host) == before + 8, 10, "8 packets that count as heard")
