"""aditd from its file: tunnels that work, files that are refused, starts that fail and leave nothing behind."""
import json
import os
import re
import socket

from lab.case import case
from lab.daemon import Daemon, everything, gateway, gateways, plain
from lab.namespace import SOCKETS
from lab.site import PORT, wired
from lab.traffic import ping, reaches
from lab.wait import until
from lab.wireguard import keys


#   a: aditd ---- wire ---- b: aditd
@case(family=("v4", "v6"))
def two_gateways(net, family):
    """Two daemons with nothing but a file each: both IPs inside, addresses, routes, MTU, and a preshared key."""
    pair = wired(net, family=family, psk=True)
    a, b = gateways(pair)
    name = pair.left.device.name
    a.config["wireguard"][name]["mtu"] = 1380
    a.config["wireguard"][name]["peer"]["other"]["allowed_ips"] += ["10.30.0.0/16", "fd30::/48"]
    a.config["wireguard"][name]["peer"]["other"]["persistent_keepalive"] = 25
    # The other first: a keepalive that meets nobody is followed by 5 s of patience.
    b.start()
    a.start()
    for inner in ("v4", "v6"):
        assert reaches(a.host, pair.right.inner(inner)), f"{inner} to b"
        assert reaches(b.host, pair.left.inner(inner)), f"{inner} to a"
    link = json.loads(a.host.run("ip", "-j", "address", "show", name))[0]
    assert link["mtu"] == 1380 and link["operstate"] in ("UNKNOWN", "UP"), link
    assert {f"{one['local']}/{one['prefixlen']}" for one in link["addr_info"] if one["scope"] == "global"} == \
        {f"{pair.left.inner()}/24", f"{pair.left.inner('v6')}/64"}
    routes = a.host.ip(f"route show dev {name}") + a.host.ip(f"-6 route show dev {name}")
    for wanted in ("10.9.0.0/24", "10.9.0.2 ", "10.30.0.0/16", "fd09::/64", "fd09::2 ", "fd30::/48"):
        assert wanted in routes, f"no route to {wanted}in {routes}"
    state = pair.left.peer_state(pair.right)
    assert state.preshared_key == pair.psk and state.keepalive == "25"
    psk = b.config["wireguard"][pair.right.device.name]["peer"]["other"].pop("preshared_key_file")
    b.reload()
    assert ping(b.host, pair.left.inner(), count=1, wait=1) == 0, "it works without its preshared key"
    b.config["wireguard"][pair.right.device.name]["peer"]["other"]["preshared_key_file"] = psk
    b.reload()
    assert reaches(b.host, pair.left.inner(), 15), "it does not work with its preshared key again"


#   a: aditd ---- wire ---- b: peer, configured by wg
@case(peer=("wireguard-go", "kernel"))
def other_implementations(net, peer):
    """A daemon and another implementation that `wg` configured, with a preshared key."""
    pair = wired(net, right=peer, psk=True)
    a = gateway(pair, pair.left).start()
    plain(pair, pair.right)
    for family in ("v4", "v6"):
        assert reaches(a.host, pair.right.inner(family)), f"{family} to b"
        assert reaches(pair.right.host, pair.left.inner(family)), f"{family} to a"
    told = a.status()["wireguard"][pair.left.device.name]["peers"][0]
    assert told["latest_handshake"] and told["preshared_key"] and told["warnings"] == [], told


#   a: aditd with two tunnels ==== wire ==== b: aditd with two tunnels
@case()
def several_tunnels(net):
    """Two tunnels in one daemon, each with its port, key and addresses, carry what is theirs."""
    pair = wired(net)
    a, b = gateways(pair)
    names = [net.device("x1"), net.device("x2")]
    ours = [keys(), keys()]
    for daemon, site, number in ((a, pair.left, 0), (b, pair.right, 1)):
        other = pair.other(site)
        daemon.tunnel(names[number], ours[number], [f"10.8.0.{site.number}/24"], PORT + 1)
        daemon.peer(names[number], "other", ours[1 - number].public, [f"10.8.0.{other.number}"],
                    endpoint=f"{other.outer()}:{PORT + 1}")
        daemon.start()
    assert reaches(a.host, pair.right.inner())
    assert reaches(a.host, "10.8.0.2")
    moved = {name: tunnel["peers"][0]["sent_bytes"] for name, tunnel in a.status()["wireguard"].items()}
    assert ping(a.host, "10.8.0.2", count=10) == 10
    after = {name: tunnel["peers"][0]["sent_bytes"] for name, tunnel in a.status()["wireguard"].items()}
    assert after[names[0]] >= moved[names[0]] + 10 * 96 and after[pair.left.device.name] < moved[pair.left.device.name] + 500, after


