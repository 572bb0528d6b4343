"""Reloads that are refused: nothing is changed, not by half, and the reason is told."""
import os
import re
import socket

from lab.case import case
from lab.daemon import everything, gateways
from lab.site import PORT, wired
from lab.traffic import reaches
from lab.wireguard import keys


def pair_of(net):
    """Two gateways, a tunnel between them, and another one of a's that has no peer."""
    pair = wired(net)
    a, b = gateways(pair)
    x = net.device("x")
    a.tunnel(x, keys(), ["10.8.0.1/24", "fd08::1/64"], PORT + 1)
    a.peer(x, "p", keys().public, ["10.70.0.0/16", "fd70::/48"], psk=pair.psk)
    b.start()
    a.start()
    assert reaches(a.host, pair.right.inner())
    return pair, a, b, x


def refused(a, *reasons):
    """Reloads, by both ways; each time the state is the same before and after, and the reasons are told."""
    before, refusals = everything(a.host, a), a.status()["configuration"]["reloads_refused"]
    said = a.refuses()
    assert a.hang_up().startswith("not reloaded, nothing was changed"), "by SIGHUP"
    after = everything(a.host, a)
    changed = [(before[what], after[what]) for what in before if before[what] != after[what]]
    assert not changed, changed
    for reason in reasons:
        assert re.search(reason, said), f"{reason!r} is not in {said}"
    assert "cannot undo" not in a.process.output(), a.process.output()
    told = a.status()
    assert told["configuration"]["reloads_refused"] == refusals + 2 and told["configuration"]["error"], told
    assert any("last reload was refused" in warning for warning in told["warnings"])
    entries = [entry for entry in a.audit() if entry["what"] == "reload"]
    # By signal one may not be recorded yet when its refusal is logged.
    assert [entry["result"] for entry in entries[:2]] == ["attempt", "refused"]
    assert re.search(reasons[0], entries[1]["detail"]), entries
    return said


def afterwards(a, pair, change):
    """Once what was wrong is mended a reload works, and nothing is told of the refusals any more."""
    change()
    a.reload()
    assert a.status()["configuration"]["error"] is None and a.status()["warnings"] == []
    assert reaches(a.host, pair.right.inner())


@case()
def mistakes(net):
    """Every mistake of a bad file is told with file and line; what is right in the file is not put to use either."""
    pair, a, b, x = pair_of(net)
    table = a.config["wireguard"]
    table[x].update(listen_port=0x1FFFF, mtu=1300)
    table[x]["peer"]["p"]["allowed_ips"] = ["10.71.0.0/33"]
    table[pair.left.device.name]["addresses"] = ["10.99.0.1/24"]
    a.peer(pair.left.device.name, "new", keys().public, ["10.72.0.0/16"])
    lines = open(a.write().file).read().splitlines()
    places = [next(number for number, line in enumerate(lines, 1) if word in line) for word in ("131071", "/33")]
    refused(a, rf"aditd\.toml:{places[0]}:\d+: wireguard\.{x}\.listen_port",
            rf"aditd\.toml:{places[1]}:\d+: .*allowed_ips")
    table[x]["listen_port"] = PORT + 1
    table[x]["peer"]["p"]["allowed_ips"] = ["10.71.0.0/16"]
    table[pair.left.device.name]["addresses"] = ["10.9.0.1/24", "fd09::1/64"]
    afterwards(a, pair, lambda: None)


@case(how=("not_toml", "gone", "unreadable"))
def no_file(net, how):
    """A file that is no TOML, is gone, or is not the daemon's to read changes nothing."""
    pair, a, b, x = pair_of(net)
    text, write = open(a.file).read(), a.write

    def spoil(*_):
        if how == "not_toml":
            write("[wireguard\n")
        elif how == "gone":
            os.unlink(a.file)
        else:
            os.chmod(a.file, 0o600)
        return a

    spoil()
    a.write = lambda *_: a
    refused(a, {"not_toml": r"aditd\.toml:1:\d+: ", "gone": "aditd.toml: .*No such file",
                "unreadable": "aditd.toml: .*Permission denied"}[how])
    a.write = write
    afterwards(a, pair, lambda: a.write(text))


