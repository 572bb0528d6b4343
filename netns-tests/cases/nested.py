"""Tunnels in tunnels: on purpose, and by mistake."""
import time

from lab.case import SLOW, case
from lab.process import busy, resident
from lab.site import Site, wired
from lab.traffic import all_arrive, iperf3, ping, reaches
from lab.wait import until
from lab.wireguard import Device

INNER_PORT = 51821


class Deep(Site):
    """A second gateway on the host of another one, whose wire is that one's tunnel.

    Site number n has 10.9.0.n and fd09::n outside then, 10.8.0.n and fd08::n inside.
    """

    def __init__(self, around, implementation="adit"):
        super().__init__(around.host, implementation, around.number, around.device.name)
        self.around, self.mtu = around, around.mtu - 80
        self.device = Device(around.host, implementation, around.host.net.device(f"deep{around.number}"))

    def outer(self, family="v4"):
        return self.around.inner(family)

    def inner(self, family="v4"):
        return f"10.8.0.{self.number}" if family == "v4" else f"fd08::{self.number}"

    def endpoint(self, family="v4"):
        return f"{self.outer()}:{INNER_PORT}" if family == "v4" else f"[{self.outer('v6')}]:{INNER_PORT}"

    def interface_conf(self):
        return f"[Interface]\nPrivateKey = {self.keys.private}\nListenPort = {INNER_PORT}\n"


def deepen(pair, family):
    """A tunnel in the tunnel of a pair, configured."""
    deep = [Deep(site) for site in (pair.left, pair.right)]
    for site, other in zip(deep, reversed(deep)):
        site.start()
        site.device.setconf(site.interface_conf() + other.peer_conf(endpoint=other.endpoint(family)))
    return deep


#   a: adit in adit ---- wire ---- b: adit in adit
@case(family=("v4", "v6"))
def tunnel_in_a_tunnel(net, family):
    """A tunnel whose endpoints are inside another one carries both IPs, TCP and UDP, both ways."""
    pair = wired(net).start()
    left, right = deepen(pair, family)
    for inside in ("v4", "v6"):
        assert ping(left.host, right.inner(inside), size=left.mtu - 48, fragment=False) == 3
        assert ping(right.host, left.inner(inside)) == 3
    for reverse in (False, True):
        flow = iperf3(left.host, right.host, right.inner(), reverse=reverse, size="8M")
        assert flow.bytes > 2 << 20, flow
    all_arrive(left.host, right.host, right.inner("v6"), size=1200)


class Work:
    """What a process costs from now on."""

    def __init__(self, site, *links):
        self.site, self.pid, self.links = site, site.device.process.pid, links
        self.start = self.now()

    def now(self):
        sent = sum(self.site.host.statistic(link, "tx_bytes") for link in self.links)
        return busy(self.pid), resident(self.pid), sent

    def spent(self):
        """Seconds of processor, KiB of memory, and bytes sent on the links since the beginning."""
        return tuple(now - then for now, then in zip(self.now(), self.start))

    def rests(self):
        """Waits until a second passes in which hardly anything is sent; what was spent until then."""
        spent = [self.spent()]

        def rest():
            time.sleep(1)
            spent.append(self.spent())
            return spent[-1][2] - spent[-2][2] < 20_000
        until(rest, 6, "the end of what goes round")
        return spent[-1]


#   a: adit ---- wire ---- b: adit; then a looks for b behind b's own inner address
@case()
def own_endpoint(net):
    """A peer whose endpoint is inside its own allowed IPs: its packets do not go round, nor grow without end."""
    pair = wired(net).start()
    a, b = pair.left, pair.right
    assert ping(a.host, b.inner()) == 3
    a.device.set("peer", b.keys.public, "endpoint", f"{b.inner()}:7")
    work = Work(a, a.device.name, a.wire)
    assert ping(a.host, b.inner(), count=10, wait=0.3) == 0
    time.sleep(1)
    seconds, memory, sent = work.rests()
    assert sent < 200_000 and seconds < 0.5 and memory < 4 << 10, f"{sent} bytes, {seconds:.2f} s, {memory} KiB"
    a.device.set("peer", b.keys.public, "endpoint", b.endpoint())
    assert ping(a.host, b.inner()) == 3, "not well again"


