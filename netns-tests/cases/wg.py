"""The unmodified `wg` against adit, and requests to the UAPI socket that `wg` would never send."""
import base64
import random
import socket

from lab.case import case
from lab.process import Failed
from lab.site import PORT, wired
from lab.traffic import ping, reaches
from lab.uapi import ask, hexadecimal
from lab.wireguard import Device, keys, preshared_key

EINVAL, EADDRINUSE, EPROTO = 22, 98, 71


def single(net):
    return Device(net.host("a"), "adit", net.device("wg1")).start()


#   a: adit ---- wire ---- b: adit
@case()
def show(net):
    """`wg show` in all its forms tells what was configured and what has been counted."""
    pair = wired(net, psk=True).start()
    assert ping(pair.left.host, pair.right.inner(), count=5) == 5
    name, other = pair.left.device.name, pair.right.keys.public
    text = pair.left.host.run("wg", "show", name)
    for wanted in (f"public key: {pair.left.keys.public}", f"listening port: {PORT}", f"peer: {other}",
                   "preshared key: (hidden)", f"endpoint: {pair.right.endpoint()}",
                   "allowed ips: 10.9.0.2/32, fd09::2/128", "latest handshake: ", "transfer: "):
        assert wanted in text, f"no {wanted!r} in:\n{text}"
    assert pair.left.keys.private not in text
    assert name in pair.left.host.run("wg", "show", "interfaces").split()

    def field(what):
        return pair.left.host.run("wg", "show", name, what).split()
    assert field("public-key") == [pair.left.keys.public]
    assert field("private-key") == [pair.left.keys.private]
    assert field("peers") == [other]
    assert field("preshared-keys") == [other, pair.psk]
    assert field("persistent-keepalive") == [other, "off"]
    assert field("fwmark") == ["off"]
    received, sent = map(int, field("transfer")[1:])
    assert 5 * 128 <= received <= 4000 and 5 * 128 <= sent <= 4000, f"transfer {received} {sent}"


@case()
def set_words(net):
    """Every word of `wg set` takes effect and can be taken back."""
    device, peer, psk = single(net), keys().public, preshared_key()
    device.set("private-key", "/dev/stdin", data=keys().private)
    device.set("listen-port", 4444, "fwmark", "0x1234")
    assert (device.state().port, device.state().fwmark) == (4444, "0x1234")
    device.set("fwmark", "off")
    assert device.state().fwmark == "off"
    device.set("peer", peer, "preshared-key", "/dev/stdin", "endpoint", "[2001:db8::9]:7", "persistent-keepalive", 25,
               "allowed-ips", "10.0.0.0/8,fd00::/16,0.0.0.0/0,::/0,192.0.2.77/32", data=psk)
    state = device.state().peers[peer]
    assert (state.preshared_key, state.endpoint, state.keepalive) == (psk, "[2001:db8::9]:7", "25")
    assert set(state.allowed_ips) == {"10.0.0.0/8", "fd00::/16", "0.0.0.0/0", "::/0", "192.0.2.77/32"}
    device.set("peer", peer, "preshared-key", "/dev/null", "persistent-keepalive", "off", "allowed-ips", "")
    state = device.state().peers[peer]
    assert (state.preshared_key, state.allowed_ips, state.keepalive) == ("(none)", [], "off")
    device.set("peer", peer, "remove")
    assert not device.state().peers
    device.set("peer", peer, "remove")      # removing what is not there is not an error


@case()
def masks_are_applied(net):
    """An allowed IP with host bits is kept as its network, as the kernel does."""
    device, peer = single(net), keys().public
    device.set("peer", peer, "allowed-ips", "10.1.2.3/8,fd00:1:2::3/32,10.1.2.3")
    assert set(device.state().peers[peer].allowed_ips) == {"10.0.0.0/8", "fd00:1::/32", "10.1.2.3/32"}


