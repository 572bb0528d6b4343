"""A router that rewrites addresses, by nftables, and forgets how it did."""
import socket
import struct

NETLINK_NETFILTER = 12
CONNTRACK_DELETE = 1 << 8 | 2       # NFNL_SUBSYS_CTNETLINK, IPCTNL_MSG_CT_DELETE
REQUEST, ACK = 1, 4

RULES = """
flush ruleset
table inet nat {{
  chain postrouting {{ type nat hook postrouting priority srcnat; oifname "outside" masquerade {how}; }}
}}
"""


class Nat:
    """Give `Nat().between` to `wired`: the left site is behind it, and nobody reaches that one first.

        a, 10.1.0.2 [wire] ---- [inside] nat [outside] 192.0.2.254 ---- [wire] b, 192.0.2.2

    `seconds` is how long a mapping lasts that nothing uses. Each mapping gets a port by chance.
    """
    ADDRESSES = ("10.1.0.1/24", "fd10::1/64"), ("192.0.2.254/24", "2001:db8::fe/64")

    def __init__(self, seconds=60):
        self.seconds = seconds

    def between(self, net, a, b):
        self.host = net.host("nat")
        self.host.forward()
        net.link(a, "wire", self.host, "inside")
        net.link(self.host, "outside", b, "wire")
        for link, addresses in zip(("inside", "outside"), self.ADDRESSES):
            self.host.address(link, *addresses)
        self.rules()
        for name in ("udp_timeout", "udp_timeout_stream"):
            self.host.sysctl(f"net.netfilter.nf_conntrack_{name}", self.seconds)

    def rules(self, how="fully-random"):
        self.host.run("nft", "-f", "-", data=RULES.format(how=how))

    def hide(self, site):
        """Puts a site behind it: other addresses, and no way but this."""
        site.host.ip(f"address flush dev {site.wire}")
        site.host.address(site.wire, "10.1.0.2/24", "fd10::2/64")
        site.host.route("default via 10.1.0.1", "default via fd10::1")

    def forget(self):
        """Drops all mappings, as a restart does."""
        talk = self.host.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_NETFILTER)
        talk.settimeout(5)
        talk.bind((0, 0))
        talk.send(struct.pack("=IHHIIBBH", 20, CONNTRACK_DELETE, REQUEST | ACK, 1, 0, 0, 0, 0))
        error, = struct.unpack_from("=i", talk.recv(4096), 16)
        assert error == 0, f"conntrack flush: errno {-error}"

    def mappings(self):
        """How many there are now."""
        return int(self.host.run("cat", "/proc/sys/net/netfilter/nf_conntrack_count"))
