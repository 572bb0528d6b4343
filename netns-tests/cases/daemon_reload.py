"""Reloads under traffic: what is the same in both files is not touched; what others own stays."""
import re
import threading

from lab.case import case
from lab.daemon import gateways
from lab.site import PORT, wired
from lab.traffic import Sequence, iperf3, ping, reaches
from lab.wait import until
from lab.wireguard import Device, keys


class Steady:
    """Numbered datagrams both ways through a tunnel; `lost()` ends them and says what is missing, oldest first."""

    def __init__(self, a, b, target, back, port=7000):
        self.both = [Sequence(a, b, target, port), Sequence(b, a, back, port + 1)]
        until(lambda: all(sequence.arrived for sequence in self.both), 15, "the first datagrams")

    def lost(self):
        missing = []
        for sequence in self.both:
            came = sequence.stop()
            # What was sent before the first handshake may be lost.
            missing.append([number for number in range(came[0], sequence.sent) if number not in set(came)])
        return missing


def busy_pair(net):
    """Two gateways, and numbered datagrams between them."""
    pair = wired(net)
    a, b = gateways(pair)
    b.start()
    a.start()
    assert reaches(a.host, pair.right.inner())
    return pair, a, b, Steady(a.host, b.host, pair.right.inner(), pair.left.inner())


def overruns(host):
    """Datagrams that a host's programs did not take in time."""
    names, values = [line.split() for line in host.run("cat", "/proc/net/snmp").splitlines() if line.startswith("Udp:")]
    return int(values[names.index("RcvbufErrors")])


#   a: aditd; iperf3 and numbered datagrams both ways ---- wire ---- b: aditd
@case(limit=60)
def unchanged_tunnel(net):
    """No packet of a tunnel is lost while another is added, changed and removed 20 times, by either way to reload."""
    pair, a, b, steady = busy_pair(net)
    # A machine that is busy elsewhere for a moment is to lose nothing in the devices' queues.
    for site in (pair.left, pair.right):
        site.host.ip(f"link set {site.device.name} txqueuelen 10000")
    flow, other = [], net.device("other")
    load = threading.Thread(target=lambda: flow.append(iperf3(a.host, b.host, pair.right.inner(), udp=True, rate="3M",
                                                              seconds=6)))
    load.start()
    handshakes = a.status()["wireguard"][pair.left.device.name]["handshakes"]
    ours = keys()
    for round in range(20):
        table = a.tunnel(other, ours, ["10.8.0.1/24", "fd08::1/64"], PORT + 1)
        a.peer(other, "x", keys().public, ["10.40.0.0/16", "fd40::/48"], endpoint="192.0.2.2:9")
        assert f"added {other}" in a.reload()
        table.update(mtu=1300 + round, listen_port=PORT + 2, fwmark=7, addresses=["10.7.0.1/24"])
        a.peer(other, "y", keys().public, ["10.41.0.0/16"])
        a.write()
        assert f"changed {other}" in a.hang_up()
        assert f"mtu {1300 + round} " in a.host.ip(f"link show {other}")
        del a.config["wireguard"][other]
        assert f"removed {other}" in (a.reload() if round % 2 else a.write().hang_up())
        assert other not in a.host.ip("-o link") and "10.40" not in str(a.guards())
    load.join()
    lost = steady.lost()
    assert lost == [[], []], f"lost to b: {lost[0]}, to a: {lost[1]}"
    # What iperf3 itself was too slow to take was not lost on the way.
    assert flow[0].packets > 1000 and flow[0].lost <= overruns(b.host), flow
    assert a.status()["wireguard"][pair.left.device.name]["handshakes"] == handshakes, "a new handshake"
    assert a.status()["configuration"]["reloads"] == 60


#   a: aditd with peers that come and go ---- wire ---- b: aditd, one of its peers
@case(limit=60)
def peers_around_a_flow(net):
    """No packet of a peer's flow is lost while other peers and its own routes are added, changed and removed."""
    pair, a, b, steady = busy_pair(net)
    name = pair.left.device.name
    own = a.config["wireguard"][name]["peer"]["other"]
    for round in range(15):
        key = keys().public
        peer = a.peer(name, f"p{round}", key, [f"10.50.{round}.0/24"], endpoint="192.0.2.2:9", persistent_keepalive=1)
        a.reload()
        peer.update(endpoint="[2001:db8::2]:9", allowed_ips=[f"10.51.{round}.0/24"])
        own["allowed_ips"] = [*pair.right.allowed_ips().split(","), f"10.52.{round}.0/24"]
        own["persistent_keepalive"] = round
        a.reload()
        routes = a.host.ip(f"route show dev {name}")
        assert f"10.51.{round}.0/24" in routes and f"10.50.{round}.0/24" not in routes, routes
        assert set(pair.left.peer_state(pair.right).allowed_ips) == set(own["allowed_ips"])
        assert pair.left.device.state().peers[key].allowed_ips == peer["allowed_ips"]
        del a.config["wireguard"][name]["peer"][f"p{round}"]
        a.reload()
        assert list(pair.left.device.state().peers) == [pair.right.keys.public]
    lost = steady.lost()
    assert lost == [[], []], f"lost to b: {lost[0]}, to a: {lost[1]}"


