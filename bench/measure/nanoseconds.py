"""Tables of what a packet costs, from the raw results of bench/flame."""
from collections import Counter
from statistics import median

from measure.parts import PARTS, RESTS
from measure.sampled import TAKEN_APART

NAMES = {"adit-null": "no cipher", "adit-gcm": "AES-256-GCM", "adit": "ChaCha20-Poly1305"}
CIPHERS = ("adit-gcm", "adit")
# The thread of each table: the end, its direction, and what it is.
THREADS = ((0, "outward", "Sender, outward: the data from TUN to network"),
           (1, "inward", "Receiver, inward: the data from network to TUN"),
           (1, "outward", "Receiver, outward: the acknowledgements"),
           (0, "inward", "Sender, inward: the acknowledgements"))
BOTH = (0, 1)


class Measured:
    """What was measured, by implementation and round."""

    def __init__(self, records):
        self.rates, self.parts, self.ciphers = {}, {}, {}
        by_figure = {"flame_rate": self.rates, "flame_parts": self.parts, "flame_cipher": self.ciphers}
        for record in records:
            if record["figure"] in by_figure:
                rounds = by_figure[record["figure"]].setdefault(record["implementation"], {})
                rounds[record["round"]] = {"value": record["value"], **record["detail"]}

    def speed(self, name):
        """Gbit/s of each round."""
        return {number: one["value"] / 1e9 for number, one in self.rates.get(name, {}).items()}

    def cost(self, name, ends=BOTH, direction=None):
        """Nanoseconds of processor time for a packet, of each round; of all threads, or those of a direction."""
        return {number: sum(ran for end in ends for thread, ran in one["ran"][end].items() if direction in (None, thread))
                / one["packets"] for number, one in self.rates.get(name, {}).items()}

    def above(self, name):
        """Nanoseconds for a packet above those without a cipher, of each round that has both."""
        null = self.cost("adit-null")
        return [ours - null[number] for number, ours in self.cost(name).items() if number in null]

    def counts(self, name, end, thread):
        """Samples of a thread by part, all rounds together."""
        found = Counter()
        for one in self.parts.get(name, {}).values():
            found.update(one["parts"][end].get(thread, {}))
        return found

    def split(self, name, end, thread):
        """Nanoseconds of a thread for a packet, by part. Their sum is what was measured of the thread."""
        counts = self.counts(name, end, thread)
        each = median(self.cost(name, (end,), thread).values()) / max(sum(counts.values()), 1)
        return {key: count * each for key, count in counts.items()}

    def whole(self, name):
        """The same of all four threads together."""
        found = Counter()
        for end, direction, _ in THREADS:
            found.update(self.split(name, end, direction))
        return found


def spread(values, digits=0):
    """The median, and the lowest and highest round."""
    values = list(values)
    if not values:
        return "-"
    low, high = min(values), max(values)
    return f"{median(values):.{digits}f}" + (f" ({low:.{digits}f}–{high:.{digits}f})" if len(values) > 1 else "")


def lines(head, rows):
    """A table. All columns but the first are figures."""
    yield "| " + " | ".join(head) + " |"
    yield "|" + "---|" + "--:|" * (len(head) - 1)
    yield from ("| " + " | ".join(row) + " |" for row in rows)


def rates(measured):
    for name in ("veth", *reversed(TAKEN_APART)):
        rounds = measured.rates.get(name, {}).values()
        if not rounds:
            continue
        costs = [measured.cost(name, ends).values() if name != "veth" else () for ends in ((0,), (1,), BOTH)]
        yield (NAMES.get(name, "veth alone"), spread(measured.speed(name).values(), 1), *map(spread, costs),
               spread(1e9 * one["seconds"] / one["packets"] for one in rounds), f"{median(one['idle'] for one in rounds):.0%}",
               spread((one["value"] / 1e9 for one in measured.parts.get(name, {}).values()), 1))


def ciphers(measured):
    for name in CIPHERS:
        above, alone = measured.above(name), measured.ciphers.get(name, {}).values()
        if not above or not alone:
            continue
        price, seen = median(one["value"] for one in alone), measured.whole(name)["cipher"]
        yield (NAMES[name], spread(above), spread(one["seal"] for one in alone), spread(one["open"] for one in alone),
               f"{price:.0f}", spread((each / price for each in above), 2), f"{seen:.0f}", f"{seen / price:.2f}")