def knotted(net):
    """A tunnel in a tunnel, and the outer one then looks for its peer inside the inner one."""
    pair = wired(net).start()
    left, right = deepen(pair, "v4")
    assert ping(left.host, right.inner()) == 3
    pair.left.device.set("peer", pair.right.keys.public, "endpoint", f"{right.inner()}:7")
    work = [Work(site, site.device.name) for site in (pair.left, left)]
    assert ping(left.host, right.inner(), count=10, wait=0.3) == 0
    return pair, left, right, work


#   a: adit in adit ---- wire ---- b; then each of a's tunnels has its endpoint inside the other one
@case()
def one_in_the_other_and_back(net):
    """Two devices that carry each other's packets in a circle keep their memory, and are well once the circle is cut.

    Neither can know: what comes back to it was sealed by the other one. It goes round until the sessions end.
    """
    pair, left, right, work = knotted(net)
    time.sleep(1)
    until(lambda: all(one.spent()[2] > 1 << 20 for one in work), 15, "packets that go round: without them nothing is proved")
    spent = [one.spent() for one in work]
    assert all(memory < 4 << 10 for _, memory, _ in spent), f"memory in KiB: {spent}"
    pair.left.device.set("peer", pair.right.keys.public, "endpoint", pair.right.endpoint())
    assert reaches(left.host, right.inner(), 15) is not None, "not well again"
    assert ping(pair.left.host, pair.right.inner()) == 3


#   the same
@case(limit=260, group=SLOW)
def circle_ends(net):
    """Packets that go round between two devices do so no longer than their sessions live."""
    pair, left, right, work = knotted(net)
    time.sleep(185)
    before = [one.spent() for one in work]
    time.sleep(2)
    after = [one.spent() for one in work]
    assert all(now[2] - then[2] < 20_000 for then, now in zip(before, after)), f"{before} {after}"
    assert all(memory < 4 << 10 for _, memory, _ in after), f"memory in KiB: {after}"
    pair.left.device.set("peer", pair.right.keys.public, "endpoint", pair.right.endpoint())
    assert reaches(left.host, right.inner(), 10) is not None, "not well again"


#   a: adit with peers b and c ---- wire ---- b: adit ---- c: adit on the same host, found through b
@case()
def onion(net):
    """One device with two peers, the second found through the first: two layers, and no harm when it loops."""
    pair = wired(net).start()
    a, b = pair.left, pair.right
    assert ping(a.host, b.inner()) == 3
    c = Deep(b)
    c.start()
    c.device.setconf(c.interface_conf() + a.peer_conf())
    c.device.set("peer", a.keys.public, "allowed-ips", "10.8.0.1/32")
    a.host.address(a.device.name, "10.8.0.1/24")
    a.device.set("peer", c.keys.public, "endpoint", c.endpoint(), "allowed-ips", "10.8.0.2/32")
    assert ping(a.host, c.inner()) == 3, "not in two layers"
    work = Work(a, a.device.name, a.wire)
    c.device.stop()
    a.device.set("peer", c.keys.public, "endpoint", f"{c.inner()}:{INNER_PORT}")
    assert ping(a.host, c.inner(), wait=0.3) == 0
    time.sleep(1)
    seconds, memory, sent = work.rests()
    assert sent < 200_000 and seconds < 0.5 and memory < 4 << 10, \
        f"{sent} bytes, {seconds:.2f} s, {memory} KiB"
    a.device.set("peer", c.keys.public, "remove")
    assert ping(a.host, b.inner()) == 3, "b suffers"