@case()
def conf_files(net):
    """setconf replaces, addconf adds, syncconf changes only what differs, and showconf can be fed back."""
    device, first, second, third = single(net), keys(), keys(), keys()
    section = "[Peer]\nPublicKey = {}\nAllowedIPs = {}\n".format
    head = f"[Interface]\nPrivateKey = {first.private}\nListenPort = 4444\nFwMark = 0x7\n"
    device.setconf(head + section(second.public, "10.2.0.0/16"))
    device.setconf(head + section(third.public, "10.3.0.0/16, fd03::/64") + "Endpoint = 192.0.2.3:3\n")
    assert set(device.state().peers) == {third.public}, "setconf kept a peer"
    device.host.run("wg", "addconf", device.name, "/dev/stdin", data=section(second.public, "10.2.0.0/16"))
    assert set(device.state().peers) == {second.public, third.public}, "addconf"
    text = device.host.run("wg", "showconf", device.name)
    before = device.state()
    device.setconf(text)
    assert device.state() == before, "showconf, setconf: not the same again"
    wanted = head + section(third.public, "10.3.0.0/16")
    device.host.run("wg", "syncconf", device.name, "/dev/stdin", data=wanted)
    assert set(device.state().peers) == {third.public}, "syncconf kept a peer"
    assert device.state().peers[third.public].allowed_ips == ["10.3.0.0/16"]


#   a: adit ---- wire ---- b: adit
@case()
def syncconf_keeps_sessions(net):
    """syncconf with an unchanged peer neither breaks its session nor clears its counters."""
    pair = wired(net).start()
    assert ping(pair.left.host, pair.right.inner()) == 3
    before = pair.left.peer_state(pair.right)
    text = pair.left.interface_conf() + pair.right.peer_conf(endpoint=pair.right.endpoint())
    extra = f"[Peer]\nPublicKey = {keys().public}\nAllowedIPs = 10.77.0.0/16\n"
    pair.left.host.run("wg", "syncconf", pair.left.device.name, "/dev/stdin", data=text + extra)
    after = pair.left.peer_state(pair.right)
    assert (after.handshake, after.received) == (before.handshake, before.received)
    assert len(pair.left.device.state().peers) == 2
    assert ping(pair.left.host, pair.right.inner()) == 3
    assert pair.left.peer_state(pair.right).handshake == before.handshake, "a new handshake was made"


@case()
def allowed_ip_belongs_to_one(net):
    """An allowed IP given to a second peer is taken from the first."""
    device, first, second = single(net), keys().public, keys().public
    device.set("peer", first, "allowed-ips", "10.1.0.0/16,10.2.0.0/16")
    device.set("peer", second, "allowed-ips", "10.1.0.0/16")
    peers = device.state().peers
    assert (peers[first].allowed_ips, peers[second].allowed_ips) == (["10.2.0.0/16"], ["10.1.0.0/16"])


@case()
def many_peers(net):
    """A thousand peers with two allowed IPs each are set and shown whole."""
    device = single(net)
    dice = random.Random(7)
    names = [base64.b64encode(dice.randbytes(32)).decode() for _ in range(1000)]
    text = "".join(f"[Peer]\nPublicKey = {name}\nAllowedIPs = 10.{n >> 8}.{n & 255}.0/24, fd00:{n:x}::/48\n"
                   for n, name in enumerate(names))
    device.setconf("[Interface]\n" + text)
    peers = device.state().peers
    assert set(peers) == set(names)
    assert all(len(peer.allowed_ips) == 2 for peer in peers.values())


#   a: adit ---- wire ---- b: adit
@case()
def port_in_use(net):
    """A listen port that another program holds is refused with 'address in use', and the old port stays and works."""
    pair = wired(net).start()
    a, b, device = pair.left, pair.right, pair.left.device
    assert ping(a.host, b.inner()) == 3
    handshake = a.peer_state(b).handshake
    holder = device.host.socket(socket.AF_INET, socket.SOCK_DGRAM)
    holder.bind(("0.0.0.0", 5555))
    code, output = device.attempt("set", device.name, "listen-port", 5555)
    assert code != 0 and "Address already in use" in output, f"exit {code}: {output}"
    assert ask(device, "set=1\nlisten_port=5555\n\n")[0] == EADDRINUSE
    assert device.state().port == PORT, "it tells of another port"
    assert f":{PORT} " in device.host.run("ss", "-Hunl"), "the old port is closed"
    assert ping(b.host, a.inner()) == 3 and ping(a.host, b.inner()) == 3, "the old port does not work"
    assert a.peer_state(b).handshake == handshake, "a new handshake was made"
    # From scratch, too: this handshake comes in by the old port.
    b.device.stop()
    b.start()
    pair.configure(b)
    assert reaches(b.host, a.inner()) is not None, "no handshake by the old port"


