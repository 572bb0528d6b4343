"""What an Ethernet carries passes an encrypted link between two bridges, and looks the same on both sides.

    x: host [lan] ---- a: bridge, msec0 [wire] ==== [wire] b: msec0, bridge ---- [lan] y: host
"""
import os
import socket
import struct

from lab.case import case
from lab.frame import checksum
from lab.link import Link
from lab.link_dhcp import Client, serve
from lab.link_raw import BROADCAST, Raw
from lab.link_secy import SUITES
from lab.link_switch import Switch
from lab.traffic import all_arrive, iperf3, ping
from lab.wait import until

CARRIERS = ("raw", "udp")
X, Y = bytes.fromhex("020000000101"), bytes.fromhex("020000000202")


@case(carrier=(*CARRIERS, "udp6"), keys=("noise", "static"))
def hosts(net, carrier, keys):
    """ARP and neighbour discovery, echoes of both IPs, TCP and UDP both ways, through bridges."""
    link = Link(net, carrier, keys).start()
    for host, other in ((link.x, 2), (link.y, 1)):
        host.ip("neigh flush all")
        assert ping(host, f"10.8.0.{other}") == 3, f"no echo after ARP; {link.told()}"
        assert ping(host, f"fd08::{other}") == 3, f"no echo after neighbour discovery; {link.told()}"
    for reverse in (False, True):
        flow = iperf3(link.x, link.y, "10.8.0.2", reverse=reverse, size="8M")
        assert flow.bytes > 1 << 20, flow
    all_arrive(link.x, link.y, "fd08::2", size=1000)
    all_arrive(link.y, link.x, "fd08::1", size=1000)


@case(carrier=CARRIERS, suite=SUITES)
def suites(net, carrier, suite):
    """Each cipher suite between two ends, with echoes of every size up to the MTU."""
    link = Link(net, carrier, suite=suite).start()
    most = min(int(host.run("cat", "/sys/class/net/lan/mtu")) for host in (link.x, link.y)) - 28
    for size in (*range(0, 24), 500, 1000, most - 1, most):
        assert ping(link.x, "10.8.0.2", 1, size=size, fragment=False) == 1, f"{size} bytes; {link.told()}"
    assert ping(link.y, "10.8.0.1", size=most, fragment=False) == 3


@case(carrier=(*CARRIERS, "udp6"))
def mtu_is_worked_out(net, carrier):
    """The device's MTU is what the carrier leaves: a frame of that length crosses it, uncut, and one byte more does not."""
    switch = Switch(1500)
    link = Link(net, carrier, mtu=1500, middle=switch.between).start()
    mtu = link.a.device_mtu()
    assert mtu == {"raw": 1500 - 32, "udp": 1422, "udp6": 1402}[carrier], mtu
    watch = switch.watch()
    assert ping(link.x, "10.8.0.2", size=mtu - 28, fragment=False) == 3
    longest = max(map(len, watch.stop()))
    assert longest == 1514, f"the longest frame on the wire has {longest} bytes"
    # The host believes that it may send more.
    link.x.ip(f"link set lan mtu {mtu + 1}")
    assert ping(link.x, "10.8.0.2", 1, size=mtu - 27, fragment=False, wait=0.3) == 0
    assert ping(link.x, "10.8.0.2", size=mtu - 28, fragment=False) == 3


@case(carrier=CARRIERS)
def dhcp(net, carrier):
    """A machine without an address gets one from a server on the other side, by broadcasts alone."""
    link = Link(net, carrier).start()
    serve(link.y, "lan", "10.8.0.2", "10.8.0.100", "10.8.0.150")
    link.x.ip("address flush dev lan")
    address = Client(link.x, "lan").lease()
    assert address.startswith("10.8.0.1"), address
    link.x.address("lan", f"{address}/24")
    assert ping(link.x, "10.8.0.2") == 3


def crafted():
    """Frames of every kind that hosts send, by what they are. None is the beginning of another."""
    experiment = b"\x88\xb6"                                # the EtherType for experiments that is not ours
    text = os.urandom(400)
    plain = experiment + text
    tag, service = struct.pack("!HH", 0x8100, 0x6007), struct.pack("!HH", 0x88A8, 9)
    return {
        "unknown EtherType": plain, "one VLAN tag": tag + plain, "priority tag": b"\x81\0\xe0\0" + plain,
        "two VLAN tags": service + tag + plain, "twice the same tag": tag + tag + plain,
        "802.2 LLC": struct.pack("!H", 100) + b"\xaa\xaa\x03" + text[:97],
        "short": b"\x99\x99\0", "minimum length": experiment + os.urandom(46),
        "longest of an octet": experiment + os.urandom(47), "first with a length of 0": experiment + os.urandom(48),
        "MACsec of the hosts' own": b"\x88\xe5" + bytes((0x2C, 0, 0, 0, 0, 1)) + text,
        "EAPOL of the hosts' own": b"\x88\x8e" + text, "our handshake's EtherType": b"\x88\xb5" + text,
        "IP of an unknown protocol": b"\x08\0" + ip(text),
        "IPv6 of an unknown protocol": b"\x86\xdd" + struct.pack("!IHBB", 6 << 28, len(text), 253, 9) + bytes(32) + text,
    }


