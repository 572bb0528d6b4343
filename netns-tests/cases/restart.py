"""One end goes away and comes back: traffic resumes within the time the protocol promises."""
from lab.case import case
from lab.site import wired
from lab.traffic import ping, reaches
from lab.wireguard import PEERS


def restart(site, pair, knows_endpoint=True, keepalive=None, crash=False):
    if crash:
        site.device.crash()
    else:
        site.device.stop()
    site.start()
    pair.configure(site, knows_endpoint, keepalive)


#   a: adit (restarted) ---- wire ---- b: peer
@case(peer=PEERS, how=("stop", "crash"))
def adit_comes_back(net, peer, how):
    """A restarted adit starts a new handshake with its first packet; its peer accepts the new session at once."""
    pair = wired(net, right=peer).start()
    assert ping(pair.left.host, pair.right.inner()) == 3
    restart(pair.left, pair, crash=how == "crash")
    # The next try would be 5 s later.
    assert reaches(pair.left.host, pair.right.inner(), 4.5) is not None, "no traffic 4.5 s after the restart"
    assert ping(pair.right.host, pair.left.inner()) == 3


#   a: adit ---- wire ---- b: peer (restarted)
@case(peer=PEERS)
def peer_comes_back(net, peer):
    """adit accepts the handshake of a peer that lost its session, and uses the new one."""
    pair = wired(net, right=peer).start()
    assert ping(pair.left.host, pair.right.inner()) == 3
    restart(pair.right, pair, keepalive=1)
    assert reaches(pair.left.host, pair.right.inner(), 12) is not None, "no traffic after the peer's restart"


#   a: adit ---- wire ---- b: wireguard-go (restarted, knows no endpoint: it can only answer)
@case(limit=60)
def silence_is_noticed(net):
    """adit starts a handshake by itself when its packets get no answer for 15 s (KEEPALIVE + REKEY_TIMEOUT)."""
    pair = wired(net, right="wireguard-go").start(first=None)
    assert ping(pair.left.host, pair.right.inner()) == 3
    restart(pair.right, pair, knows_endpoint=False)
    took = reaches(pair.left.host, pair.right.inner(), 25)
    assert took is not None, "no new handshake within 25 s"
    assert took > 5, f"traffic after {took:.1f} s: the peer cannot have lost its session"


#   a: adit ---- wire (cut for a while) ---- b: adit
@case()
def wire_comes_back(net):
    """A wire that was down is used again as soon as it is up, with the same session."""
    pair = wired(net).start()
    assert ping(pair.left.host, pair.right.inner()) == 3
    before = pair.left.peer_state(pair.right).handshake
    pair.left.host.ip("link set wire down")
    assert ping(pair.left.host, pair.right.inner(), wait=0.3) == 0
    pair.left.host.ip("link set wire up")
    assert reaches(pair.left.host, pair.right.inner()) is not None
    assert pair.left.peer_state(pair.right).handshake == before, "a new handshake was made"
