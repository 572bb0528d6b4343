"""A turn whose processor time is taken apart: measured without perf first, then sampled while the same stream goes on."""
import os
import time
from collections import Counter

from lab import process
from measure import turn
from measure.parts import RESTS, part_of, stage
from measure.stacks import FIELDS, WORKER, folded, samples
from measure.tcp import loaded
from measure.turn import Ends, Turn

# The implementations, in the order of a round. The last two have no cipher and no tunnel.
TAKEN_APART = ("adit", "adit-gcm", "adit-null")
# Bytes of IP and TCP headers with timestamps; MTU of the bare cable.
HEADERS, CABLE = 52, 1500
# Samples a second of each processor: a prime, so that it keeps step with no other timer.
RATE = 1999
# Bytes of the stack that a sample copies. Programs have no frame pointers, so callers are found in it.
STACK = 4096
# A cause that is rarer is not kept by name.
KEPT = 12


def perf(seconds, path):
    """The words that sample all processors meanwhile.

    All processors, because a timer of each thread would be set anew whenever the thread is switched to, and be counted with it.
    """
    return ["perf", "record", "-q", "-a", "-e", "cpu-clock", "-F", str(RATE), "--call-graph", f"dwarf,{STACK}",
            "-o", path, "--", "sleep", str(seconds)]


def threads(pid):
    """Nanoseconds that the threads of a process have run, and have waited to run: by direction, or other."""
    ran, waited = Counter(), Counter()
    for tid in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{tid}/comm") as file:
            found = WORKER.match(file.read().strip())
        with open(f"/proc/{pid}/task/{tid}/schedstat") as file:
            values = file.read().split()
        name = found[1] if found else "other"
        ran[name] += int(values[0])
        waited[name] += int(values[1])
    return ran, waited


def idle():
    """Ticks that all processors were idle, stolen by the machine below, and altogether."""
    with open("/proc/stat") as file:
        ticks = list(map(int, file.readline().split()[1:9]))
    return ticks[3] + ticks[4], ticks[7], sum(ticks)


class Sampled(Turn):
    """`wanted` is the folder where folded stacks are kept."""

    def measure(self):
        self.ends = Ends(self.net, self.implementation).start()
        self.data = f"{self.net.folder}/perf.data"
        with loaded(self.ends.a, self.ends.b, self.ends.address(), seconds=2 * self.settings.tcp + 20):
            self.figure(self.plain)
            if self.ends.tunnel:
                self.figure(self.sample)
        if self.ends.tunnel:
            self.figure(self.take_apart)

    def now(self):
        link = self.ends.link(self.ends.right)[0]
        arrived = self.ends.b.statistic(link, "rx_bytes")
        return time.monotonic(), arrived, [threads(site.device.process.pid) for site in self.ends.sites], idle()

    def plain(self):
        before = self.now()
        time.sleep(self.settings.tcp)
        after = self.now()
        seconds, arrived = after[0] - before[0], after[1] - before[1]
        used = [[dict(later - sooner) for later, sooner in zip(*both)] for both in zip(after[2], before[2])]
        free, stolen, ticks = (later - sooner for later, sooner in zip(after[3], before[3]))
        self.note("flame_rate", 8 * arrived / seconds, seconds=seconds, packets=arrived / self.payload(),
                  ran=[ran for ran, _ in used], waited=[waited for _, waited in used],
                  idle=free / ticks, stolen=stolen / ticks)

    def payload(self):
        """Bytes of TCP payload in a packet."""
        return (turn.MTU if self.ends.tunnel else CABLE) - HEADERS

    def sample(self):
        before = self.now()
        process.run(perf(self.settings.tcp, self.data), timeout=self.settings.tcp + 30)
        after = self.now()
        self.sampled_rate = 8 * (after[1] - before[1]) / (after[0] - before[0])

    def take_apart(self):
        """Counts samples by part. A super-packet's headers count as payload, as above: one for some forty packets."""
        text = process.run(["perf", "script", "--no-inline", "-i", self.data, "-F", FIELDS], timeout=120)[1]
        pids = {site.device.process.pid: at for at, site in enumerate(self.ends.sites)}
        parts, rests, machine = [{}, {}], Counter(), Counter()
        stacks = [Counter(), Counter()]
        for sample in samples(text):
            end = pids.get(sample.pid)
            if end is None:
                machine[{"swapper": "idle", "iperf3": "iperf3"}.get(sample.command, "other")] += 1
                continue
            machine["ab"[end]] += 1
            part = part_of(sample.frames)
            thread = sample.thread if WORKER.match(sample.command) else "other"
            parts[end].setdefault(thread, Counter())[part] += 1
            stacks[end][folded(sample, stage(sample, part))] += 1
            if part in RESTS:
                rests[sample.frames[0].symbol if sample.frames else "no function"] += 1
        assert all(each.get("outward") and each.get("inward") for each in parts), "perf saw no worker's thread"
        self.keep(stacks)
        self.note("flame_parts", self.sampled_rate, parts=parts, machine=machine, rests=dict(rests.most_common(KEPT)))

    def keep(self, stacks):
        for end, counts in zip("ab", stacks):
            with open(f"{self.wanted}/{self.implementation}-{end}.folded", "a") as file:
                file.writelines(f"{line} {count}\n" for line, count in counts.items())