#   a: aditd, and a person with wg ---- wire ---- b: aditd
@case()
def owners(net):
    """A peer of `wg set` outlives reloads; `wg` takes neither the file's peers nor their allowed IPs away."""
    pair, a, b, steady = busy_pair(net)
    device, theirs, ours = pair.left.device, keys().public, pair.right.keys.public
    name = device.name
    device.set("peer", theirs, "allowed-ips", "10.60.0.0/16", "endpoint", "192.0.2.2:7")
    for change in (lambda: None, lambda: a.config["wireguard"][name].update(mtu=1400),
                   lambda: a.peer(name, "more", keys().public, ["10.61.0.0/16"]),
                   lambda: a.config["wireguard"][name]["peer"].pop("more")):
        change()
        a.reload()
        assert device.state().peers[theirs].allowed_ips == ["10.60.0.0/16"], "the person's peer was touched"
    owner = {peer["public_key"]: (peer["owner"], peer["name"]) for peer in a.status()["wireguard"][name]["peers"]}
    assert owner == {theirs: ("uapi", None), ours: ("file", "other")}, owner
    code, output = device.attempt("set", name, "peer", ours, "remove")
    assert code and "not permitted" in output, f"exit {code}: {output}"
    taken = device.state().peers[ours].allowed_ips
    code, output = device.attempt("set", name, "peer", theirs, "allowed-ips", f"{taken[0]},10.63.0.0/16")
    assert code and "not permitted" in output.lower(), f"exit {code}: {output}"
    a.process.wait_output(rf"peer {re.escape(theirs)} is not given {re.escape(taken[0])}: peer {re.escape(ours)}", 15)
    assert device.state().peers[ours].allowed_ips == taken, "wg set took an allowed IP from a peer of the file"
    assert device.state().peers[theirs].allowed_ips == ["10.63.0.0/16"], "the rest was not done"
    other = keys().public
    conf = f"{pair.left.interface_conf()}[Peer]\nPublicKey = {other}\nAllowedIPs = 10.62.0.0/16\n"
    device.host.run("wg", "setconf", name, "/dev/stdin", data=conf)
    assert set(device.state().peers) == {ours, other}, "after wg setconf"
    # wg syncconf asks for removals by name, so it has to know the file's peers.
    code, output = device.attempt("syncconf", name, "/dev/stdin", data=conf)
    assert code and "not permitted" in output and ours in device.state().peers, f"exit {code}: {output}"
    conf = f"{pair.left.interface_conf()}[Peer]\nPublicKey = {ours}\nAllowedIPs = {pair.right.allowed_ips()}\n"
    device.host.run("wg", "syncconf", name, "/dev/stdin", data=conf)
    assert set(device.state().peers) == {ours}, "after wg syncconf"
    # Once the file names it, it is the file's.
    device.set("peer", theirs, "allowed-ips", "10.60.0.0/16")
    a.peer(name, "theirs", theirs, ["10.60.0.0/16"])
    a.reload()
    assert device.attempt("set", name, "peer", theirs, "remove")[0]
    del a.config["wireguard"][name]["peer"]["theirs"]
    a.reload()
    assert set(device.state().peers) == {ours}
    lost = steady.lost()
    assert lost == [[], []], lost


def two_tunnels(net):
    """Gateway a has two tunnels: wg1 to b at PORT, with datagrams on it, and x without a peer at PORT + 1."""
    pair, a, b, steady = busy_pair(net)
    x = net.device("x")
    a.tunnel(x, keys(), ["10.8.0.1/24"], PORT + 1)
    a.peer(x, "p", keys().public, ["10.70.0.0/16"])
    a.reload()
    return pair, a, b, steady, x


def ports(a):
    return {name: tunnel["listen_port"] for name, tunnel in a.status()["wireguard"].items()}


