"""Two ends that do not agree: no frame passes, and the status of both says why.

    x: host [lan] ---- a: bridge, msec0 [wire] ==== switch ==== [wire] b: msec0, bridge ---- [lan] y: host
"""
from lab.case import case
from lab.link import NAME, Link
from lab.link_switch import Switch
from lab.traffic import ping
from lab.wait import until
from lab.wireguard import keys

CARRIERS = ("raw", "udp")


def told(end):
    return end.daemon.status()["macsec"][NAME]


def nothing_passes(link, watch):
    """Neither an echo nor a frame with MACsec."""
    assert ping(link.x, "10.8.0.2", wait=0.5) == 0 and ping(link.y, "10.8.0.1", wait=0.5) == 0
    assert not watch.caught_up().protected(), "a frame is sent although the ends do not agree"


@case(carrier=CARRIERS)
def equal_scis(net, carrier):
    """Two ends with the same SCI are told so in clear words, and send nothing: their nonces would be the same."""
    switch = Switch()
    link = Link(net, carrier, middle=switch.between, mac="02:00:5e:10:00:01")
    watch = switch.watch()
    link.start(*link.ends)
    until(lambda: any(told(end)["key_agreement"]["disagreement"] for end in link.ends), 20, "a disagreement")
    words = " ".join(told(end)["key_agreement"]["disagreement"] or "" for end in link.ends)
    assert "SCI" in words, words
    nothing_passes(link, watch)


@case(carrier=CARRIERS)
def other_suite(net, carrier):
    """Two ends with different cipher suites are told which."""
    switch = Switch()
    link = Link(net, carrier, middle=switch.between)
    watch = switch.watch()
    link.b.table["cipher"] = "gcm-aes-128"
    link.start(*link.ends)
    until(lambda: any(told(end)["key_agreement"]["disagreement"] for end in link.ends), 20, "a disagreement")
    words = " ".join(told(end)["key_agreement"]["disagreement"] or "" for end in link.ends)
    assert "cipher" in words or "suite" in words, words
    nothing_passes(link, watch)
    link.b.table["cipher"] = "gcm-aes-xpn-256"
    link.b.daemon.reload()
    link.fit()
    link.both_ways(15)


@case(carrier=CARRIERS, wrong=("peer", "psk"))
def wrong_key(net, carrier, wrong):
    """With a wrong public or preshared key at one end there are no keys, and each end goes on trying."""
    switch = Switch()
    link = Link(net, carrier, middle=switch.between)
    watch = switch.watch()
    if wrong == "peer":
        link.b.table["peer_public_key"] = keys().public
    else:
        link.b.table["preshared_key_file"] = link.b.daemon.secret("other.psk", keys().private)
    link.start(*link.ends)
    until(lambda: (told(link.a)["key_agreement"]["trying_for"] or 0) > 2, 20, "an end that goes on trying")
    nothing_passes(link, watch)
    assert all(told(end)["key_agreement"]["handshakes"] == 0 for end in link.ends)


@case()
def link_is_missing(net):
    """Without the Ethernet link of its file the daemon does not start, and says which one it wants."""
    link = Link(net)
    link.a.host.ip("link set wire down")
    link.a.host.ip("link set wire name elsewhere")
    code, output = link.a.daemon.attempt()
    assert code == 1 and "wire: there is no such link" in output, f"exit {code}: {output}"
    link.a.host.ip("link set elsewhere name wire")
    link.a.host.ip("link set wire up")
    link.start()
