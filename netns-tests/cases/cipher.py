"""AES-256-GCM in place of WireGuard's cipher: between two adits it is a tunnel like any other, with others it is none."""
import re

from lab.capture import Capture
from lab.case import SLOW, case
from lab.daemon import gateway, gateways, plain
from lab.site import PORT, wired
from lab.traffic import Marker, Sequence, heard, iperf3, ping, reaches
from lab.wait import quiet, until
from lab.wireguard import ADIT, PEERS, PROGRAMS, keys, preshared_key, program

GCM, CHACHA = "aes-256-gcm", "chacha20-poly1305"
ALLOWED = f'"{CHACHA}" or "{GCM}"'
PROGRAMS["adit-gcm"] = [ADIT, "-f", "--cipher", GCM]


def set_cipher(daemon, cipher):
    for table in daemon.config["wireguard"].values():
        table["cipher"] = cipher


def told(daemon):
    """What the daemon tells of its only tunnel."""
    tunnel, = daemon.status()["wireguard"].values()
    return tunnel


def carries(pair):
    """Echoes, TCP and UDP, in both IPs, both ways."""
    a, b = pair.left, pair.right
    for family in ("v4", "v6"):
        assert ping(a.host, b.inner(family)) == 3 and ping(b.host, a.inner(family)) == 3, f"no echo over {family}"
        for reverse in (False, True):
            flow = iperf3(a.host, b.host, b.inner(family), reverse=reverse, size="8M")
            assert flow.bytes >= 1 << 20, f"TCP over {family}, reverse {reverse}: {flow.bytes} bytes"
            flow = iperf3(a.host, b.host, b.inner(family), udp=True, reverse=reverse, size="100K", rate="20M")
            assert flow.packets - flow.lost >= 0.9 * flow.packets > 0, f"UDP over {family}, reverse {reverse}: {flow}"


#   a: aditd ---- wire ---- b: aditd, both with AES-256-GCM
@case(family=("v4", "v6"), limit=60)
def tunnel(net, family):
    """With a preshared key it carries TCP and UDP in both IPs, through new keys; wg shows what it always does."""
    pair = wired(net, family=family, psk=True, offload=False)
    a, b = gateways(pair)
    for daemon in (a, b):
        set_cipher(daemon, GCM)
    wire = Capture(a.host, "wire")
    b.start()
    a.start()
    marker = Marker("sealed by another cipher")
    assert reaches(a.host, pair.right.inner())
    marker.send(a.host, pair.right.inner())
    carries(pair)
    wire.stop()
    assert not wire.holds(marker.bytes[:16]), "the marker crossed the wire"
    lengths = {kind: {len(udp.payload) for udp in wire.datagrams(PORT) if udp.payload[0] == kind} for kind in (1, 2)}
    assert lengths == {1: {148}, 2: {92}}, lengths

    before = {daemon: told(daemon)["handshakes"] for daemon in (a, b)}
    key = preshared_key()
    for site in (pair.left, pair.right):
        other = pair.other(site).keys.public
        site.device.set("peer", other, "preshared-key", "/dev/stdin", data=key)
    carries(pair)
    for daemon, site in ((a, pair.left), (b, pair.right)):
        tunnel = told(daemon)
        assert tunnel["handshakes"] > before[daemon] and tunnel["cipher"] == GCM and tunnel["other_cipher"] is None, tunnel
        assert tunnel["warnings"] == [] and not {"auth", "bad_mac1", "other_cipher"} & set(tunnel["drops"]), tunnel
        assert "tun_tso" in tunnel["offloads"] and "wide_cipher" not in tunnel["offloads"], "that is for ChaCha20-Poly1305"
        code, text = daemon.ctl("status")
        assert code == 0 and f"  cipher: {GCM}\n" in text, text
        # The protocol between wg and a device knows no cipher.
        code, shown = site.device.attempt("show", site.device.name)
        assert code == 0 and "cipher" not in shown and "handshake" in shown, shown
        assert "cipher" not in site.device.attempt("showconf", site.device.name)[1]


#   a: adit-wireguard --cipher aes-256-gcm ---- wire ---- b: adit-wireguard, ADIT_CIPHER=aes-256-gcm
@case()
def command_line(net):
    """adit-wireguard takes the cipher from its command line or its environment, also in the background."""
    pair = wired(net, left="adit-gcm", psk=True)
    pair.right.device.environment["ADIT_CIPHER"] = GCM
    pair.start()
    carries(pair)
    name = net.device("more")
    code, output = pair.left.host.attempt(program("adit")[0], "--cipher", GCM, name, timeout=10)
    assert code == 0, f"exit {code}: {output}"
    code, output = pair.left.host.attempt(program("adit")[0], "-f", "--cipher", "aes-128-gcm", net.device("none"))
    assert code == 2 and f"expected {CHACHA} or {GCM}" in output, f"exit {code}: {output}"