@case()
def port_moves(net):
    """A port passes from one tunnel to another in one reload, also when two tunnels swap theirs."""
    pair, a, b, steady, x = two_tunnels(net)
    name = pair.left.device.name
    table = a.config["wireguard"]
    table[x]["listen_port"], table[name]["listen_port"] = PORT, PORT + 5
    said = a.reload()
    assert "but" not in said and ports(a) == {name: PORT + 5, x: PORT}, (said, ports(a))
    assert reaches(a.host, pair.right.inner())
    table[x]["listen_port"], table[name]["listen_port"] = PORT + 5, PORT
    said = a.reload()
    assert "but" not in said and ports(a) == {name: PORT, x: PORT + 5}, (said, ports(a))
    assert reaches(a.host, pair.right.inner()) and reaches(b.host, pair.left.inner())
    # To a tunnel that is new, from one that goes.
    new = net.device("new")
    table[new] = {**table.pop(x), "listen_port": PORT + 5}
    said = a.reload()
    assert "but" not in said and ports(a) == {name: PORT, new: PORT + 5}, (said, ports(a))
    assert reaches(b.host, pair.left.inner())


@case()
def renamed(net):
    """A tunnel under another name, with all it had, works: port, key, addresses and routes pass over."""
    pair, a, b, steady = busy_pair(net)
    old, new = pair.left.device.name, net.device("new")
    a.config["wireguard"][new] = a.config["wireguard"].pop(old)
    said = a.reload()
    assert said.strip() == f"added {new}; removed {old}", said
    assert reaches(a.host, pair.right.inner(), 15) and reaches(a.host, pair.right.inner("v6"), 15)
    links = a.host.ip("-o link")
    assert new in links and old not in links
    assert set(a.guards()) == {"10.9.0.0/24", "10.9.0.2", "fd09::/64", "fd09::2"}, a.guards()
    for family in ("v4", "v6"):
        assert new in a.host.ip(f"route get {pair.right.inner(family)}")


@case()
def route_moves(net):
    """A prefix passes from a peer of one tunnel to a peer of another, and back; its guard stays throughout."""
    pair, a, b, steady, x = two_tunnels(net)
    name = pair.left.device.name
    table = a.config["wireguard"]
    b.host.address("lo", "10.70.0.1/32")
    for tunnel, other, works in ((name, x, True), (x, name, False), (name, x, True)):
        for one in (name, x):
            peer = table[one]["peer"]["other" if one == name else "p"]
            peer["allowed_ips"] = [prefix for prefix in peer["allowed_ips"] if prefix != "10.70.0.0/16"]
            peer["allowed_ips"] += ["10.70.0.0/16"] if one == tunnel else []
        said = a.reload()
        assert "but" not in said, said
        assert f"dev {tunnel}" in a.host.ip("route get 10.70.0.1")
        assert "10.70.0.0/16" in a.guards()
        answered = reaches(a.host, "10.70.0.1", 10) if works else ping(a.host, "10.70.0.1", count=1, wait=0.3)
        assert bool(answered) == works
    lost = steady.lost()
    assert lost == [[], []], lost


@case()
def taken_away_by_hand(net):
    """What somebody deleted by hand comes back with a reload: routes, addresses, guards, a device, a UAPI socket."""
    pair, a, b, steady = busy_pair(net)
    device = Device(a.host, "adit", pair.left.device.name)
    name = device.name
    a.host.ip(f"route del 10.9.0.2 dev {name}")
    a.host.ip(f"address del 10.9.0.1/24 dev {name}")
    a.host.ip(f"-6 route del unreachable fd09::2 metric {0xFFFFFFFF}")
    assert not reaches(a.host, pair.right.inner(), 1)
    a.reload()
    assert reaches(a.host, pair.right.inner(), 15)
    assert set(a.guards()) == {"10.9.0.0/24", "10.9.0.2", "fd09::/64", "fd09::2"}, a.guards()
    a.host.ip(f"link del {name}")
    until(lambda: a.status()["wireguard"][name]["state"] == "gone", 15, "state gone")
    assert "deleted" in a.ctl("status")[1] and a.http("GET", "/v1/health")[0] == 503
    a.reload()
    assert reaches(a.host, pair.right.inner(), 15)
    device.host.run("rm", device.socket)
    until(lambda: a.status()["wireguard"][name]["state"] == "gone", 15, "state gone")
    a.reload()
    assert reaches(a.host, pair.right.inner(), 15) and a.http("GET", "/v1/health")[0] == 200