@case()
def check(net):
    """--check: 0 for a right file, 2 with every mistake's place for a wrong one; the system stays as it was."""
    pair = wired(net)
    a = gateway(pair, pair.left)
    before = everything(a.host)
    code, output = a.attempt("--check")
    assert code == 0 and "right" in output, f"exit {code}: {output}"
    a.write()
    lines = open(a.file).read().replace('"listen_port"', "listen_port").splitlines()
    wrong = []
    for line in lines:
        wrong.append({"listen_port": "listen_port = 70000", "endpoint": "endpont = \"192.0.2.2:51820\"",
                      "public_key": "public_key = \"short=\""}.get(line.split(" ")[0], line))
    a.write("\n".join(wrong) + "\nfwmark = [1]\n[log]\nlevel = \"loud\"\n".replace("[log]\n", ""))
    for words in (["--check"], []):
        code, output = a.host.attempt(*a.command(), *words, timeout=10)
        assert code == 2, f"exit {code}: {output}"
        for key in ("listen_port", "endpont", "public_key", "level"):
            place = next(number for number, line in enumerate(open(a.file).read().splitlines(), 1)
                         if line.startswith(key) and "= \"info\"" not in line)
            assert re.search(rf"aditd.toml:{place}:\d+: .*{key}", output), f"{key}, line {place}: {output}"
        assert "70000" in output and "65535" in output, "what was found and what is allowed"
    assert everything(a.host) == before, "something was changed"
    assert not os.path.exists(a.sockets) and not os.path.exists(a.state)


@case(how=("others_read", "group_reads", "others_own", "missing", "empty", "a_folder"))
def key_file(net, how):
    """A key file that somebody else may read, or that holds no key, is refused with exit 2 by name."""
    pair = wired(net)
    a = gateway(pair, pair.left)
    path = f"{a.folder}/{pair.left.device.name}.key"
    if how == "missing":
        os.unlink(path)
    elif how == "a_folder":
        os.unlink(path)
        os.mkdir(path, 0o700)
    elif how == "empty":
        open(path, "w").close()
    elif how == "others_own":
        os.chown(path, 1, -1)
    else:
        os.chmod(path, {"others_read": 0o604, "group_reads": 0o640}[how])
    for words in (["--check"], []):
        code, output = a.attempt(*words)
        assert code == 2 and path in output, f"exit {code}: {output}"
        assert pair.left.keys.private not in output


def taken(host, port):
    """The UDP port is somebody else's from now on."""
    holder = host.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    holder.bind(("::", port))


FAILURES = {
    "port_taken": lambda a, name: taken(a.host, PORT),
    "device_exists": lambda a, name: a.host.ip(f"link add {name} type veth peer name other"),
    "pre_up_fails": lambda a, name: a.config["wireguard"][name].update(hooks={"pre_up": ["true", "exit 7"]}),
    "second_tunnel": lambda a, name: (taken(a.host, PORT + 5),
                                      a.tunnel("z" + name[1:], keys(), ["10.77.0.1/24"], PORT + 5)),
}


def but_guards(text):
    """Routes and rules without the daemon's guards and rules."""
    if not isinstance(text, str):
        return text
    return "".join(line for line in text.splitlines(True)
                   if "proto 173" not in line or not (line.startswith("unreachable") or "lookup" in line))


