"""Static keys: no restart and no kill may use a packet number twice, or take one twice. Shown by capture.

    x: host [lan] ---- a: bridge, msec0 [wire] ==== switch ==== [wire] b: msec0, bridge ---- [lan] y: host
"""
import glob
import os
import random
import re
import time
from collections import Counter

from lab import link_secy as secy
from lab.case import SLOW, case
from lab.link import Link
from lab.link_switch import Switch
from lab.traffic import Sequence, ping, reaches
from lab.wait import until

SUITES = ("gcm-aes-128", "gcm-aes-xpn-256")


class Scene:
    """A link with static keys, and everything that was ever on its wire."""

    def __init__(self, net, suite):
        self.switch = Switch()
        self.link = Link(net, keys="static", suite=suite, middle=self.switch.between)
        self.watch = self.switch.watch()
        self.link.start()

    def numbers(self):
        """Each packet number with its sender's channel and association, in the order of the wire.

        A key is one channel's and one association's alone. The wire shows the lower half, which is all of it here.
        """
        tags = map(secy.parse, self.watch.caught_up().protected())
        return [(tag.sci, tag.an, tag.number) for tag in tags if tag]

    def check(self, least):
        numbers = self.numbers()
        assert self.watch.dropped() == 0, "the capture missed some: it proves nothing"
        assert len(numbers) > least, f"only {len(numbers)} frames: it proves nothing"
        twice = [number for number, times in Counter(numbers).items() if times > 1]
        assert not twice, f"{len(twice)} packet numbers were used twice, the first: {twice[0]}"
        for end in self.link.ends:
            mine = [number for sci, _, number in numbers if sci == end.sci]
            assert mine == sorted(mine), f"{end.host.name} went back"
        return numbers


@case(limit=90, suite=SUITES)
def killed_in_a_loop(net, suite):
    """Killed at odd moments under traffic, fifteen times, an end goes on with numbers that it never used."""
    scene, dice = Scene(net, suite), random.Random(7)
    flow = Sequence(scene.link.x, scene.link.y, "10.8.0.2", pace=0.0005)
    for _ in range(15):
        time.sleep(dice.random() * 0.3)
        scene.link.a.kill()
        # Not ready, perhaps, when it is killed again: what it had begun to write is what is tested.
        scene.link.a.daemon.launch()
        time.sleep(dice.random() * 0.6)
    scene.link.a.kill()
    scene.link.a.start()
    assert reaches(scene.link.x, "10.8.0.2", 20) is not None, scene.link.told()
    time.sleep(0.5)
    arrived = flow.stop()
    scene.check(1000)
    assert len(arrived) == len(set(arrived)), "a datagram came twice"


@case(limit=60, suite=SUITES, how=("stop", "kill"))
def goes_on(net, suite, how):
    """After a restart of either end the other one still takes its frames: the numbers are higher, not the same."""
    scene = Scene(net, suite)
    for end in (*scene.link.ends, *scene.link.ends):
        getattr(end, how)()
        end.start()
        scene.link.both_ways()
    scene.check(10)


@case(limit=60)
def the_mark_is_on_disk_first(net):
    """The high-water mark that is on disk is never behind what the wire has seen: read while frames go out."""
    scene = Scene(net, "gcm-aes-128")
    flow = Sequence(scene.link.x, scene.link.y, "10.8.0.2", pace=0)
    state = scene.link.a.daemon.state
    for _ in range(20):
        time.sleep(0.1)
        seen = max((number for sci, _, number in scene.numbers() if sci == scene.link.a.sci), default=0)
        saved = copied(state)
        mark, = (int(data) for path, data in saved.items() if re.search(r"/packet-numbers/[^.]*$", path))
        # A power cut at this moment leaves what is on disk: with it the daemon must begin above what was seen.
        assert 0 < seen < mark, f"{seen} was on the wire, the mark is {mark}"
    flow.stop()
    scene.link.a.kill()
    restored(state, saved)
    before = max(number for sci, _, number in scene.numbers() if sci == scene.link.a.sci)
    scene.link.a.start()
    assert reaches(scene.link.x, "10.8.0.2", 20) is not None
    scene.check(1000)
    after = [number for sci, _, number in scene.numbers() if sci == scene.link.a.sci and number > before]
    assert after, "nothing was sent after the restart"


@case(limit=60, how=("stop", "kill"))
def old_frames_after_a_restart(net, how):
    """Frames that were captured before a restart of the receiver are late after it, and not delivered once more."""
    scene = Scene(net, SUITES[how == "kill"])
    link = scene.link
    link.both_ways()
    assert ping(link.x, "10.8.0.2", count=20, size=200) == 20
    link.hush()
    old = [frame for frame in scene.watch.protected() if secy.parse(frame).sci == link.a.sci]
    assert len(old) > 20, "too few frames"
    if how == "kill":
        # It is written down each second, which is what a kill leaves.
        newest = max(secy.parse(frame).number for frame in old)
        until(lambda: max(map(number_in, received(link.b)), default=0) > newest, 10, "what has come, on disk", 0.05)
    getattr(link.b, how)()
    link.b.start()
    before = link.b.came_out()
    scene.switch.inject("right", *old)
    link.grows(link.b, "InPktsLate", len(old) - 1)
    assert link.b.came_out() == before and not link.b.counts()["InPktsOK"], f"old frames came out; {link.told()}"
    link.both_ways()

    # The same frames without what was kept: they are good, and only that holds them back.
    link.b.stop()
    for path in received(link.b):
        os.unlink(path)
    link.b.start()
    scene.switch.inject("right", *old)
    link.grows(link.b, "InPktsOK", len(old) - 1)


def received(end):
    """The files that tell how far an end has come."""
    return glob.glob(f"{end.daemon.state}/**/*.received", recursive=True)


def number_in(path):
    with open(path) as file:
        return int(file.read())


def copied(folder):
    """Every file of a folder with its bytes."""
    found = {}
    for path in glob.glob(f"{folder}/**", recursive=True):
        if os.path.isfile(path):
            with open(path, "rb") as file:
                found[path] = file.read()
    return found


def restored(folder, files):
    """The files as they were; the owner is that of each, as the daemon left it."""
    for path, data in files.items():
        if os.path.exists(path):
            with open(path, "r+b") as file:
                file.truncate()
                file.write(data)


@case(limit=300, group=SLOW)
def killed_two_hundred_times(net):
    """The same two hundred times, at both ends in turn."""
    scene, dice = Scene(net, "gcm-aes-xpn-256"), random.Random(11)
    flow = Sequence(scene.link.x, scene.link.y, "10.8.0.2", pace=0.001)
    for number in range(200):
        end = scene.link.ends[number % 2]
        time.sleep(dice.random() * 0.2)
        end.kill()
        end.daemon.launch()
        time.sleep(dice.random() * 0.4)
    for end in scene.link.ends:
        end.kill()
        end.start()
    assert reaches(scene.link.x, "10.8.0.2", 20) is not None
    flow.stop()
    scene.check(5000)
