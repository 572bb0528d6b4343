"""wg-quick as people use it, with adit as its userspace implementation."""
import os

from lab.case import case
from lab.namespace import pids
from lab.site import Site, wired
from lab.traffic import ping
from lab.wait import until
from lab.wireguard import program


def environment(net):
    """wg-quick starts the program where the kernel has no WireGuard."""
    return {"WG_QUICK_USERSPACE_IMPLEMENTATION": program("adit")[0]}


def write(net, site, other, addresses, extra=""):
    """A conf file for wg-quick. Its name is the device's name."""
    path = f"{net.folder}/{site.device.name}.conf"
    with open(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600), "w") as file:
        file.write(f"{site.interface_conf()}Address = {addresses}\n{extra}\n")
        file.write(other.peer_conf(endpoint=other.endpoint()))
    return path


#   a: wg-quick, adit ---- wire ---- b: wg-quick, adit
@case()
def up_and_down(net):
    """wg-quick up gives a working tunnel with addresses, MTU and routes; down leaves no link, process or socket."""
    pair = wired(net)
    paths = {}
    for site in (pair.left, pair.right):
        paths[site] = write(net, site, pair.other(site), f"{site.inner()}/32, {site.inner('v6')}/128", "MTU = 1380")
        output = site.host.run("wg-quick", "up", paths[site], env=environment(net))
        assert os.path.exists(site.device.socket), "wg-quick used the kernel's WireGuard: these cases need one without"
        assert "1380" in site.host.ip(f"link show {site.device.name}"), output
    assert ping(pair.left.host, pair.right.inner()) == 3
    assert ping(pair.right.host, pair.left.inner("v6")) == 3
    assert pair.left.host.run("wg-quick", "strip", paths[pair.left])
    for site in (pair.left, pair.right):
        site.host.run("wg-quick", "down", paths[site], env=environment(net))
        assert not os.path.exists(site.device.socket)
        until(lambda: not pids(site.host.netns), 10, "end of the process")
        assert site.device.name not in site.host.ip("-o link")


#   a: wg-quick with AllowedIPs = 0.0.0.0/0 ---- wire ---- b: adit with 198.51.100.1 behind it
@case()
def default_route(net):
    """A tunnel that takes the default route: wg-quick's fwmark keeps its own packets out of the tunnel."""
    pair = wired(net)
    pair.right.start()
    pair.configure(pair.right, knows_endpoint=False)
    pair.right.host.address("lo", "198.51.100.1/32")
    path = write(net, pair.left, pair.right, f"{pair.left.inner()}/32")
    with open(path) as file:
        text = file.read().replace(f"AllowedIPs = {pair.right.allowed_ips()}", "AllowedIPs = 0.0.0.0/0")
    with open(path, "w") as file:
        file.write(text)
    pair.left.host.run("wg-quick", "up", path, env=environment(net))
    assert pair.left.device.state().fwmark != "off"
    assert ping(pair.left.host, "198.51.100.1") == 3
    assert ping(pair.left.host, pair.right.inner()) == 3
    pair.left.host.run("wg-quick", "down", path, env=environment(net))


@case()
def save(net):
    """SaveConfig writes the peers of the running device back to the file."""
    pair = wired(net)
    path = write(net, pair.left, pair.right, f"{pair.left.inner()}/24", "SaveConfig = true")
    pair.left.host.run("wg-quick", "up", path, env=environment(net))
    added = Site(pair.left.host, "adit", 9, "wire").keys.public
    pair.left.device.set("peer", added, "allowed-ips", "10.9.0.9/32")
    pair.left.host.run("wg-quick", "down", path, env=environment(net))
    with open(path) as file:
        assert added in file.read()
