"""adit in an access network that has IPv6 alone, with and without DNS64."""
import re

from cases.client_tunnel import ELSEWHERE, scene
from cases.daemon_names import Dns
from lab.case import case
from lab.client import profile
from lab.site import PORT
from lab.traffic import ping

# What a DNS64 makes of 192.0.2.2 (RFC 6052): behind it a NAT64 leads to the gateway's IPv4 address.
SYNTHESISED = "64:ff9b::c000:202"


def only_ipv6(net):
    pair, client = scene(net)
    host = pair.left.host
    host.ip("-4 address flush dev wire")
    host.route(f"default via {pair.right.outer('v6')}")
    return pair, client


def works(pair, client, endpoint):
    """Split by default, both families inside; then everything."""
    client.up()
    assert client.status()["endpoint"] == endpoint, client.status()
    assert ping(pair.left.host, pair.right.inner()) == 3 and ping(pair.left.host, pair.right.inner("v6")) == 3
    assert ping(pair.left.host, ELSEWHERE, count=1, wait=0.3) == 0, "split by default"
    client.ctl("down")
    client.up("--full-tunnel")
    assert ping(pair.left.host, ELSEWHERE) == 3, "IPv4 for everything, through the tunnel over IPv6"
    client.ctl("down")


#   a: adit, without IPv4 ---- wire ---- b: wireguard-go
@case()
def list_of_endpoints(net):
    """Of a gateway's addresses the one of IPv6 is taken where there is no IPv4."""
    pair, client = only_ipv6(net)
    name = client.take_in(profile(pair))
    path = f"{client.profiles}/{name}.toml"
    with open(path) as file:
        text = file.read()
    both = f'endpoints = ["{pair.right.endpoint()}", "{pair.right.endpoint("v6")}"]'
    with open(path, "w") as file:
        file.write(re.sub(r"endpoints = .*", both, text))
    works(pair, client, pair.right.endpoint("v6"))


#   a: adit, without IPv4, with DNS64 ---- wire: NAT64 ---- b: wireguard-go
@case()
def dns64(net):
    """A gateway whose name has IPv4 alone is reached at the address that a DNS64 makes of it."""
    pair, client = only_ipv6(net)
    pair.right.host.address("lo", f"{SYNTHESISED}/128")
    Dns(pair.left.host, {"gate.test": [pair.right.outer(), SYNTHESISED]})
    client.take_in(profile(pair, endpoint=f"gate.test:{PORT}"))
    works(pair, client, f"[{SYNTHESISED}]:{PORT}")


#   a: adit, without IPv4, with DNS64 ---- wire: NAT64 ---- b: wireguard-go
@case()
def address_of_ipv4(net):
    """A gateway of which an IPv4 address alone is known is reached behind the NAT64, whose prefix a known name tells."""
    pair, client = only_ipv6(net)
    pair.right.host.address("lo", f"{SYNTHESISED}/128")
    Dns(pair.left.host, {"ipv4only.arpa": ["192.0.0.170", "192.0.0.171", "64:ff9b::c000:aa", "64:ff9b::c000:ab"]})
    client.take_in(profile(pair))
    works(pair, client, f"[{SYNTHESISED}]:{PORT}")


#   a: adit, without IPv4 ---- wire ---- b: wireguard-go
@case()
def ipv4_alone(net):
    """A gateway with an IPv4 address alone is told to be out of reach, at once."""
    pair, client = only_ipv6(net)
    client.take_in(profile(pair))
    code, output = client.ctl("up")
    assert code == 1 and f"no route to the gateway {pair.right.endpoint()}" in output, output