#   a: adit-wireguard --cipher aes-256-gcm ---- wire ---- b: the same
@case(limit=200, group=SLOW)
def rekey_under_load(net):
    """Under load the keys are changed after 120 s, and no numbered packet is lost over it."""
    pair = wired(net, left="adit-gcm", right="adit-gcm", psk=True).start()
    a, b = pair.left, pair.right
    assert ping(a.host, b.inner()) == 3
    first = a.peer_state(b).handshake
    both = [Sequence(a.host, b.host, b.inner(), 7000), Sequence(b.host, a.host, a.inner(), 7001)]
    iperf3(a.host, b.host, b.inner(), udp=True, rate="20M", seconds=130)
    results = [(sequence.sent, len(set(sequence.stop()))) for sequence in both]
    assert a.peer_state(b).handshake > first + 100, "no new handshake"
    for sent, arrived in results:
        assert arrived == sent > 10_000, f"{arrived} of {sent} arrived"


#   a: aditd with AES-256-GCM ---- wire ---- b: the peer, with WireGuard's cipher
@case(peer=PEERS, first=("adit-first", "peer-first"))
def refused(net, peer, first):
    """No other implementation, and no adit with the other cipher, gets a packet through; who called is counted and named."""
    pair = wired(net, right=peer)
    a = gateway(pair, pair.left)
    set_cipher(a, GCM)
    if peer == "adit":
        pair.right.device.environment["LOG_LEVEL"] = "info"
    plain(pair, pair.right)
    a.start()
    wire = Capture(a.host, "wire")
    before = heard(a.host), heard(pair.right.host)
    sites = (pair.left, pair.right) if first == "adit-first" else (pair.right, pair.left)
    marker = Marker("not for anybody")
    for site in sites:
        marker.send(site.host, pair.other(site).inner(), count=5)
        assert ping(site.host, pair.other(site).inner(), wait=0.5) == 0, "an echo was answered"
    tunnel = until(lambda: (now := told(a))["other_cipher"] and now, 15, "who called, in the status")
    kinds = lambda: {(udp.source, udp.payload[0]) for udp in wire.datagrams(PORT)}
    until(lambda: len(kinds()) > 1, 10, "an initiation of each")
    wire.stop()
    assert kinds() == {(site.outer(), 1) for site in sites}, f"more than initiations, or none: {kinds()}"
    assert not wire.holds(marker.bytes[:16]), "the marker was seen"
    assert (heard(a.host), heard(pair.right.host)) == before, "something came out of a device"

    words = f"somebody at {pair.right.endpoint()} speaks {CHACHA}; this tunnel is set to {GCM}"
    assert words in tunnel["warnings"] and tunnel["drops"]["other_cipher"] >= 1, tunnel
    assert "bad_mac1" not in tunnel["drops"] and tunnel["handshakes"] == 0, tunnel
    code, text = a.ctl("status")
    assert code == 0 and text.startswith(f"WARNING: {pair.left.device.name}: {words}\n"), text
    assert a.process.output().count(words) == 1, "in the log, and once"
    assert pair.left.peer_state(pair.right).handshake == 0
    if peer == "adit":
        assert pair.right.device.drops().get("other_cipher"), "it can tell, too"
        assert f"speaks {GCM}; this tunnel is set to {CHACHA}" in pair.right.device.process.output()


#   a: aditd with AES-256-GCM ---- wire ---- b: adit, with WireGuard's cipher and another key of ours
@case()
def strangers(net):
    """Who does not know our key is no peer with another cipher: it is counted as ever, and nothing is told."""
    pair = wired(net)
    a = gateway(pair, pair.left)
    set_cipher(a, GCM)
    pair.right.start()
    wrong = pair.left.peer_conf(endpoint=pair.left.endpoint()).replace(pair.left.keys.public, pair.right.keys.public)
    stranger = pair.left.device.host.run("wg", "genkey").strip()
    public = pair.left.device.host.run("wg", "pubkey", data=stranger).strip()
    pair.right.device.setconf(pair.right.interface_conf() + wrong.replace(pair.right.keys.public, public))
    a.start()
    assert ping(pair.right.host, pair.left.inner(), wait=0.3) == 0
    tunnel = until(lambda: (now := told(a))["drops"].get("bad_mac1") and now, 15, "the drop")
    assert "other_cipher" not in tunnel["drops"] and tunnel["other_cipher"] is None and tunnel["warnings"] == [], tunnel


