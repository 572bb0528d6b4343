"""An encrypted link through whatever befalls it: cut, set down, restarted, killed, lossy.

    x: host [lan] ---- a: bridge, msec0 [wire] ==== [wire] b: msec0, bridge ---- [lan] y: host
"""
import time

from lab.case import case
from lab.impair import Impairer
from lab.link import Link
from lab.link_switch import Switch
from lab.process import busy
from lab.traffic import Sequence, iperf3, ping, reaches
from lab.wait import until

CARRIERS = ("raw", "udp")
# The other end's name for each.
OTHER = {"a": "b", "b": "a"}


@case(carrier=CARRIERS, keys=("noise", "static"), who=("a", "b"), how=("stop", "kill"), limit=60)
def restart(net, carrier, keys, who, how):
    """Either end is stopped or killed and started again: frames pass again, in both directions, within 6 s."""
    link = Link(net, carrier, keys).start()
    link.both_ways()
    end = getattr(link, who)
    getattr(end, how)()
    assert ping(link.x, "10.8.0.2", wait=0.3) == 0, "an echo through a gateway that is not there"
    end.start()
    begin = time.monotonic()
    link.both_ways(6)
    assert time.monotonic() - begin < 7, "it took too long"


@case(carrier=CARRIERS)
def both_restart(net, carrier):
    """Both ends are killed at once and started again, neither knowing of the other: one begins, and frames pass."""
    link = Link(net, carrier).start()
    for end in link.ends:
        end.kill()
    for end in link.ends:
        end.start()
    link.both_ways(15)


@case(carrier=CARRIERS, who=("a", "b"))
def one_end_comes_late(net, carrier, who):
    """An end that is alone waits, without using the processor, and frames pass soon after the other one is there."""
    link = Link(net, carrier)
    first = getattr(link, who)
    first.start()
    before = busy(first.daemon.process.pid)
    time.sleep(4)
    used = busy(first.daemon.process.pid) - before
    assert used < 0.4, f"{used:.2f} s of processor time in 4 s of waiting"
    getattr(link, OTHER[who]).start()
    link.fit()
    link.both_ways(15)


@case(carrier=CARRIERS, who=("left", "right", "both"))
def flap(net, carrier, who):
    """The cable is pulled and put back, five times and for longer: frames pass again at once, under the same keys."""
    switch = Switch()
    link = Link(net, carrier, middle=switch.between).start()
    sides = ("left", "right") if who == "both" else (who,)
    keys = lambda: [end.daemon.process.output().count(" sends under association ") for end in link.ends]
    before = keys()
    for pause in (0.05, 0.05, 0.2, 0.2, 1.5):
        switch.cut(*sides)
        time.sleep(pause)
        switch.mend(*sides)
        if carrier == "udp":
            # An address is told of to a switch that was away only by what is sent from it.
            link.a.host.ip("neigh flush dev wire")
            link.b.host.ip("neigh flush dev wire")
        link.both_ways()
    assert keys() == before and min(before) > 0, f"other keys: {before}, now {keys()}"


@case(who=("a", "b"))
def set_down(net, who):
    """The operator sets the link down and up again at one end: the status says so meanwhile, and frames pass again."""
    link = Link(net).start()
    end = getattr(link, who)
    end.host.ip("link set wire down")
    until(lambda: not end.daemon.status()["macsec"]["uplink"]["link"]["up"], 15, "the status: down")
    assert ping(link.x, "10.8.0.2", wait=0.3) == 0
    end.host.ip("link set wire up")
    link.both_ways()
    until(lambda: end.daemon.status()["macsec"]["uplink"]["link"]["up"], 15, "the status: up")


@case()
def link_is_made_anew(net):
    """The Ethernet link is deleted and made again under its name: the daemon lives, and frames pass over the new one."""
    link = Link(net).start()
    link.a.host.ip("link del wire")
    until(lambda: not link.a.daemon.status()["macsec"]["uplink"]["link"]["up"], 15, "the status: not up")
    net.link(link.a.host, "wire", link.b.host, "wire", 1600, offload=False)
    link.both_ways(15)
    assert link.a.daemon.status()["macsec"]["uplink"]["link"]["guarded"], "the new link has no guard"


