"""Which queue of the gateway's device a packet waits in, and so which of two workers sends it: one for all of a flow."""
import socket
import struct
import threading

from lab.case import case
from lab.daemon import Daemon
from lab.frame import checksum
from lab.site import PORT, Site
from lab.traffic import ping
from lab.wait import until
from lab.wireguard import keys

ETHERTYPE = {"v4": 0x0800, "v6": 0x86DD}
TCP, UDP, GRE, ESP = 6, 17, 47, 50
MORE_FRAGMENTS = 0x2000
FRAGMENT, DESTINATION_OPTIONS = 44, 60
# Datagrams of each flow between peers, and how many of one flow are sent before it is the next one's turn.
COUNT, BURST = 6000, 20
# Crafted packets of one kind.
FLOWS = 32


class Hub:
    """A daemon with two workers, and sites that know only it.

        a: aditd, 2 workers --+
        b: adit               --+-- switch
        c: adit               --+
    """

    def __init__(self, net, names="bc"):
        switch = net.host("switch")
        self.sites = []
        for number, name in enumerate("a" + names, 1):
            host = net.host(name)
            net.link(host, "wire", switch, f"port{number}")
            self.sites.append(Site(host, "adit", number, "wire"))
            self.sites[-1].address_wire()
            # Traffic from c to b goes out where it came in.
            host.sysctl("net.ipv4.conf.all.send_redirects", 0)
        net.bridge(switch, "bridge", *(f"port{site.number}" for site in self.sites))
        self.a, *self.others = self.sites
        self.a.host.forward()
        self.name, self.daemon = self.a.device.name, HubDaemon(self.a.host)
        self.daemon.config["gateway"]["workers"] = 2
        self.daemon.tunnel(self.name, self.a.keys, [f"{self.a.inner()}/24", f"{self.a.inner('v6')}/64"])
        for site in self.others:
            ranges = [*site.allowed_ips().split(","), f"10.8.{site.number}.0/24", f"fd08:{site.number}::/64"]
            self.daemon.peer(self.name, site.host.name, site.keys.public, ranges)

    def start(self):
        self.daemon.start()
        for site in self.others:
            site.device.environment["ADIT_WORKERS"] = "1"
            site.start()
            peer = self.a.peer_conf(endpoint=self.a.endpoint())
            everything = "AllowedIPs = 0.0.0.0/0,::/0"
            peer = "\n".join(everything if line.startswith("AllowedIPs") else line for line in peer.splitlines())
            site.device.setconf(site.interface_conf() + peer + "\n")
            assert ping(site.host, self.a.inner()) == 3
        return self

    def tunnel(self):
        return self.daemon.status()["wireguard"][self.name]

    def packets(self, direction):
        """Packets so far in this direction, of each worker."""
        return [worker[direction]["packets"] for worker in self.tunnel()["workers"]]

    def hears(self, site):
        """The worker that hears a site: the kernel chooses by its outer address and port."""
        before = self.packets("inward")
        assert ping(site.host, self.a.inner(), count=5) == 5
        more = [after - count for after, count in zip(self.packets("inward"), before)]
        # Kernels look for routers in the tunnel now and then.
        assert min(more) < 5 <= max(more), f"{site.host.name} is heard by {more}"
        return more.index(max(more))


class HubDaemon(Daemon):
    """aditd, started by the words of `by`."""
    by = ()

    def command(self):
        return *self.by, *super().command()


