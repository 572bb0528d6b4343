"""adit, the client: from a wg-quick file to a tunnel, and back; its words when there is none."""
import json
import os
import time

from lab.case import case
from lab.client import Client, profile
from lab.daemon import gateway
from lab.etc import own
from lab.namespace import pids
from lab.site import wired
from lab.traffic import ping, reaches
from lab.wait import until

ELSEWHERE = "198.51.100.1"


def scene(net, peer="wireguard-go", started=True):
    """a: the client ---- wire ---- b: a gateway, with 198.51.100.1 behind it."""
    pair = wired(net, right="adit" if peer == "aditd" else peer)
    pair.right.host.address("lo", f"{ELSEWHERE}/32")
    if peer == "aditd" and started:
        daemon = gateway(pair, pair.right)
        daemon.start()
    elif started:
        pair.right.start()
        pair.configure(pair.right, knows_endpoint=False)
    return pair, Client(pair.left.host)


#   a: adit up ---- wire ---- b: the gateway
@case(peer=("wireguard-go", "aditd"))
def up_and_down(net, peer):
    """import, up, ping, status and down against a gateway; down leaves no link, process, route or socket."""
    pair, client = scene(net, peer)
    before = [pair.left.host.ip(words) for words in ("-o link", "route show table all", "rule")]
    name = client.take_in(profile(pair))
    assert client.state() == "down" and client.ctl("status", name)[0] == 1
    code, output = client.ctl("up", name)
    assert code == 0 and output == f"{name}: connected\n", output
    assert ping(pair.left.host, pair.right.inner()) == 3
    assert ping(pair.left.host, pair.right.inner("v6")) == 3
    code, output = client.ctl("status", name)
    assert code == 0 and output.startswith(f"{name}: connected\n"), output
    told = client.status()
    assert told["endpoint"] == pair.right.endpoint() and told["path_mtu"] == 1500 and not told["full_tunnel"], told
    assert client.ctl("up", name)[1].startswith(f"{name}: up already")
    code, output = client.ctl("up", name, "--full-tunnel")
    assert code == 1 and "up with less than that" in output, "a full tunnel that is none"
    code, output = client.ctl("down")
    assert code == 0 and output == f"{name}: down\n", output
    assert [pair.left.host.ip(words) for words in ("-o link", "route show table all", "rule")] == before
    until(lambda: not pids(pair.left.host.netns), 10, "end of the process")
    assert os.listdir(client.run) == [] and client.ctl("down")[1] == "nothing is up\n"


#   a: adit up --full-tunnel ---- wire ---- b: wireguard-go with 198.51.100.1
@case()
def full_tunnel(net):
    """Without --full-tunnel what the profile does not name goes elsewhere; with it everything is in the tunnel."""
    pair, client = scene(net)
    name = client.take_in(profile(pair))
    client.up()
    assert ping(pair.left.host, ELSEWHERE, count=1, wait=0.3) == 0, "split by default"
    client.ctl("down")
    client.up("--full-tunnel")
    assert f"dev {name}" in pair.left.host.ip(f"route get {ELSEWHERE}")
    assert ping(pair.left.host, ELSEWHERE) == 3
    assert client.status()["full_tunnel"] and client.status()["kill_switch"]
    client.ctl("down")
    assert "adit" not in pair.left.host.run("nft", "list", "tables") and "suppress" not in pair.left.host.ip("rule")


#   a: a client that is killed ---- wire ---- b: wireguard-go
@case()
def comes_back(net):
    """After kill -9 what the profile names is held back, status says what was left, and up or down put it right."""
    pair, client = scene(net)
    name = client.take_in(profile(pair))
    for mend in ("up", "down"):
        client.up()
        client.kill()
        # The kernel takes the device away after the process.
        until(lambda: f" {name}:" not in pair.left.host.ip("-o link"), 10, "the end of the device")
        code, output = pair.left.host.attempt("ping", "-c1", "-W1", pair.right.inner())
        assert code and ("unreachable" in output or "No route to host" in output), f"not held back: {output}"
        assert client.status()["state"] == "left"
        assert "is held back" in client.ctl("status")[1]
        code, output = client.ctl(mend)
        assert code == 0, output
        if mend == "up":
            assert ping(pair.left.host, pair.right.inner()) == 3
            client.ctl("down")
    assert "unreachable" not in pair.left.host.ip("route show table all") and client.state() == "down"


#   a: adit ---- wire ---- b: a gateway that restarts, then moves
@case(limit=60)
def gateway_restarts(net):
    """A gateway that restarts is found again by itself; meanwhile the status does not go on saying connected."""
    pair, client = scene(net)
    client.take_in(profile(pair, keepalive=1))
    client.up()
    pair.right.device.stop()
    # Silence is noticed by those who speak.
    pair.left.host.attempt("ping", "-c", 3, "-i", 0.2, "-W", 1, pair.right.inner())
    until(lambda: client.state() != "connected", 30, "another word than connected", step=0.2)
    pair.right.start()
    pair.configure(pair.right, knows_endpoint=False)
    until(lambda: client.state() == "connected", 20, "the gateway is found again", step=0.1)
    assert reaches(pair.left.host, pair.right.inner())


#   a: adit ---- wire, whose address changes ---- b: wireguard-go
@case()
def roams(net):
    """The client's address changes: the tunnel goes on without being set up anew."""
    pair, client = scene(net)
    client.take_in(profile(pair, keepalive=1))
    client.up()
    pid = client.status()["pid"]
    pair.left.host.ip("address flush dev wire")
    pair.left.host.address("wire", "192.0.2.77/24")
    assert reaches(pair.left.host, pair.right.inner(), 10) is not None
    assert client.state() == "connected" and client.status()["pid"] == pid