@case(carrier=CARRIERS)
def order_is_kept(net, carrier):
    """On a good wire what goes in in order comes out in order, once."""
    link = Link(net, carrier).start()
    flow = Sequence(link.x, link.y, "10.8.0.2", pace=0)
    until(lambda: len(flow.arrived) > 5000, 20, "a flow")
    numbers = flow.stop()
    assert numbers == sorted(set(numbers)), "reordered, or twice"


#   x ---- a ==== impairer ==== b ---- y
@case(carrier=CARRIERS)
def copies_are_dropped(net, carrier):
    """When every frame comes twice on the wire, each comes out once."""
    bad = Impairer(duplicate=1.0)
    link = Link(net, carrier, mtu=1500, middle=bad.between).start()
    flow = Sequence(link.x, link.y, "10.8.0.2", pace=0.001)
    until(lambda: flow.sent > 500 and bad.count["duplicated"] > 100, 20, "a flow")
    sent, numbers = flow.sent, flow.stop()
    assert len(numbers) == len(set(numbers)), f"{len(numbers) - len(set(numbers))} copies came through"
    assert len(numbers) >= sent - 2, f"{len(numbers)} of {sent} arrived"
    link.grows(link.b, "InPktsLate", 100)


#   x ---- a ==== impairer ==== b ---- y
@case(carrier=CARRIERS)
def late_is_not_lost(net, carrier):
    """Frames that overtake one another within the window all come out: over UDP always, on Ethernet with a window."""
    bad = Impairer()
    more = {"replay_window": 64} if carrier == "raw" else {}
    link = Link(net, carrier, mtu=1500, middle=bad.between, **more).start()
    bad.reorder = 0.3
    flow = Sequence(link.x, link.y, "10.8.0.2", pace=0.001)
    until(lambda: flow.sent > 500 and bad.count["reordered"] > 50, 20, "a flow")
    sent, numbers = flow.sent, flow.stop()
    assert numbers != sorted(numbers), "nothing was reordered: the test proves nothing"
    assert len(set(numbers)) >= sent - 2, f"{len(set(numbers))} of {sent} arrived"


#   x ---- a ==== impairer ==== b ---- y
@case()
def late_is_refused_without_a_window(net):
    """On Ethernet with a window of 0, which is the default, a frame that another one overtook is refused."""
    bad = Impairer()
    link = Link(net, mtu=1500, middle=bad.between).start()
    bad.reorder = 0.3
    flow = Sequence(link.x, link.y, "10.8.0.2", pace=0.001)
    until(lambda: flow.sent > 800 and bad.count["reordered"] > 100, 20, "a flow")
    numbers = flow.stop()
    assert numbers == sorted(numbers), "a frame came out after a later one"
    link.grows(link.b, "InPktsLate", 50)


#   x ---- a ==== impairer ==== b ---- y
@case(carrier=CARRIERS, limit=60)
def handshake_through_loss(net, carrier):
    """At 40 % loss each way keys are agreed upon in the end."""
    bad = Impairer(loss=0.4, seed=3)
    link = Link(net, carrier, mtu=1500, middle=bad.between)
    link.start(*link.ends)
    link.fit()
    assert reaches(link.x, "10.8.0.2", 45) is not None, link.told()
    assert bad.count["lost"] > 0


#   x ---- a ==== impairer ==== b ---- y
@case(carrier=CARRIERS)
def tcp_through_trouble(net, carrier):
    """TCP both ways moves its data through 1 % loss, 2 % copies and 2 % reordering."""
    bad = Impairer(loss=0.01, duplicate=0.02, reorder=0.02)
    more = {"replay_window": 64} if carrier == "raw" else {}
    link = Link(net, carrier, mtu=1500, middle=bad.between, **more)
    link.start(*link.ends)
    link.fit()
    link.both_ways(15)
    for reverse in (False, True):
        flow = iperf3(link.x, link.y, "10.8.0.2", reverse=reverse, size="2M")
        assert flow.bytes > 1 << 19, flow