class Conversation:
    """Numbered datagrams both ways between one port of one host and the same port of another. What arrives waits in the
    sockets, in the order it came."""

    def __init__(self, one, other, port):
        self.sockets, self.arrived = [], [[], []]
        for site in (one, other):
            inlet = site.host.socket(socket.AF_INET, socket.SOCK_DGRAM)
            inlet.setsockopt(socket.SOL_SOCKET, 33, 64 << 20)        # SO_RCVBUFFORCE
            inlet.bind((site.inner(), port))
            self.sockets.append(inlet)
        for inlet, site in zip(self.sockets, (other, one)):
            inlet.connect((site.inner(), port))
            inlet.setblocking(False)

    def send(self, direction, numbers):
        for number in numbers:
            try:
                self.sockets[direction].send(struct.pack("!Q", number))
            except BlockingIOError:
                pass        # lost

    def receive(self):
        """The numbers that arrived, at either end."""
        for inlet, arrived in zip(self.sockets, self.arrived):
            try:
                while True:
                    arrived.append(struct.unpack("!Q", inlet.recv(8))[0])
            except BlockingIOError:
                pass
        return self.arrived


def late(numbers):
    """How many came behind one that is not lower."""
    highest, found = -1, 0
    for number in numbers:
        found += number <= highest
        highest = max(highest, number)
    return found