#   a: adit ---- wire ---- b: wireguard-go
@case(limit=60)
def name_of_the_gateway(net):
    """A gateway by its name, which leads elsewhere later: it is looked up again when nobody answers."""
    pair, client = scene(net)

    def leads_to(address):
        own(pair.left.host, "hosts", f"127.0.0.1 localhost\n{address} gate.test\n")
    leads_to("192.0.2.99")
    client.take_in(profile(pair, endpoint="gate.test:51820", keepalive=1))
    code, output = client.ctl("up", "--wait", "1")
    assert code == 1 and "not connected" in output, output
    leads_to(pair.right.outer())
    until(lambda: client.state() == "connected", 25, "the name is looked up again", step=0.2)


# ------------------------------------------------------------------------------------------------- what is wrong

#   a: adit, without a network
@case()
def no_route(net):
    """Without a route to the gateway it says so at once, ends with 1, and goes on trying."""
    pair, client = scene(net)
    pair.left.host.ip("address flush dev wire")
    client.take_in(profile(pair))
    start = time.monotonic()
    code, output = client.ctl("up")
    assert code == 1 and "no route to the gateway 192.0.2.2:51820: Network is unreachable" in output, output
    assert time.monotonic() - start < 3, "it is known at once"
    assert client.ctl("status")[0] == 1 and client.state() == "no_route"
    pair.left.address_wire()
    until(lambda: client.state() == "connected", 15, "connected once there is a network", step=0.1)


#   a: adit ---- wire ---- b, which drops UDP
@case(limit=60)
def blocked_udp(net):
    """Where UDP is dropped on the way it says that nobody answers and that UDP may be blocked; never connected."""
    pair, client = scene(net)
    pair.right.host.run("nft", "-f", "-", data="table inet block { chain in { type filter hook input priority 0; "
                        "meta l4proto udp drop; }; }")
    name = client.take_in(profile(pair))
    code, output = client.ctl("up", "--wait", "8")
    assert code == 1 and "no answer from 192.0.2.2:51820" in output and "block UDP" in output, output
    code, output = client.ctl("status")
    assert code == 1 and output.startswith(f"{name}: not connected\n"), output
    pair.right.host.run("nft", "delete", "table", "inet", "block")
    until(lambda: client.state() == "connected", 15, "connected once UDP passes", step=0.1)
    pair.right.host.run("nft", "-f", "-", data="table inet block { chain in { type filter hook input priority 0; "
                        "meta l4proto udp drop; }; }")
    pair.left.host.attempt("ping", "-c", 3, "-i", 0.2, "-W", 1, pair.right.inner())
    until(lambda: client.state() == "no_answer", 40, "silence is noticed", step=0.2)


#   a: adit ---- wire ---- b, where nothing listens
@case()
def refused(net):
    """Where nothing listens on the gateway's port it says refused."""
    pair, client = scene(net, started=False)
    client.take_in(profile(pair))
    start = time.monotonic()
    code, output = client.ctl("up")
    assert code == 1 and "refused: 192.0.2.2:51820" in output, output
    assert time.monotonic() - start < 3 and client.state() == "refused"


#   a: adit with a firewall of its own ---- wire ---- b: wireguard-go
@case()
def own_firewall(net):
    """What a firewall of this machine holds back is told apart."""
    pair, client = scene(net)
    pair.left.host.run("nft", "-f", "-", data="table inet block { chain out { type filter hook output priority 0; "
                       "udp dport 51820 drop; }; }")
    client.take_in(profile(pair))
    code, output = client.ctl("up")
    assert code == 1 and "a firewall of this machine" in output, output


@case()
def wrong_usage(net):
    """Wrong profiles and words end with 2 and change nothing; modes of files are looked at."""
    pair, client = scene(net)
    assert client.ctl("up")[0] == 2 and "adit import" in client.ctl("up")[1]
    path = f"{net.folder}/x.conf"
    with open(path, "w") as file:
        file.write("[Interface]\nPrivateKey = short\n")
    code, output = client.ctl("import", path)
    assert code == 2 and "x.conf:2" in output and "short" not in output, output
    name = client.take_in(profile(pair, extra="PostUp = touch /tmp/adit-was-here\n"))
    assert "PostUp" in client.told and not os.path.exists("/tmp/adit-was-here")
    file = f"{client.profiles}/{name}.toml"
    assert os.stat(file).st_mode & 0o777 == 0o600
    os.chmod(file, 0o644)
    code, output = client.ctl("up")
    assert code == 2 and "chmod 600" in output, output
    for command in ("up", "status", "down", "qr"):
        code, output = client.ctl(command, "none")
        assert code == 2 and f"there is no profile none; there are: {name}" in output, output
    assert client.ctl("down", name) == (0, f"{name}: down already\n")


#   a: adit up ---- wire ---- b: wireguard-go
@case()
def first_ping(net):
    """The time from adit up to the first echo is told by the case's log; no more is asked than that there is one."""
    pair, client = scene(net)
    client.take_in(profile(pair))
    times, ups = [], []
    for _ in range(7):
        start = time.monotonic()
        client.up()
        ups.append(time.monotonic() - start)
        assert reaches(pair.left.host, pair.right.inner()) is not None
        times.append(time.monotonic() - start)
        client.ctl("down")
    told = {"up": sorted(ups), "first ping": sorted(times)}
    with open(net.log("first-ping"), "w") as file:
        json.dump(told, file)
    if path := os.environ.get("ADIT_FIRST_PING"):
        with open(path, "w") as file:
            json.dump(told, file)
