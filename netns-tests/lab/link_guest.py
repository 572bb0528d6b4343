"""The guest kernel on one side of a cable, and something of ours on the other; between them a switch to stand at.

    a: ours [wire] ---- [left] middle: bridge [guest] ---- [eth0] b: the guest's kernel
"""
from lab.guesthost import GuestHost
from lab.link_switch import Switch


class Cable(Switch):
    """The hosts and what joins them, up, without MACsec. Its sides are "left" and "guest"."""

    def __init__(self, net):
        super().__init__()
        self.a, middle = net.host("a"), self.host(net)
        self.a.sysctl("net.ipv6.conf.default.addr_gen_mode", 1)
        net.link(self.a, "wire", middle, "left", self.mtu, offload=False)
        self.b = GuestHost(net, "b", middle, "guest")
        self.join("left", "guest")
