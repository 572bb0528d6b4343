"""Where traffic goes: default routes with rules and a mark, tables of the operator's own, other people's routes."""
from lab.case import case
from lab.daemon import gateways
from lab.site import PORT, wired
from lab.traffic import ping, reaches
from lab.wireguard import keys

MARK = 51820
ELSEWHERE = {"v4": "198.51.100.1", "v6": "2001:db8:ffff::1"}


#   c ---- lan ---- a: aditd ---- wire ---- b: aditd, with 198.51.100.1 and 2001:db8:ffff::1
def scene(net, *allowed, **tunnel):
    pair = wired(net)
    a, b = gateways(pair)
    c = net.host("c")
    net.link(a.host, "lan", c, "lan")
    a.host.address("lan", "172.16.0.1/24", "fd16::1/64")
    c.address("lan", "172.16.0.2/24", "fd16::2/64")
    b.host.address("lo", *(f"{address}/{128 if ':' in address else 32}" for address in ELSEWHERE.values()))
    table = a.config["wireguard"][pair.left.device.name]
    table.update(tunnel)
    table["peer"]["other"]["allowed_ips"] += allowed
    b.start()
    a.start()
    return pair, a, b, c


def rules(host):
    return {family: [line.split(":\t")[1].strip() for line in host.ip(f"-{family[1]} rule").splitlines()]
            for family in ("v4", "v6")}


def carried(pair, family, address):
    """Whether an echo to the address is answered, and goes through the tunnel."""
    before = pair.left.peer_state(pair.right).sent
    return bool(reaches(pair.left.host, address)) and pair.left.peer_state(pair.right).sent > before


@case(mark=(None, 77))
def default_route(net, mark):
    """0.0.0.0/0 and ::/0: rules and a mark as wg-quick's; the LAN stays reachable, all else is in the tunnel."""
    pair, a, b, c = scene(net, "0.0.0.0/0", "::/0", **({"fwmark": mark} if mark else {}))
    number = mark or MARK
    for family, told in rules(a.host).items():
        own = ["from all lookup main suppress_prefixlength 0", f"not from all fwmark {number:#x} lookup {number}"]
        assert [line.replace(" proto 173", "") for line in told if "proto 173" in line] == own, told
    assert pair.left.device.state().fwmark == hex(number)
    for family, address in ELSEWHERE.items():
        assert f"table {number}" in a.host.ip(f"route get {address}"), family
        assert carried(pair, family, address), f"{family}: not through the tunnel"
        assert pair.left.device.name not in a.host.ip(f"route get {pair.right.outer(family)} mark {number}")
    assert reaches(a.host, "172.16.0.2") and reaches(a.host, "fd16::2") and reaches(c, "172.16.0.1")
    assert a.host.run("cat", "/proc/sys/net/ipv4/conf/all/src_valid_mark").strip() == "1"
    # What leads elsewhere in the main table, and is no default route, is respected.
    a.host.route("198.51.100.0/24 via 172.16.0.2")
    assert "dev lan" in a.host.ip(f"route get {ELSEWHERE['v4']}")


@case()
def comes_and_goes(net):
    """A default route that comes and goes by reloads takes its rules along and leaves those of the operator."""
    pair, a, b, c = scene(net)
    a.host.ip("rule add to 203.0.113.0/24 lookup 5")
    a.host.ip("rule add not fwmark 0x1 lookup 51820")
    before = rules(a.host)
    peer = a.config["wireguard"][pair.left.device.name]["peer"]["other"]
    own = peer["allowed_ips"]
    for _ in range(2):
        peer["allowed_ips"] = own + ["0.0.0.0/0"]
        a.reload()
        assert carried(pair, "v4", ELSEWHERE["v4"]) and pair.left.device.state().fwmark == hex(MARK)
        assert rules(a.host)["v6"] == before["v6"], "nothing was asked of IPv6"
        peer["allowed_ips"] = own + ["::/0"]
        a.reload()
        assert carried(pair, "v6", ELSEWHERE["v6"]) and rules(a.host)["v4"] == before["v4"]
        peer["allowed_ips"] = own
        a.reload()
        assert rules(a.host) == before, rules(a.host)
        assert pair.left.device.state().fwmark == "off"
        assert a.host.ip("route show table 51820 type unreachable") == ""
        assert reaches(a.host, pair.right.inner())


@case()
def numbered_table(net):
    """table = 100: all routes and guards go there, without rules; the operator's own rule uses them."""
    pair, a, b, c = scene(net, "0.0.0.0/0", "10.30.0.0/16", table=100)
    name = pair.left.device.name
    assert not [line for lines in rules(a.host).values() for line in lines if "proto 173" in line]
    routes = a.host.ip("route show table 100")
    assert f"default dev {name}" in routes and f"10.30.0.0/16 dev {name}" in routes and "unreachable default" in routes
    ours = [line.split(" dev ")[0] for line in a.host.ip("route").splitlines() if "proto 173" in line]
    assert ours == ["unreachable 10.9.0.0/24 proto 173 metric 4294967295 "], ours
    a.host.ip(f"rule add to {ELSEWHERE['v4']} lookup 100")
    assert carried(pair, "v4", ELSEWHERE["v4"])
    a.config["wireguard"][name]["table"] = 101
    a.reload()
    assert "default" not in a.host.ip("route show table 100") and "default" in a.host.ip("route show table 101")


@case()
def no_table(net):
    """table = "off": no route of ours at all; those that the operator adds carry traffic, and a reload leaves them."""
    pair, a, b, c = scene(net, "0.0.0.0/0", table="off")
    name = pair.left.device.name
    assert f"dev {name} proto 173" not in a.host.ip("route show table all") + a.host.ip("-6 route show table all")
    assert a.guards() == {"10.9.0.0/24", "fd09::/64"}, "behind the kernel's routes to the interface's networks alone"
    assert not [line for lines in rules(a.host).values() for line in lines if "proto 173" in line]
    assert ping(a.host, ELSEWHERE["v4"], count=1, wait=0.2) == 0
    a.host.route(f"{ELSEWHERE['v4']} dev {name}")
    assert carried(pair, "v4", ELSEWHERE["v4"])
    a.config["wireguard"][name]["mtu"] = 1400
    a.reload()
    assert carried(pair, "v4", ELSEWHERE["v4"])


@case()
def foreign_routes(net):
    """Routes and rules of others are neither taken for ours nor taken away, however near they are."""
    pair, a, b, c = scene(net, "10.30.0.0/16")
    x = net.device("x")
    near = ("10.30.0.0/16 dev lan metric 50", "unreachable 10.77.0.0/16 metric 4294967295", "unreachable 10.30.0.0/17")
    for route in near:
        a.host.ip(f"route add {route}")
    a.tunnel(x, keys(), ["10.8.0.1/24"], PORT + 1)
    a.peer(x, "p", keys().public, ["10.70.0.0/16"])
    a.reload()
    del a.config["wireguard"][x]
    a.reload()
    a.stop()
    left = a.host.ip("route")
    for words in (["10.30.0.0/16", "dev lan", "metric 50"], ["unreachable 10.77.0.0/16"], ["unreachable 10.30.0.0/17"]):
        assert any(all(word in line for word in words) for line in left.splitlines()), f"{words} in {left}"
    assert "10.70.0.0" not in left and "unreachable 10.30.0.0/16 proto 173" in left, left