@case(how=tuple(FAILURES))
def fails(net, how):
    """A start that fails ends with 1 and the reason, and leaves no address, route into a tunnel, socket or device.

    It lets nothing out either: the guards stay, and so do the rules that lead to that of a default route.
    """
    pair = wired(net)
    a = gateway(pair, pair.left)
    name = pair.left.device.name
    a.config["wireguard"][name]["peer"]["other"]["allowed_ips"] += ["0.0.0.0/0", "::/0"]
    FAILURES[how](a, name)
    before, sockets = everything(a.host), set(os.listdir(SOCKETS))
    code, output = a.attempt()
    assert code == 1, f"exit {code}: {output}"
    said = {"port_taken": f"listen_port {PORT}", "device_exists": name, "pre_up_fails": "exit 7",
            "second_tunnel": f"{PORT + 5}"}
    assert said[how] in output and "cannot undo" not in output, output
    after = {what: but_guards(text) for what, text in everything(a.host).items()}
    assert after == before, {what: (before[what], after[what]) for what in before if before[what] != after[what]}
    assert {"10.9.0.0/24", "fd09::/64", "0.0.0.0/0", "::/0"} <= a.guards()
    for address in ("10.9.0.2", "fd09::2", "203.0.113.1", "2001:db8:ffff::1"):
        code, said = a.host.attempt("ip", "route", "get", address)
        assert code and "unreachable" in said.lower() or "No route to host" in said, f"{address}: {said}"
    assert not os.listdir(a.sockets) or os.listdir(a.sockets) == ["lock"], os.listdir(a.sockets)
    assert not {found for found in set(os.listdir(SOCKETS)) - sockets if str(os.getpid()) in found}


@case(same=("namespace", "folder"))
def second_daemon(net, same):
    """A second daemon in the same namespace or with the same sockets is refused, and the first is left as it was."""
    pair = wired(net)
    a, b = gateways(pair)
    b.start()
    a.start()
    before = everything(a.host, a)
    other = Daemon(a.host if same == "namespace" else net.host("c"))
    if same == "folder":
        other.sockets = other.config["admin"]["directory"] = a.sockets
    code, output = other.attempt()
    assert code == 1 and "another aditd" in output, f"exit {code}: {output}"
    assert everything(a.host, a) == before and reaches(a.host, pair.right.inner())


@case()
def nothing_configured(net):
    """A file without any tunnel is a daemon that waits for a reload, which brings the tunnel."""
    pair = wired(net)
    a, b = gateways(pair)
    b.start()
    tunnels, a.config["wireguard"] = a.config["wireguard"], {}
    a.start()
    assert a.status()["wireguard"] == {} and a.ctl("status")[0] == 0
    a.config["wireguard"] = tunnels
    assert pair.left.device.name in a.reload()
    assert reaches(a.host, pair.right.inner())


def lasting(text):
    """What is the same for every device of that name: neither its number nor the address that the kernel gives it."""
    if not isinstance(text, str):
        return text
    lines = [line for line in text.splitlines() if "fe80::" not in line]
    return sorted(re.sub(r"link/none.*|^\d+: ", "", line) for line in lines)


@case()
def comes_back(net):
    """Stopped or killed, a daemon starts again on the same file and the tunnel works; nothing is doubled."""
    pair = wired(net)
    a, b = gateways(pair)
    a.start()
    b.start()
    assert reaches(a.host, pair.right.inner())
    before = everything(a.host)
    for end in (a.stop, a.kill):
        end()
        until(lambda: pair.left.device.name not in a.host.ip("-o link"), 10, "end of the device")
        a.start()
        assert reaches(a.host, pair.right.inner())
        after = everything(a.host)
        changed = [(before[what], after[what]) for what in before if lasting(before[what]) != lasting(after[what])]
        assert not changed, changed
    assert a.process.alive()


@case()
def roots_key(net):
    """A key file that only root may read lets the daemon start, and tells at once that no reload will work."""
    pair = wired(net)
    a, b = gateways(pair)
    path = f"{a.folder}/{pair.left.device.name}.key"
    os.chown(path, 0, 0)
    b.start()
    a.start()
    assert reaches(a.host, pair.right.inner())
    warning, = a.status()["warnings"]
    assert path in warning and "cannot be reloaded" in warning and warning in a.process.output(), warning


@case(mode=(0o666, 0o646))
def file_that_others_write(net, mode):
    """A configuration that others may write to is refused: its hooks would be theirs."""
    pair = wired(net)
    a = gateway(pair, pair.left)
    for words in (["--check"], []):
        a.write()
        os.chmod(a.file, mode)
        code, output = a.host.attempt(*a.command(), *words)
        assert code == 2 and f"{mode:o}" in output, f"exit {code}: {output}"
