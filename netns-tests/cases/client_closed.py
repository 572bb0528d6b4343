"""adit's kill switch and DNS, also after kill -9: by capture, and by what is in resolv.conf."""
import os

from lab.capture import Capture
from lab.case import case
from lab.client import Client, profile
from lab.etc import own
from lab.frame import parse_udp
from lab.resolved import STUB, Resolved
from lab.site import PORT, wired
from lab.traffic import Marker, ping
from lab.wait import until

ELSEWHERE, ELSEWHERE6 = "198.51.100.1", "2001:db8:ffff::1"


def scene(net):
    """a: the client, whose default route is b ---- wire ---- b: wireguard-go, with 198.51.100.1 behind it."""
    pair = wired(net, right="wireguard-go", offload=False)
    pair.right.host.address("lo", f"{ELSEWHERE}/32", f"{ELSEWHERE6}/128")
    pair.right.start()
    pair.configure(pair.right, knows_endpoint=False)
    pair.left.host.route(f"default via {pair.right.outer()}", f"default via {pair.right.outer('v6')}")
    return pair, Client(pair.left.host)


def lures(pair, tag):
    """Sends markers everywhere: to the site, elsewhere, and to the gateway itself beside the tunnel."""
    marker = Marker(tag)
    for address in (pair.right.inner(), ELSEWHERE, ELSEWHERE6, pair.right.outer(), pair.right.outer("v6")):
        try:
            marker.send(pair.left.host, address, count=5)
        except OSError:
            pass        # held back with a word
    return marker.bytes


#   a: adit up --full-tunnel, killed ---- wire, captured ---- b: wireguard-go
@case()
def kill_switch(net):
    """With a full tunnel nothing leaves in clear: up, killed, without its device, up again; down ends that."""
    pair, client = scene(net)
    client.take_in(profile(pair))
    capture = Capture(pair.left.host, "wire")
    open_ = lures(pair, "before it is up")
    capture.wait_holds(open_)
    client.up("--full-tunnel")
    assert ping(pair.left.host, ELSEWHERE) == 3, "the tunnel works"
    markers = [lures(pair, "while it is up")]
    client.kill()
    markers.append(lures(pair, "after it was killed"))
    assert ping(pair.left.host, ELSEWHERE, count=1, wait=0.3) == 0
    code, output = client.ctl("status")
    assert code == 1 and "kill switch holds back everything" in output, output
    client.up("--full-tunnel")
    assert ping(pair.left.host, ELSEWHERE) == 3, "it works again"
    markers.append(lures(pair, "up again"))
    pair.left.host.ip(f"link del {client.name}")
    until(lambda: client.state() == "left", 15, "the process ends with its device")
    markers.append(lures(pair, "without its device"))
    frames = capture.stop()
    assert capture.dropped() == 0
    for marker in markers:
        assert not any(marker in frame for frame in frames), f"{marker[:40]} left in clear"
    assert client.ctl("down")[0] == 0
    after = Capture(pair.left.host, "wire")
    after.wait_holds(lures(pair, "after down"))


#   a: adit up --full-tunnel ---- wire, captured ---- b
@case()
def only_the_tunnel_on_the_wire(net):
    """Under the kill switch the wire carries the tunnel's datagrams, ARP and neighbour discovery, and nothing else."""
    pair, client = scene(net)
    client.take_in(profile(pair))
    client.up("--full-tunnel")
    capture = Capture(pair.left.host, "wire")
    lures(pair, "whatever")
    pair.left.host.attempt("ping", "-c", 1, "-W", 1, "192.0.2.44")
    assert ping(pair.left.host, ELSEWHERE) == 3
    source = bytes.fromhex(pair.left.host.run("cat", "/sys/class/net/wire/address").strip().replace(":", ""))
    others = []
    for frame in capture.stop():
        kind, udp = frame[12:14], parse_udp(frame)
        ours = udp and PORT in (udp.source_port, udp.target_port)
        discovery = kind == b"\x86\xdd" and frame[20] == 58 and frame[54] in (133, 135, 136)
        if frame[6:12] == source and not (ours or discovery or kind == b"\x08\x06"):
            others.append(frame.hex())
    assert not others, others
    assert capture.datagrams(PORT), "nothing was captured at all"


#   a: adit up, the firewall of the operator beside it
@case()
def kill_switch_by_itself(net):
    """--kill-switch holds with a split tunnel too, and what others have in nf_tables is left alone."""
    pair, client = scene(net)
    pair.left.host.run("nft", "add", "table", "inet", "theirs")
    client.take_in(profile(pair))
    client.up("--kill-switch")
    assert ping(pair.left.host, pair.right.inner()) == 3
    assert ping(pair.left.host, pair.right.outer(), count=1, wait=0.3) == 0, "beside the tunnel nothing leaves"
    pair.left.host.run("nft", "delete", "table", "inet", f"adit-client-{client.name}")
    until(lambda: "adit-client" in pair.left.host.run("nft", "list", "tables"), 15, "it is put back", step=0.2)
    client.ctl("down")
    assert pair.left.host.run("nft", "list", "tables").strip() == "table inet theirs"
    assert ping(pair.left.host, pair.right.outer()) == 3