def above(measured):
    """What the nanoseconds above those without a cipher are, all four threads together."""
    null = measured.whole("adit-null")
    names = [name for name in CIPHERS if name in measured.parts]
    more = [Counter(measured.whole(name)) for name in names]
    for each in more:
        each.subtract(null)
    rows = [(f"{part.side}: {part.label}", *(f"{each[part.key]:+.0f}" for each in more)) for part in PARTS
            if part.key in RESTS or any(abs(each[part.key]) >= 0.5 for each in more)]
    rows.append(("**sum of the parts**", *(f"{sum(each.values()):+.0f}" for each in more)))
    return lines(("ns a packet above no cipher", *(NAMES[name] for name in names)), rows)


def nanos(value):
    """A cell: what was seen but is too little for a figure is not nothing."""
    return "-" if not value else f"{value:.0f}" if value >= 0.5 else "< 1"


def thread(measured, end, direction):
    names = [name for name in reversed(TAKEN_APART) if name in measured.parts]
    splits = [measured.split(name, end, direction) for name in names]
    rows = [(f"{part.side}: {part.label}", *(nanos(split.get(part.key)) for split in splits)) for part in PARTS
            if part.key in RESTS or any(split.get(part.key) for split in splits)]
    rows.append(("**sum, measured without perf**", *(spread(measured.cost(name, (end,), direction).values()) for name in names)))
    rows.append(("samples", *(str(sum(measured.counts(name, end, direction).values())) for name in names)))
    return lines(("ns a packet", *(NAMES[name] for name in names)), rows)


def machine(measured):
    """Where all processors were while perf sampled, as shares."""
    keys = {"a": "adit at the sender", "b": "adit at the receiver", "iperf3": "iperf3, both ends", "idle": "idle",
            "other": "all else, perf included"}
    names = [name for name in reversed(TAKEN_APART) if name in measured.parts]
    seen = {name: sum((Counter(one["machine"]) for one in measured.parts[name].values()), Counter()) for name in names}
    return lines(("share of all processors", *(NAMES[name] for name in names)), [
        (label, *(f"{seen[name][key] / sum(seen[name].values()):.1%}" for name in names)) for key, label in keys.items()])


def rests(measured):
    seen = Counter()
    for rounds in measured.parts.values():
        for one in rounds.values():
            seen.update(one["rests"])
    return ", ".join(f"`{symbol}` {count}" for symbol, count in seen.most_common(10))


def share(measured):
    """What adit reaches of the bare cable's rate without a cipher, in percent."""
    veth = measured.speed("veth")
    return spread(100 * ours / veth[number] for number, ours in measured.speed("adit-null").items() if number in veth)


def page(run, records):
    """The tables, with their headings."""
    measured = Measured(records)
    yield (f"{run['cpu']}, {run['cpus']} processors, Linux {run['kernel']}; adit at {run['commit']}; {run['time']}; "
           f"{len(measured.rates.get('adit-null', {}))} rounds of {run['settings']['tcp']} s; load before the start "
           f"{run['load_before']:.2f}. Medians, with the lowest and highest round.")
    yield ""
    yield from lines(("one TCP stream", "Gbit/s", "sender, ns a packet", "receiver", "both", "time between packets, ns", "idle",
                      "Gbit/s under perf"), rates(measured))
    yield f"\nWithout a cipher: {share(measured)} % of veth's TCP in the same rounds."
    yield "\n### The cipher\n"
    yield from lines(("ns a packet", "above no cipher, both ends", "alone: seal", "open", "both", "ratio", "samples say",
                      "ratio"), ciphers(measured))
    yield "\nWhat is above no cipher, by parts:\n"
    yield from above(measured)
    for end, direction, title in THREADS:
        yield f"\n### {title}\n"
        yield from thread(measured, end, direction)
    yield "\n### The machine\n"
    yield from machine(measured)
    yield f"\nWhat the two rests are, samples of all threads: {rests(measured)}."