@case(limit=90, alone=True)
def between_peers(net):
    """Flows both ways between two peers whom different workers hear keep their order, and both workers send them."""
    hub = Hub(net).start()
    b, c = hub.others
    first = hub.hears(b)
    for port in range(PORT + 1, PORT + 20):
        if hub.hears(c) != first:
            break
        c.device.set("listen-port", port)
    else:
        raise AssertionError("one worker hears all ports")
    assert ping(b.host, c.inner()) == 3
    conversations = [Conversation(b, c, 7000 + number) for number in range(8)]
    heard, sent = hub.packets("inward"), hub.packets("outward")

    def speak(direction):
        for begin in range(0, COUNT, BURST):
            for conversation in conversations:
                conversation.send(direction, range(begin, begin + BURST))

    threads = [threading.Thread(target=speak, args=(direction,)) for direction in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    heard = [after - before for after, before in zip(hub.packets("inward"), heard)]
    sent = [after - before for after, before in zip(hub.packets("outward"), sent)]
    flows = [numbers for conversation in conversations for numbers in conversation.receive()]
    arrived = sum(map(len, flows))
    disordered = sum(map(late, flows))
    print(f"of {COUNT * len(flows)} datagrams {arrived} arrived, {disordered} late; heard {heard}, sent {sent}", flush=True)
    assert disordered == 0, f"{disordered} of {arrived} datagrams came late"
    assert min(map(len, flows)) > COUNT // 30, f"too few arrived: {[len(numbers) for numbers in flows]}"
    assert min(heard) > sum(heard) / 5, f"one worker heard nearly all: {heard}"
    assert min(sent) > sum(sent) / 5, f"one worker sent nearly all: {sent}"


def packet(family, protocol=UDP, source_port=7000, destination_port=7001, destination=1, fragment=0, options=0, mark=0,
           extension=None, payload=20):
    """A packet from behind the gateway to behind b. `fragment` is flags and offset, `options` words of IPv4 options,
    `extension` the number of an IPv6 extension header of 8 bytes before the protocol's."""
    # Where there are no ports, other bytes differ in their place.
    body = struct.pack("!HHHH", source_port, destination_port, 8 + payload, 0) + bytes(payload)
    if family == "v4":
        length = 20 + 4 * options
        head = struct.pack("!BBHHHBBH4s4s", 0x45 + options, mark, length + len(body), 77, fragment, 64, protocol, 0,
                           bytes([10, 7, 0, 1]), bytes([10, 8, 2, destination])) + b"\1" * 4 * options
        return head[:10] + struct.pack("!H", checksum(head)) + head[12:] + body
    if extension is not None:
        # Of a fragment: the next header, nothing, offset and flag, a number. Of options: also 6 bytes of padding.
        body = struct.pack("!BBHI", protocol, 0, fragment or 0x0104, 0) + body
    addresses = socket.inet_pton(socket.AF_INET6, "fd07::1"), socket.inet_pton(socket.AF_INET6, f"fd08:2::{destination:x}")
    return struct.pack("!IHBB16s16s", 6 << 28 | mark << 20, len(body), protocol if extension is None else extension, 64,
                       *addresses) + body


#   a: aditd, 2 workers; crafted packets into its device ---- wire ---- b: adit
@case(limit=60, alone=True, family=("v4", "v6"))
def queue_of_packet(net, family):
    """Addresses and ports alone say which queue a packet waits in; fragments and what has no ports go by addresses."""
    hub = Hub(net, "b").start()
    inlet = hub.a.host.socket(socket.AF_PACKET, socket.SOCK_DGRAM)
    inlet.bind((hub.name, ETHERTYPE[family]))

    def queues(name, packets):
        """How many of them each queue got."""
        before = hub.packets("outward")
        for one in packets:
            inlet.send(one)
        new = lambda: [after - count for after, count in zip(hub.packets("outward"), before)]
        found = until(lambda: sum(now := new()) >= len(packets) and now, 10, f"{len(packets)} packets that are sent")
        print(f"{name}: {found}", flush=True)
        assert sum(found) == len(packets), f"{name}: {found} of {len(packets)} packets"
        return found

    def each(**words):
        """A packet for each port that one side can have."""
        return [packet(family, source_port=7000 + number, **words) for number in range(FLOWS)]

    alone = {"fragments": each(fragment=MORE_FRAGMENTS) + each(fragment=MORE_FRAGMENTS | 3) + each(fragment=6),
             "GRE": each(protocol=GRE), "ESP": each(protocol=ESP)}
    if family == "v6":
        alone["fragments"] = [one for fragment in (1, 8 | 1, 16) for one in each(extension=FRAGMENT, fragment=fragment)]
        alone["options"] = each(extension=DESTINATION_OPTIONS)
    every = queues("all of these", [one for packets in alone.values() for one in packets])
    assert 0 in every, f"packets without ports are spread: {every}"

    spread = queues("source ports", each())
    assert min(spread) >= FLOWS // 4, f"flows are not spread: {spread}"
    for protocol in (TCP, UDP):
        for name in ("destination_port", "destination"):
            found = queues(f"{name} of {protocol}", [packet(family, protocol=protocol, **{name: 1 + number})
                                                     for number in range(FLOWS)])
            assert min(found) >= FLOWS // 4, f"{name}s are not spread: {found}"
    same = each(mark=0xB8, payload=700) + (each(options=10) if family == "v4" else each(protocol=TCP))
    assert queues("the same flows", same) == [2 * count for count in spread], "not by addresses and ports alone"


#   a: aditd, 2 workers ---- wire ---- b: adit
@case()
def outlives_privileges(net):
    """A tunnel that a reload adds, long after the daemon gave its privileges up, is steered as well."""
    hub = Hub(net, "b").start()
    assert "tun_steering" in hub.tunnel()["offloads"]
    added = net.device("more")
    hub.daemon.tunnel(added, keys(), ["10.99.0.1/24"], port=PORT + 1)
    assert f"added {added}" in hub.daemon.reload()
    assert "tun_steering" in hub.daemon.status()["wireguard"][added]["offloads"]


#   a: aditd, 2 workers, without CAP_BPF or without the offload; or 1 worker ---- wire ---- b: adit
@case(how=("refused", "off", "alone"))
def without_it(net, how):
    """Where the kernel does not take the program the log says so and the tunnel works; who does not want or need it, has it not."""
    hub = Hub(net, "b")
    if how == "refused":
        hub.daemon.by = ("setpriv", "--bounding-set", "-bpf,-sys_admin")
    elif how == "off":
        hub.daemon.config["gateway"]["offload"] = {"tun_steering": False}
    else:
        hub.daemon.config["gateway"]["workers"] = 1
    hub.start()
    said = hub.daemon.process.output()
    assert ("cannot be loaded: it takes CAP_BPF" in said) == (how == "refused"), said
    offloads = hub.tunnel()["offloads"]
    assert "tun_steering" not in offloads and "tun_tso" in offloads, offloads
    assert ("the system refuses the others" in said) == (how == "refused"), said
    assert ping(hub.others[0].host, hub.a.inner()) == 3
