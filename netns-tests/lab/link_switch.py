"""A switch in the cable of an encrypted link, at which a case stands: it sees every frame, and puts others on the wire.

    a [wire] ---- [left] middle: bridge [right] ---- [wire] b
"""
from lab import link_secy as secy
from lab.capture import Capture
from lab.link_raw import packet_socket


class Switch:
    """Give `Switch().between` to a link. Its sides are "left" and "right"; `wire` is a capture, once it is asked for."""

    def __init__(self, mtu=1600):
        self.mtu, self.ports = mtu, {}

    def host(self, net):
        """The machine that it is: neither its IP stack nor its bridge sends anything of its own."""
        self.middle = net.host("middle")
        self.middle.sysctl("net.ipv6.conf.default.disable_ipv6", 1)
        # What carries a link for others forwards its key agreement too: bit 3 is 01:80:c2:00:00:03.
        self.middle.ip("link add bridge type bridge mcast_snooping 0 group_fwd_mask 8")
        return self.middle

    def between(self, net, a, b):
        self.host(net)
        for end, side in ((a, "left"), (b, "right")):
            net.link(end, "wire", self.middle, side, self.mtu, offload=False)
        self.join("left", "right")

    def join(self, *sides):
        self.middle.ip(f"link set bridge mtu {self.mtu}")
        for side in sides:
            self.middle.ip(f"link set {side} master bridge")
        self.middle.ip("link set bridge up")

    def inject(self, side, *frames):
        """Puts frames on the wire, towards one side. What is longer than the wire takes does not get there."""
        if side not in self.ports:
            self.ports[side] = packet_socket(self.middle, side)
        for frame in frames:
            self.ports[side].send(frame)

    def watch(self, side="left"):
        """Every frame on the wire from now on, in both directions; from the left end and to it."""
        return Watch(self.middle, side)

    def cut(self, *sides):
        """The cable is pulled: the ends see their link go down."""
        for side in sides:
            self.middle.ip(f"link set {side} down")

    def mend(self, *sides):
        for side in sides:
            self.middle.ip(f"link set {side} up")


class Watch(Capture):
    """A capture that can tell what does not belong on the wire of an encrypted link."""

    def strangers(self, allowed=secy.ALLOWED):
        """The EtherTypes that should not be there, each with its first frame."""
        found = {}
        for _, frame in list(self.frames):
            kind, _ = secy.ether_type(frame, 1)
            if kind not in allowed:
                found.setdefault(f"{kind:#06x}", frame[:40].hex())
        return found

    def from_(self, mac):
        """The frames of one sender, by its MAC address."""
        return [frame for _, frame in list(self.frames) if frame[6:12] == mac]

    def protected(self):
        """Every MACsec frame so far."""
        return [frame for _, frame in list(self.frames) if secy.ether_type(frame, 1)[0] == secy.MACSEC]
