"""aditctl import: a wg-quick file as aditd's configuration does what wg-quick makes of it."""
import os
import re
import stat

from lab.case import case
from lab.daemon import ADITCTL, Daemon, toml
from lab.site import PORT, wired
from lab.traffic import reaches
from lab.wireguard import Device, keys, preshared_key, program

LINES = {
    "plain": ("", ""),
    "default_route": ("", ", 0.0.0.0/0, ::/0"),
    "own_mark": ("FwMark = 0x77\nMTU = 1380\n", ", 0.0.0.0/0"),
    "table_off": ("Table = off\n", ", 0.0.0.0/0"),
    "own_table": ("Table = 123\nMTU = 1300\n", ", 0.0.0.0/0"),
}
AWAY = ("10.9.0.2", "10.9.0.77", "10.30.0.1", "198.51.100.1", "192.0.2.2", "2001:db8::2", "fd09::2", "fd30::1",
        "2001:db8:ffff::1")


def conf(pair, site, told, extra="", allowed="", psk=None, more=""):
    other = pair.other(site)
    return f"""# a wg-quick file
[interface]
privatekey={site.keys.private}
Address = {site.inner()}/24 , {site.inner('v6')}/64
Address = 10.10.0.{site.number}/32 # another
ListenPort = {PORT}
DNS = 10.9.0.2, example.org
PreUp = echo pre_up %i >> {told}
PostUp = echo post_up %i >> {told}; ip route add 10.66.0.0/16 dev %i
PreDown = echo pre_down "%i" >> {told}
PostDown = echo post_down %i >> {told}
{extra}
[Peer]
# the {other.host.name} side
PublicKey = {other.keys.public}
PresharedKey = {psk}
AllowedIPs = {other.inner()}/32, {other.inner('v6')}/128
AllowedIPs = 10.30.0.1/16, fd30::/48{allowed}
Endpoint = {other.endpoint()}
PersistentKeepalive = 25

{more}"""


def interpretation(host, name):
    """What a running tunnel is: its addresses, MTU, WireGuard's configuration, and where packets would go."""
    link = host.ip(f"-o link show {name}")
    addresses = sorted(word for line in host.ip(f"-o address show {name}").splitlines() if "scope global" in line
                       for word in line.split() if "/" in word)
    ways = {}
    for target in AWAY + ("203.0.113.200",):
        code, output = host.attempt("ip", "route", "get", target)
        found = re.search(r"dev (\S+)", output)
        ways[target] = found[1] if code == 0 and found else "nowhere"
    shown = sorted(host.run("wg", "showconf", name).splitlines())
    extra = host.ip("route show 10.66.0.0/16").strip()
    return {"mtu": re.search(r"mtu (\d+)", link)[1], "addresses": addresses, "ways": ways, "wg": shown, "hook": extra,
            "table 123": {line.split(" ")[0] for line in host.ip("route show table all").splitlines()
                          if "table 123" in line and "unreachable" not in line}}


def write(path, text):
    with open(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)
    return path


#   a: wg-quick, then aditd with the same file imported ---- wire ---- b: wg-quick
@case(kind=tuple(LINES))
def as_wg_quick(net, kind):
    """A file under wg-quick and, imported, under aditd: the same addresses, routes, MTU, peers, hooks; and it works."""
    pair = wired(net)
    psk, (extra, allowed) = preshared_key(), LINES[kind]
    quick = {"WG_QUICK_USERSPACE_IMPLEMENTATION": program("adit")[0], "PATH": f"{net.folder}:{os.environ['PATH']}"}
    # wg-quick gives DNS servers to resolvconf; there is nothing to be told here.
    os.chmod(write(f"{net.folder}/resolvconf", "#!/bin/sh\ncat > /dev/null\n"), 0o755)
    daemon = Daemon(pair.left.host)
    told = f"{daemon.folder}/told"
    write(told, "")
    os.chmod(told, 0o666)
    pair.right.device = Device(pair.right.host, "adit", net.device("q2"))
    right = write(f"{net.folder}/{net.device('q2')}.conf", conf(pair, pair.right, "/dev/null", psk=psk))
    pair.right.host.run("wg-quick", "up", right, env=quick)
    stranger = f"[Peer]\nPublicKey = {keys().public}\nAllowedIPs = 10.40.0.0/16\n"
    name = net.device("q1")
    left = write(f"{net.folder}/{name}.conf", conf(pair, pair.left, told, extra, allowed, psk, stranger))
    a = pair.left.host
    a.address("lo", "203.0.113.1/24")
    a.route("default via 192.0.2.9", "default via 2001:db8::9")
    a.run("wg-quick", "up", left, env=quick)
    by_wg_quick = interpretation(a, name)
    if kind not in ("table_off", "own_table"):
        assert reaches(a, pair.right.inner())
    a.run("wg-quick", "down", left, env=quick)
    hooks, _ = open(told).read(), write(told, "")

    made = a.run("sh", "-c", f"exec {ADITCTL} import {left} --keys {daemon.folder}/keys 2>{net.log('import')}")
    for secret in (pair.left.keys.private, psk):
        assert secret not in made
    folder = f"{daemon.folder}/keys"
    assert {stat.S_IMODE(os.stat(f"{folder}/{file}").st_mode) for file in os.listdir(folder)} == {0o600}
    assert len(os.listdir(folder)) == 2 and stat.S_IMODE(os.stat(folder).st_mode) & 0o077 == 0
    del daemon.config["wireguard"]
    daemon.write(toml(daemon.config) + made)
    daemon.launch().wait_output(": ready;", 20)
    imported = interpretation(a, name)
    assert imported == by_wg_quick, {what: (by_wg_quick[what], imported[what]) for what in imported
                                     if by_wg_quick[what] != imported[what]}
    if kind not in ("table_off", "own_table"):
        assert reaches(a, pair.right.inner(), 15) and reaches(a, pair.right.inner("v6"), 15)
    daemon.stop()
    assert open(told).read() == hooks and hooks.count("\n") == 4, (hooks, open(told).read())


@case()
def refusals(net):
    """What is no wg-quick file ends with 1 and the line; nothing is printed, and no other key overwritten."""
    pair = wired(net)
    host, folder = pair.left.host, f"{net.folder}/keys"
    run = f"exec {ADITCTL} import %s --keys {folder} 2>&1 >{net.folder}/out"
    command = lambda path: host.attempt("sh", "-c", run % path)
    wrong = (("[Interface]\nPrivateKey = short\n", "line 2"), ("[Interface]\nNoSuch = 1\n", "line 2"),
             ("PrivateKey = x\n", "line 1"), ("", ""))
    for number, (text, line) in enumerate(wrong):
        code, said = command(write(f"{net.folder}/w{number}.conf", text))
        assert code == 1 and (line in said or f":{line[-1:]}:" in said), f"{text!r}: exit {code}: {said}"
        assert open(f"{net.folder}/out").read() == "" and not os.path.exists(folder), said
        assert "short" not in said, "a key, if a wrong one, is told"
    good = write(f"{net.folder}/good.conf", f"[Interface]\nPrivateKey = {pair.left.keys.private}\n")
    assert command(good)[0] == 0 and command(good)[0] == 0, "the same key again is no obstacle"
    write(f"{folder}/good.key", keys().private)
    before = open(f"{folder}/good.key").read()
    code, said = command(good)
    assert code == 1 and "good.key" in said and open(f"{net.folder}/out").read() == "", said
    assert open(f"{folder}/good.key").read() == before