# --------------------------------------------------------------------------------------------------------- DNS

def own_resolv_conf(host, text):
    """Gives a host a resolv.conf of its own; the path to look at."""
    own(host, "resolv.conf", text)
    return lambda: host.run("cat", "/etc/resolv.conf")


PLAIN = "# written by hand\nnameserver 192.0.2.53\n"


#   a: adit up with DNS, without systemd-resolved and resolvconf
@case()
def dns_is_put_back(net):
    """resolv.conf has the site's servers while the tunnel is up; down, and kill -9 too, put back what was there."""
    pair, client = scene(net)
    shown = own_resolv_conf(pair.left.host, PLAIN)
    client.take_in(profile(pair, dns="10.9.0.2, corp.example"))
    client.up()
    assert "nameserver 10.9.0.2\nsearch corp.example\n" in shown()
    assert client.status()["dns_keeper"] == "file"
    client.ctl("down")
    assert shown() == PLAIN
    client.up()
    client.kill()
    until(lambda: shown() == PLAIN, 15, "the process that watches puts it back")
    client.ctl("down")
    assert shown() == PLAIN


#   a: adit up with DNS, and both its processes killed
@case(mend=("up", "down"))
def dns_after_all_were_killed(net, mend):
    """When the process that watches is killed too, the next up or down puts resolv.conf right."""
    pair, client = scene(net)
    shown = own_resolv_conf(pair.left.host, PLAIN)
    client.take_in(profile(pair, dns="10.9.0.2"))
    client.up()
    # The one that watches first: it would be done at once.
    watching = pair.left.host.run("pgrep", "-f", f"keep -- {client.name}").split()
    ours = [int(pid) for pid in watching if client.folder in open(f"/proc/{pid}/cmdline").read()]
    assert len(ours) == 1, ours
    os.kill(ours[0], 9)
    client.kill()
    assert "10.9.0.2" in shown()
    assert "name servers" in client.ctl("status")[1]
    code, output = client.ctl(mend)
    assert code == 0, output
    assert ("10.9.0.2" in shown()) == (mend == "up")
    client.ctl("down")
    assert shown() == PLAIN


#   a: adit up with DNS, where systemd-resolved keeps the names
@case()
def dns_by_resolved(net):
    """Where systemd-resolved keeps the names, it is told by D-Bus of the link's servers and domains; resolv.conf is left."""
    pair, client = scene(net)
    resolved = Resolved(pair.left.host, client.folder)
    name = client.take_in(profile(pair, dns="10.9.0.2, fd09::2, corp.example"))
    servers = [[2, [10, 9, 0, 2]], [10, [0xfd, 9, *[0] * 13, 2]]]
    for words, domains, default in (((), [["corp.example", False]], False),
                                    (("--full-tunnel",), [["corp.example", False], [".", True]], True)):
        already = len(resolved.told())
        assert client.ctl("up", *words, env=resolved.env)[0] == 0
        index = int(pair.left.host.run("cat", f"/sys/class/net/{name}/ifindex"))
        assert pair.left.host.run("cat", "/etc/resolv.conf") == STUB and client.status()["dns_keeper"] == "resolved"
        assert resolved.told()[already:] == [["SetLinkDNS", "ia(iay)", index, servers],
                                             ["SetLinkDomains", "ia(sb)", index, domains],
                                             ["SetLinkDefaultRoute", "ib", index, default]], resolved.told()
        assert client.ctl("down", env=resolved.env)[0] == 0


#   a: adit up with DNS, where systemd-resolved refuses
@case()
def dns_refused_by_resolved(net):
    """What systemd-resolved refuses is taken back and told; the tunnel is up."""
    pair, client = scene(net)
    resolved = Resolved(pair.left.host, client.folder, refuses="SetLinkDomains")
    client.take_in(profile(pair, dns="10.9.0.2, corp.example"))
    client.ctl("up", env=resolved.env)
    assert [told[0] for told in resolved.told()] == ["SetLinkDNS", "SetLinkDomains", "RevertLink"], resolved.told()
    status = client.status()
    assert status["state"] == "connected" and "SetLinkDomains" in status["problems"][0], status
    assert "no such link" in status["problems"][0] and pair.left.host.run("cat", "/etc/resolv.conf") == STUB, status


#   a: adit up with DNS, a stub behind which nobody is
@case()
def dns_without_resolved(net):
    """Where a stub is named and nobody is on the bus, resolv.conf itself is written, and put back."""
    pair, client = scene(net)
    shown = own_resolv_conf(pair.left.host, STUB)
    client.take_in(profile(pair, dns="10.9.0.2"))
    assert client.ctl("up", env={"DBUS_SYSTEM_BUS_ADDRESS": "unix:path=/nowhere"})[0] == 0
    assert "nameserver 10.9.0.2" in shown() and client.status()["dns_keeper"] == "file"
    client.ctl("down")
    assert shown() == STUB
