"""What befalls the gateways of a soak, and when."""
import base64
import heapq
import itertools
import random

from soak.gateway import RESTART
from soak.world import PORTS

# Seconds between two of each; the first comes after `FIRST`.
RELOAD, KILL, MOVE, LOSS, FIRST = 20, 60, 75, 100, 10
# For how long packets are lost, and how many of a hundred.
LOSSY, PERCENT = 15, 10
STRAYS = 40


class Timeline:
    """What is to be done, by its time."""

    def __init__(self, record):
        self.record, self.due, self.count = record, [], itertools.count()

    def at(self, seconds, action):
        heapq.heappush(self.due, (seconds, next(self.count), action))

    def after(self, seconds, action):
        self.at(self.record.now() + seconds, action)

    def every(self, first, period, end, action):
        """At `first` and then regularly, but not after `end`."""
        for turn in itertools.count():
            if first + turn * period > end:
                return
            self.at(first + turn * period, action)

    def run_due(self):
        while self.due and self.due[0][0] <= self.record.now():
            heapq.heappop(self.due)[2]()


class Disturbances:
    """All of them, with dice of their own. The file that is written last is always a good one."""

    def __init__(self, world, streams, record, timeline, seed):
        self.world, self.streams, self.record, self.timeline = world, streams, record, timeline
        self.dice, self.turns = random.Random(seed), 0
        self.victims = itertools.cycle([world.east, world.west])
        self.movers = itertools.cycle(["east", "hub", "west"])
        self.reloads = itertools.cycle([
            self.third_tunnel, self.strays, self.keepalive, self.move_prefix, self.strays, self.mtu,
            self.third_tunnel, self.address, self.bad_file, self.strays, self.port, self.move_prefix])

    def schedule(self, end):
        """`end`: when the last may begin."""
        self.timeline.every(FIRST, RELOAD, end, self.reload)
        self.timeline.every(FIRST + 25, KILL, end, self.kill)
        self.timeline.every(FIRST + 12, MOVE, end, self.move)
        self.timeline.every(FIRST + 40, LOSS, end, self.lose)
        self.timeline.at(end, lambda: self.world.lossy(0))

    # ------------------------------------------------------------------------------------------------------ reloads

    def reload(self):
        next(self.reloads)()

    def apply(self, why):
        """Writes the files and has them read. Who is down just now reads them when it starts."""
        self.turns += 1
        self.world.write()
        for gateway in (self.world.hub, self.world.east):
            if gateway.usable():
                by_signal = gateway is self.world.hub and self.turns % 3 == 0
                (gateway.reload_by_signal if by_signal else gateway.reload)(why)

    def third_tunnel(self):
        wanted = self.world.wanted
        wanted.third = not wanted.third
        if not wanted.third:
            self.streams.expect("c", False)
        self.apply("tunnel c comes" if wanted.third else "tunnel c goes")
        if wanted.third:
            self.streams.expect("c", True)

    def strays(self):
        """Peers come and go: some of the old ones go, the rest of the places is filled with new ones."""
        strays = self.world.wanted.strays
        for name in self.dice.sample(sorted(strays), len(strays) // 2):
            del strays[name]
        free = {f"10.88.{number}.0/24" for number in range(STRAYS)} - {stray["allowed_ips"][0] for stray in strays.values()}
        for prefix in self.dice.sample(sorted(free), self.dice.randint(0, len(free))):
            # Some are tried without end, and some by a name, which is looked up again and again.
            endpoint = self.dice.choice(["198.18.9.9:9", "localhost:9", "[2001:db8:9::9]:9"])
            strays[f"stray{self.dice.getrandbits(32):08x}"] = {
                "public_key": base64.b64encode(self.dice.randbytes(32)).decode(), "allowed_ips": [prefix],
                "endpoint": endpoint, "persistent_keepalive": self.dice.choice([0, 0, 1])}
        self.apply(f"{len(strays)} strays")

    def keepalive(self):
        self.world.wanted.keepalive = self.dice.choice([0, 1, 25])
        self.apply(f"keepalive {self.world.wanted.keepalive}")

    def move_prefix(self):
        wanted = self.world.wanted
        wanted.by_third = not wanted.by_third
        self.apply(f"the network behind east is reached by {'c' if wanted.by_third and wanted.third else 'a'}")

    def mtu(self):
        self.world.wanted.mtu = 1380 if self.world.wanted.mtu == 1420 else 1420
        self.apply(f"mtu {self.world.wanted.mtu}")

    def address(self):
        self.world.wanted.second_address = not self.world.wanted.second_address
        self.apply("a second address")

    def port(self):
        self.world.wanted.port = PORTS["a"] + 1 if self.world.wanted.port == PORTS["a"] else PORTS["a"]
        self.apply(f"listen_port {self.world.wanted.port}")

    def bad_file(self):
        """A file with mistakes changes nothing; what was in use before is written back after that."""
        hub = self.world.hub
        hub.aditd.write("[wireguard.wgz]\nlisten_prot = 1\n")
        hub.reload("a file with mistakes", refused=True)
        self.world.write()

    # --------------------------------------------------------------------------------------------------- the others

    def kill(self):
        victim = next(self.victims)
        if not victim.expected:
            return
        self.record.event(f"{victim.name}: kill -9 in its life {victim.life}")
        victim.kill()
        self.timeline.after(RESTART, victim.start)

    def move(self):
        site = next(self.movers)
        self.record.event(f"{site}: other addresses outside")
        self.world.move(site)

    def lose(self):
        self.record.event(f"the internet loses {PERCENT} % for {LOSSY} s")
        self.world.lossy(PERCENT)
        self.timeline.after(LOSSY, lambda: self.world.lossy(0))