def ip(text):
    """An IPv4 packet of a protocol for experiments (RFC 3692). The kernel's bridge drops one that is not well-formed, and takes
    padding off."""
    head = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(text), 1, 0, 9, 253, 0, b"\x0a\x08\0\x63", b"\x0a\x08\0\x64")
    return head[:10] + struct.pack("!H", checksum(head)) + head[12:] + text


@case(carrier=CARRIERS, to=("station", "broadcast", "multicast"))
def frames(net, carrier, to):
    """Frames with and without VLAN tags, of every kind and length, arrive once and unchanged, in both directions."""
    link = Link(net, carrier).start()
    ends = {"x": Raw(link.x, "lan"), "y": Raw(link.y, "lan")}
    macs = {"x": X, "y": Y}
    for source, target in (("x", "y"), ("y", "x")):
        head = {"station": macs[target], "broadcast": BROADCAST, "multicast": b"\x01\0\x5e\x01\x02\x03"}[to] + macs[source]
        sent = crafted()
        for what, rest in sent.items():
            ends[source].send(head + rest)
            link.until(lambda: ends[target].count(head + rest), 10, f"{what}, to a {to}, from {source}")
        for what, rest in sent.items():
            assert ends[target].count(head + rest) == 1, f"{what} came twice"


@case(carrier=CARRIERS)
def multicast(net, carrier):
    """A group that was joined on one side is heard from the other, in both IPs."""
    link = Link(net, carrier).start()
    for family, group, join in (
            (socket.AF_INET, "239.1.2.3",
             (socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, socket.inet_aton("239.1.2.3") + socket.inet_aton("10.8.0.2"))),
            (socket.AF_INET6, "ff05::1:3",
             (socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP,
              socket.inet_pton(socket.AF_INET6, "ff05::1:3") + struct.pack("=I", index(link.y))))):
        inlet = link.y.socket(family, socket.SOCK_DGRAM)
        inlet.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        inlet.bind(("::" if ":" in group else "0.0.0.0", 7400))
        inlet.setsockopt(*join)
        inlet.settimeout(0.2)
        outlet = link.x.socket(family, socket.SOCK_DGRAM)
        outlet.setsockopt(socket.SOL_SOCKET, 25, b"lan")        # SO_BINDTODEVICE

        def heard():
            outlet.sendto(b"to the group", (group, 7400))
            try:
                return inlet.recv(100) == b"to the group"
            except TimeoutError:
                return False
        until(heard, 15, f"a datagram to {group}")


def index(host):
    return int(host.run("cat", "/sys/class/net/lan/ifindex"))


@case(carrier=CARRIERS)
def jumbo(net, carrier):
    """On a wire of 9,100 octets the hosts have an MTU of 9,000 or what is left of it, and TCP uses it."""
    link = Link(net, carrier, mtu=9100).start()
    mtu = int(link.x.run("cat", "/sys/class/net/lan/mtu"))
    assert mtu >= 9000, mtu
    assert ping(link.x, "10.8.0.2", size=mtu - 28, fragment=False) == 3, link.told()
    for reverse in (False, True):
        flow = iperf3(link.x, link.y, "10.8.0.2", reverse=reverse, size="16M")
        assert flow.bytes > 2 << 20, flow


@case()
def routed(net):
    """Without a bridge the device itself has addresses, and the two gateways talk."""
    link = Link(net, bridge=False)
    for end in link.ends:
        end.start()
        end.host.sysctl("net.ipv6.conf.msec0.disable_ipv6", 0)
        end.host.address("msec0", f"10.7.0.{end.number}/24", f"fd07::{end.number}/64")
    until(lambda: ping(link.a.host, "10.7.0.2") == 3, 20, "an echo between the gateways")
    assert ping(link.b.host, "fd07::1") == 3
    flow = iperf3(link.a.host, link.b.host, "10.7.0.2", size="8M")
    assert flow.bytes > 1 << 20, flow