#   a: adit, down, its port taken meanwhile ---- wire ---- b: adit
@case()
def port_taken_at_link_up(net):
    """A device that finds its port taken when it comes up lives on, and opens it when told to once it is free."""
    pair = wired(net)
    a, b = pair.left, pair.right
    a.device.start()
    pair.configure(a)
    b.start()
    pair.configure(b)
    holder = a.host.socket(socket.AF_INET, socket.SOCK_DGRAM)
    holder.bind(("0.0.0.0", PORT))
    try:
        a.device.up(a.mtu, f"{a.inner()}/24", f"{a.inner('v6')}/64")
    except Failed:
        pass        # a kernel device says so here
    assert ping(a.host, b.inner(), count=1, wait=0.3) == 0, "it sends from a port that is not its own"
    assert a.device.alive(), "the process is gone"
    holder.close()
    a.device.set("listen-port", PORT)
    assert f":{PORT} " in a.host.run("ss", "-Hunl"), "the port is not open"
    assert reaches(a.host, b.inner()) is not None
    assert b.peer_state(a).endpoint == a.endpoint()


@case()
def bad_requests(net):
    """Each malformed request is answered with EINVAL, changes nothing, and the next good one works."""
    device, key = single(net), hexadecimal(keys().public)
    good = f"set=1\npublic_key={key}\nreplace_allowed_ips=true\nallowed_ip=10.0.0.0/8\n\n"
    assert ask(device, "set=1\nlisten_port=4444\nfwmark=7\n\n")[0] == 0
    assert ask(device, good)[0] == 0

    def dump():
        return device.host.run("wg", "show", device.name, "dump")
    before = dump()
    for bad in ("private_key=zz", "private_key=00", f"private_key={key}00", "listen_port=-1", "listen_port=65536",
                "listen_port=x", "fwmark=x", "fwmark=4294967296", "public_key=00", "nonsense=1", "replace_peers=false",
                "listen_port"):
        code = ask(device, f"set=1\n{bad}\n\n")[0]
        assert code in (EINVAL, EPROTO), f"{bad!r}: errno {code}"
        assert dump() == before, f"{bad!r} changed something"
    for bad in ("endpoint=nowhere", "endpoint=192.0.2.1", "endpoint=192.0.2.1:99999", "allowed_ip=10.0.0.0/33",
                "allowed_ip=fd00::/129", "allowed_ip=10.0.0.0", "allowed_ip=x/8", "preshared_key=1",
                "persistent_keepalive_interval=65536", "persistent_keepalive_interval=-1", "protocol_version=2",
                "remove=false", "update_only=false", "replace_allowed_ips=false"):
        code = ask(device, f"set=1\npublic_key={key}\n{bad}\n\n")[0]
        assert code in (EINVAL, EPROTO), f"{bad!r}: errno {code}"
        assert dump() == before, f"{bad!r} changed something"
    code, answer = ask(device, "get=1\n\n")
    assert code == 0 and ("public_key", key) in answer, answer
    assert ask(device, good)[0] == 0 and device.alive()


@case()
def update_only(net):
    """update_only never makes a peer, and changes one that exists."""
    device, key = single(net), hexadecimal(keys().public)
    assert ask(device, f"set=1\npublic_key={key}\nupdate_only=true\nallowed_ip=10.0.0.0/8\n\n")[0] == 0
    assert not device.state().peers
    assert ask(device, f"set=1\npublic_key={key}\nallowed_ip=10.0.0.0/8\n\n")[0] == 0
    assert ask(device, f"set=1\npublic_key={key}\nupdate_only=true\nallowed_ip=10.1.0.0/16\n\n")[0] == 0
    peer, = device.state().peers.values()
    assert set(peer.allowed_ips) == {"10.0.0.0/8", "10.1.0.0/16"}


@case()
def several_requests(net):
    """Several requests on one connection, several connections at once, and one that says nothing: all are served."""
    device = single(net)
    with socket.socket(socket.AF_UNIX) as mute, socket.socket(socket.AF_UNIX) as busy:
        mute.connect(device.socket)
        busy.connect(device.socket)
        busy.settimeout(10)
        for _ in range(3):
            busy.sendall(b"get=1\n\n")
            data = b""
            while not data.endswith(b"errno=0\n\n"):
                data += busy.recv(4096)
        for _ in range(20):
            assert ask(device, "get=1\n\n", timeout=10)[0] == 0


@case()
def own_key(net):
    """The device's own public key as a peer is not kept: it would be a tunnel to itself."""
    device, pair = single(net), keys()
    device.set("private-key", "/dev/stdin", data=pair.private)
    device.attempt("set", device.name, "peer", pair.public, "allowed-ips", "10.0.0.0/8")
    assert pair.public not in device.state().peers
    assert device.alive()