#   a: aditd; numbered datagrams both ways ---- wire ---- b: aditd
@case(limit=90)
def changed(net):
    """A reload changes the cipher: nothing passes until the other side follows, then it goes on by itself; and back."""
    pair = wired(net, offload=False)
    a, b = gateways(pair)
    b.start()
    a.start()
    assert reaches(a.host, pair.right.inner())
    both = [Sequence(a.host, b.host, pair.right.inner(), 7000), Sequence(b.host, a.host, pair.left.inner(), 7001)]
    marker = Marker("never in clear")
    wire = Capture(a.host, "wire")
    for cipher, other in ((GCM, CHACHA), (CHACHA, GCM)):
        until(lambda: all(sequence.arrived for sequence in both), 10, "datagrams both ways")
        set_cipher(a, cipher)
        assert f"changed {pair.left.device.name}" in a.reload()
        # What was on its way still arrives.
        quiet(lambda: [len(sequence.arrived) for sequence in both], 1, 5, "what passes between two ciphers")
        for sequence in both:
            sequence.arrived.clear()
        marker.send(a.host, pair.right.inner(), count=3)
        # a knows as soon as b wants new keys, which may take it 15 s: until then it goes on with those that it has.
        words = f"somebody at {pair.left.endpoint()} speaks {cipher}; this tunnel is set to {other}"
        tunnel = until(lambda: (now := told(b))["other_cipher"] and now, 15, f"the warning: {words}")
        assert words in tunnel["warnings"] and tunnel["cipher"] == other, tunnel
        set_cipher(b, cipher)
        assert f"changed {pair.right.device.name}" in b.reload()
        until(lambda: all(sequence.arrived for sequence in both), 15, "datagrams both ways after the second reload")
        for daemon in (a, b):
            tunnel = told(daemon)
            assert tunnel["cipher"] == cipher and tunnel["other_cipher"] is None and tunnel["warnings"] == [], tunnel
    wire.stop()
    for sequence in both:
        sequence.stop()
    assert not wire.holds(marker.bytes[:16]), "a packet that waited was seen on the wire"


#   a: aditd
@case()
def mistakes(net):
    """A cipher that there is not ends the start with code 2, and is refused by a reload; both say what there is."""
    pair = wired(net)
    a = gateway(pair, pair.left)
    for wrong in ("aes-128-gcm", "AES-256-GCM", ""):
        set_cipher(a, wrong)
        for words in ((), ("--check",)):
            code, output = a.attempt(*words)
            assert code == 2, f"exit {code}: {output}"
            place = rf"aditd\.toml:\d+:\d+: wireguard\.{pair.left.device.name}\.cipher: "
            assert re.search(place + f'found "{wrong}"; allowed: {ALLOWED}', output), output
    set_cipher(a, GCM)
    a.start()
    set_cipher(a, "none")
    assert f'found "none"; allowed: {ALLOWED}' in a.refuses()
    assert told(a)["cipher"] == GCM, "what was in use still is"


#   a: aditd; echoes ---- wire ---- b: aditd
@case()
def changed_with_the_keys(net):
    """A reload changes cipher, private key and preshared key at once; when the other side follows, it goes on with all three."""
    pair = wired(net, psk=True)
    a, b = gateways(pair)
    b.start()
    a.start()
    assert reaches(a.host, pair.right.inner())
    new, psk = keys(), preshared_key()
    left, right = pair.left.device.name, pair.right.device.name
    a.secret(f"{left}.key", new.private)
    a.secret(f"{left}-other.psk", psk)
    set_cipher(a, GCM)
    assert f"changed {left}" in a.reload()
    assert told(a)["public_key"] == new.public
    marker = Marker("under no key that both have")
    wire = Capture(a.host, "wire")
    for daemon, site in ((a, pair.left), (b, pair.right)):
        marker.send(daemon.host, pair.other(site).inner(), count=3)
        assert ping(daemon.host, pair.other(site).inner(), wait=0.5) == 0, "an echo between two ciphers and keys"
    b.config["wireguard"][right]["peer"]["other"]["public_key"] = new.public
    b.secret(f"{right}-other.psk", psk)
    set_cipher(b, GCM)
    assert f"changed {right}" in b.reload()
    assert reaches(a.host, pair.right.inner(), 15) and reaches(b.host, pair.left.inner())
    wire.stop()
    assert wire.datagrams(PORT) and not wire.holds(marker.bytes[:16]), "the marker was seen"
    for daemon in (a, b):
        assert told(daemon)["cipher"] == GCM and told(daemon)["warnings"] == [], told(daemon)
    shown = pair.right.device.attempt("show", right, "peers")[1]
    assert new.public in shown and pair.left.keys.public not in shown, shown
