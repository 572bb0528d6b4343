"""Many peers and many tunnels in one file: it is loaded, reloaded and told of in a time that a person can wait for."""
import base64
import os
import time

from lab.case import case
from lab.daemon import gateways
from lab.process import resident
from lab.site import PORT, wired
from lab.traffic import Sequence, reaches
from lab.wait import until
from lab.wireguard import keys

PEERS, TUNNELS = 2000, 40


def stranger():
    """A public key of nobody's."""
    return base64.b64encode(os.urandom(32)).decode()


def timed(what, act):
    """Does it, and says how long it took."""
    begin = time.monotonic()
    result = act()
    took = time.monotonic() - begin
    print(f"{what}: {took * 1000:.0f} ms", flush=True)
    return took, result


#   a: aditd with 2,000 peers ---- wire ---- b: aditd, one of them
@case(limit=120)
def peers(net):
    """2,000 peers load; a reload that changes one of them costs a flow of another nothing; the status tells of all."""
    pair = wired(net)
    a, b = gateways(pair)
    name = pair.left.device.name
    for number in range(PEERS):
        ranges = [f"10.{100 + number // 256}.{number % 256}.0/24", f"fd44:{number:x}::/32"]
        a.peer(name, f"p{number}", stranger(), ranges)
    b.start()
    took, _ = timed(f"start with {PEERS} peers", a.start)
    assert took < 20
    assert reaches(a.host, pair.right.inner())
    before = resident(a.process.pid)
    steady = [Sequence(a.host, b.host, pair.right.inner(), 7000), Sequence(b.host, a.host, pair.left.inner(), 7001)]
    until(lambda: all(sequence.arrived for sequence in steady), 10, "datagrams")
    changed = a.config["wireguard"][name]["peer"]["p1000"]
    for round in range(3):
        changed["allowed_ips"] = [f"10.200.{round}.0/24"]
        took, said = timed("reload that changes one peer", a.reload)
        assert took < 10 and f"changed {name}" in said
        assert f"10.200.{round}.0/24" in a.host.ip(f"route show dev {name} root 10.200.0.0/16")
        assert pair.left.device.state().peers[changed["public_key"]].allowed_ips == [f"10.200.{round}.0/24"]
    took, said = timed("reload that changes nothing", a.reload)
    assert said.strip() == "nothing changed" and took < 10
    took, told = timed("status as JSON", a.status)
    assert took < 5 and len(told["wireguard"][name]["peers"]) == PEERS + 1
    took, _ = timed("status for people", lambda: a.ctl("status"))
    assert took < 5
    took, (_, text) = timed("metrics", lambda: a.http("GET", "/metrics"))
    assert took < 5 and text.count("wireguard_sent_bytes_total{") == PEERS + 1
    for sequence in steady:
        came = sequence.stop()
        lost = sorted(set(range(came[0], sequence.sent)) - set(came))
        print(f"longest gap: {sequence.longest_gap() * 1000:.0f} ms")
        assert not lost, lost
    print(f"resident: {before} KiB, later {resident(a.process.pid)} KiB", flush=True)
    a.config["wireguard"][name]["peer"] = {"other": a.config["wireguard"][name]["peer"]["other"]}
    took, _ = timed(f"reload that removes {PEERS} peers", a.reload)
    assert took < 20 and len(pair.left.device.state().peers) == 1 and len(a.guards()) == 4
    assert reaches(a.host, pair.right.inner())


@case(limit=60)
def tunnels(net):
    """40 tunnels in one daemon come and go with one reload each, and leave no device, guard, descriptor or thread."""
    pair = wired(net)
    a, b = gateways(pair)
    a.start()
    b.start()
    assert reaches(a.host, pair.right.inner())
    count = lambda what: len(os.listdir(f"/proc/{a.process.pid}/{what}"))
    # A client that is being answered has a descriptor, and perhaps a thread.
    most = {what: count(what) + 3 for what in ("fd", "task")}
    for _ in range(3):
        for number in range(TUNNELS):
            a.tunnel(net.device(f"t{number}"), keys(), [f"10.150.{number}.1/24"], PORT + 1 + number)
            a.peer(net.device(f"t{number}"), "p", stranger(), [f"10.151.{number}.0/24"])
        timed(f"reload that adds {TUNNELS} tunnels", a.reload)
        assert sum(tunnel["state"] == "up" for tunnel in a.status()["wireguard"].values()) == TUNNELS + 1
        a.config["wireguard"] = {pair.left.device.name: a.config["wireguard"][pair.left.device.name]}
        timed(f"reload that removes {TUNNELS} tunnels", a.reload)
        assert len(a.guards()) == 4 and a.host.ip("-o link").count("\n") == 3
        until(lambda: all(count(what) <= most[what] for what in most), 15, f"at most {most}")
        print("descriptors, threads, resident:", count("fd"), count("task"), resident(a.process.pid), flush=True)
    assert reaches(a.host, pair.right.inner())