#   a: adit ---- wire ---- b: adit
@case()
def private_key_changes(net):
    """A new private key is used at once: the next packet makes a handshake under it, without any wait."""
    pair = wired(net, psk=True).start()
    a, b = pair.left, pair.right
    assert ping(a.host, b.inner()) == 3
    new, old = keys(), a.keys.public
    a.device.set("private-key", "/dev/stdin", data=new.private)
    b.device.set("peer", old, "remove", "peer", new.public, "preshared-key", "/dev/stdin", "allowed-ips",
                 a.allowed_ips(), data=pair.psk)
    assert ping(a.host, b.inner(), wait=4) == 3
    assert b.device.state().peers[new.public].handshake > 0 and ping(b.host, a.inner()) == 3


@case()
def key_of_a_peer(net):
    """A private key whose public key is a peer's takes that peer away; a key is kept as its clamped form."""
    device, first, second = single(net), keys(), keys()
    device.set("private-key", "/dev/stdin", data=first.private)
    device.set("peer", second.public, "allowed-ips", "10.0.0.0/8")
    device.set("private-key", "/dev/stdin", data=second.private)
    state = device.state()
    assert (state.public_key, state.peers) == (second.public, {})
    device.set("private-key", "/dev/stdin", data=first.private)
    device.set("peer", second.public)
    assert set(device.state().peers) == {second.public}
    # The lowest three bits of the first byte and the highest two of the last are not the key's.
    device.set("private-key", "/dev/stdin", data="/" + first.private[1:])
    shown = base64.b64decode(device.state().private_key)
    asked = base64.b64decode("/" + first.private[1:])
    assert shown == bytes([asked[0] & 248]) + asked[1:31] + bytes([asked[31] & 127 | 64])


@case(limit=60)
def very_many_allowed_ips(net):
    """130,560 allowed IPs of one peer, 40 peers with 52 each, a peer with 197: all set, all shown."""
    device, peer = single(net), keys().public
    many = [text for a in range(1, 256) for b in range(256) for text in (f"{a}.{b}.0.0/16", f"{a:x}::{b + 1:x}/128")]
    device.setconf(f"[Peer]\nPublicKey = {peer}\n" + "".join(f"AllowedIPs = {text}\n" for text in many))
    shown = device.host.run("wg", "show", device.name, "allowed-ips").split()
    assert len(shown) == 1 + len(many) and set(shown[1:]) == set(many)
    names = [keys().public for _ in range(40)]
    device.setconf("".join(f"[Peer]\nPublicKey = {name}\n" + "".join(
        f"AllowedIPs = {number}.{b}.0.0/16\n" for b in range(1, 53)) for number, name in enumerate(names, 1)))
    assert [len(peer.allowed_ips) for peer in device.state().peers.values()] == [52] * 40
    empty, full = keys().public, keys().public
    device.setconf("[Interface]\n")
    device.set("peer", empty)
    device.set("peer", full, "allowed-ips", ",".join(f"abcd::{number}" for number in range(1, 198)))
    peers = device.state().peers
    assert (peers[empty].allowed_ips, len(peers[full].allowed_ips)) == ([], 197)


@case()
def allowed_ip_is_taken_away(net):
    """allowed_ip with a minus takes that one away and no other; one that is not there, or another peer's, stays."""
    device, first, second = single(net), keys().public, keys().public
    device.set("peer", first, "allowed-ips", "10.1.0.0/16,10.2.0.0/16,fd00::/64,0.0.0.0/0")
    device.set("peer", second, "allowed-ips", "10.3.0.0/16")

    def change(*words):
        lines = "".join(f"allowed_ip={word}\n" for word in words)
        return ask(device, f"set=1\npublic_key={hexadecimal(first)}\n{lines}\n")[0]
    assert change("-10.1.0.0/16", "-fd00::/64", "10.4.0.0/16") == 0
    assert change("-10.3.0.0/16", "-10.9.0.0/16", "-10.2.0.0/17") == 0
    peers = device.state().peers
    assert set(peers[first].allowed_ips) == {"10.2.0.0/16", "0.0.0.0/0", "10.4.0.0/16"}, peers[first].allowed_ips
    assert peers[second].allowed_ips == ["10.3.0.0/16"], peers[second].allowed_ips
    assert change("-0.0.0.0/0", "-10.2.0.0/16", "-10.4.0.0/16") == 0
    assert device.state().peers[first].allowed_ips == []


@case()
def no_such_device(net):
    """`wg show` of a device that is not there fails, beside one that is."""
    device = single(net)
    assert device.attempt("show", net.device("none"))[0] != 0
    assert device.attempt("show", device.name)[0] == 0
