"""Whether a soak went well, with figures."""
from collections import Counter, defaultdict

# By how much a process may grow over the time that is looked at.
GROWTH = {"rss_kib": 2048, "descriptors": 1, "threads": 1}
# Samples of a killed process are compared at the same age, in steps of so many seconds; younger ones are still growing up.
STEP, YOUNG = 20, 20
# A session lasts 180 s; the oldest handshake of a peer in use.
OLDEST = 200
# Reasons to drop a packet that nothing here brings about.
NEVER = {"malformed", "truncated", "exhausted", "no_entropy", "no_private_key", "auth", "length", "bad_mac1",
         "bad_handshake", "other_cipher", "unknown_peer", "unsent_queue_full", "handshake_queue_full"}


def slope(samples, value, time, group):
    """The least-squares slope of a value over time, with a level of its own for each group (None: too few samples)."""
    groups = defaultdict(list)
    for sample in samples:
        groups[group(sample)].append((time(sample), sample[value]))
    above = below = 0.0
    for points in groups.values():
        middle, level = (sum(column) / len(points) for column in zip(*points))
        above += sum((when - middle) * (what - level) for when, what in points)
        below += sum((when - middle) ** 2 for when, _ in points)
    return above / below if below else None


def flat(record, name, title, samples, time, group):
    """Prints how much a process grew, by each measure, and notes what is too much."""
    if len(samples) < 4:
        print(f"  {name:6} {title:24} too few samples")
        return
    times = [time(sample) for sample in samples]
    span = max(times) - min(times)
    for value, limit in GROWTH.items():
        values = [sample[value] for sample in samples]
        rate = slope(samples, value, time, group)
        if rate is None:
            continue
        grown = rate * span
        print(f"  {name:6} {title:24} {value:12} {min(values):>8} to {max(values):<8} grew {grown:+9.2f} in {span:5.0f} s "
              f"({rate * 3600:+.1f} an hour), allowed {limit}")
        record.write("growth", process=name, how=title, value=value, least=min(values), most=max(values), grown=grown,
                     seconds=span)
        if grown > limit:
            record.violation(f"{name}: {value}: {title}: grew by {grown:.1f} in {span:.0f} s, allowed {limit}")


def leaks(record):
    samples = defaultdict(list)
    for sample in record.of("sample"):
        samples[sample["process"]].append(sample)
    print("growth")
    end = max((sample["t"] for one in samples.values() for sample in one), default=0)
    for name, all_of_it in samples.items():
        if all_of_it[-1]["life"] == 0:
            late = [sample for sample in all_of_it if sample["t"] >= end / 4]
            flat(record, name, "one life, last 3/4", late, lambda one: one["t"], lambda one: one.get("tunnels"))
            continue
        grown_up = [sample for sample in all_of_it if sample["age"] >= YOUNG]
        flat(record, name, "within its lives", grown_up, lambda one: one["age"],
             lambda one: (one["life"], one.get("tunnels")))
        flat(record, name, "across lives, same age", grown_up, lambda one: one["t"],
             lambda one: (one["age"] // STEP, one.get("tunnels")))


def traffic(record, streams, lanes):
    print("streams (10 datagrams a second each)")
    for stream in streams.streams:
        print(f"  {stream.name:22} sent {stream.sent:>7}, refused {stream.refused:>6}, arrived {stream.arrived:>7}, "
              f"out of order {stream.behind:>4}, longest pause {stream.worst:6.2f} s")
        record.write("stream", name=stream.name, sent=stream.sent, refused=stream.refused, arrived=stream.arrived,
                     behind=stream.behind, worst=round(stream.worst, 3))
    print("load")
    for lane in lanes:
        print(f"  {lane.name:22} {lane.done} done, {lane.failed} cut off, {lane.hung} ended by us, "
              f"{lane.bytes / 1e6:.0f} MB moved")
        record.write("lane", name=lane.name, done=lane.done, failed=lane.failed, hung=lane.hung, bytes=lane.bytes)
        if not lane.done:
            record.violation(f"{lane.name}: nothing ever ended well")
    pauses = sorted(record.of("gap"), key=lambda gap: -gap["seconds"])
    print(f"pauses over 1 s: {len(pauses)}; the longest:")
    for gap in pauses[:8]:
        print(f"  {gap['seconds']:6.2f} s from {gap['begin']:.1f} s, {gap['stream']}: {'; '.join(gap['during'])}")


def states(record):
    """What the daemons said of themselves."""
    drops, oldest, warnings = defaultdict(Counter), 0.0, Counter()
    for sample in record.of("sample"):
        for tunnel, told in sample.get("wireguard", {}).items():
            drops[sample["process"], tunnel, sample["life"]] = Counter(told["drops"])
            oldest = max([oldest, *(age for age in told["ages"].values() if age is not None)])
        warnings.update(sample.get("warnings", []))
    total = Counter()
    for (process, _, _), counted in drops.items():
        total.update({f"{process}: {reason}": count for reason, count in counted.items()})
    print("drops at the last sample of each life: " + ", ".join(f"{name} {count}" for name, count in sorted(total.items())))
    print(f"oldest handshake of a peer in use: {oldest:.0f} s")
    for warning, count in warnings.most_common(8):
        print(f"  warned in {count} samples: {warning[:140]}")
    if oldest > OLDEST:
        record.violation(f"a handshake {oldest:.0f} s old")
    for reason in {name.partition(": ")[2] for name in total} & NEVER:
        record.violation(f"drops that nothing here brings about: {reason}")


def errors(record, daemons):
    for daemon in daemons:
        for line in daemon.unexpected_errors():
            record.violation(f"{daemon.name}: {line}")
    took = [line["took"] for line in record.of("event") if "took" in line]
    if took:
        took.sort()
        print(f"reloads: {len(took)}, median {took[len(took) // 2] * 1000:.0f} ms, longest {took[-1] * 1000:.0f} ms")


def judge(record, streams, lanes, daemons):
    """Prints everything. Violations are in `record` after that."""
    leaks(record)
    traffic(record, streams, lanes)
    states(record)
    errors(record, daemons)