@case(how=("others_read", "roots_alone", "gone", "another_key_of_the_same_name"))
def key_file(net, how):
    """A key file that others may read, or the daemon's user may not, refuses a reload whatever else it changes."""
    pair, a, b, x = pair_of(net)
    path = f"{a.folder}/{x}.key"
    a.config["wireguard"][x].update(mtu=1300, addresses=["10.7.0.1/24"])
    mend = lambda: a.secret(f"{x}.key", keys().private)
    if how == "others_read":
        os.chmod(path, 0o644)
        refused(a, re.escape(path) + ".*(mode|read)")
    elif how == "roots_alone":
        os.chown(path, 0, 0)
        refused(a, re.escape(path) + ".*Permission denied")
    elif how == "gone":
        os.unlink(path)
        refused(a, re.escape(path))
    else:
        public = a.status()["wireguard"][x]["public_key"]
        mend()
        assert f"changed {x}" in a.reload()
        assert a.status()["wireguard"][x]["public_key"] != public
        return
    afterwards(a, pair, mend)


@case(key=("gateway.name", "gateway.user", "gateway.workers", "admin.read_group", "log.format", "metrics"))
def takes_a_restart(net, key):
    """What takes effect at a start only refuses the reload by name, also together with other changes."""
    pair, a, b, x = pair_of(net)
    table, _, word = key.partition(".")
    value = {"name": "other", "user": "root", "workers": 2, "read_group": "nogroup", "format": "json",
             "": {"listen": "127.0.0.1:9586"}}[word]
    a.config["wireguard"][x]["mtu"] = 1300
    if word:
        before = a.config[table].get(word)
        a.config[table][word] = value
    else:
        a.config[table] = value
    refused(a, rf"{key if key == 'log.format' else table}.* changed: that takes a restart")
    if not word:
        del a.config[table]
    elif before is None:
        del a.config[table][word]
    else:
        a.config[table][word] = before
    afterwards(a, pair, lambda: None)


@case(how=("new_tunnel", "changed_tunnel", "device", "hook", "route"))
def half_way(net, how):
    """What fails half way through preparing is undone whole, with all that was prepared before it."""
    pair, a, b, x = pair_of(net)
    name, host, table = pair.left.device.name, a.host, a.config["wireguard"]
    taken = host.socket(socket.AF_INET, socket.SOCK_DGRAM)
    taken.bind(("0.0.0.0", PORT + 7))
    # All of this is possible, and prepared before what is not: names are taken in their order.
    first, last = net.device("a1"), net.device("zz")
    a.tunnel(first, keys(), ["10.5.0.1/24", "fd05::1/64"], PORT + 2)
    a.peer(first, "p", keys().public, ["10.73.0.0/16", "0.0.0.0/0", "::/0"], endpoint="192.0.2.9:9")
    table[name].update(addresses=["10.9.0.1/24", "fd09::1/64", "10.6.0.1/24"], mtu=1400)
    a.peer(name, "new", keys().public, ["10.74.0.0/16"])
    a.tunnel(last, keys(), ["10.4.0.1/24"], PORT + 3)
    mend = lambda: table.pop(last)
    if how == "new_tunnel":
        table[last]["listen_port"] = PORT + 7
        reason = f"{last}: listen_port {PORT + 7}: .*in use"
    elif how == "changed_tunnel":
        table[x]["listen_port"] = PORT + 7
        reason, mend = f"{x}: listen_port {PORT + 7}: .*in use", lambda: table[x].update(listen_port=PORT + 1)
    elif how == "device":
        host.ip(f"link add {last} type veth peer name {net.device('zy')}")
        reason = f"{last}: .*may exist"
    elif how == "hook":
        table[last]["hooks"] = {"pre_up": ["exit 3"]}
        reason = f"{last}: pre_up: exit 3: "
    else:
        # A route of somebody else's, exactly as ours would be.
        host.ip(f"route add 10.74.0.0/16 dev {x}")
        reason = "10.74.0.0/16.*exists"
    refused(a, reason)
    if how == "route":
        mend = lambda: host.ip(f"route del 10.74.0.0/16 dev {x}")
    afterwards(a, pair, mend)
    assert "10.74.0.0/16" in host.ip(f"route show dev {name}") and "10.6.0.1/24" in host.ip(f"address show {name}")
    assert first in host.ip("route get 203.0.113.1") and "10.73.0.0/16" in a.guards()
