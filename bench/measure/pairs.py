"""What measurements in pairs say about a ratio: how large it is, how certain, and whether it differs from 1.

The ratio is the Hodges-Lehmann estimate, its interval the one that inverts Wilcoxon's signed-rank test: exact for
any noise, as long as A and B would be as likely to be the larger one of a pair if they were equal. A coin decides
who goes first, so they would be.
"""
import math
from dataclasses import dataclass
from statistics import median

from measure.figures import MORE

LEVEL = 0.95
# With fewer pairs even their whole range covers the ratio less often than that: 1 - 2/2^5 is 0.9375.
FEWEST = 6
SAME, SHOWN = "no difference shown", {True: "faster", False: "slower"}
# Figures for which faster is not the word.
LESS_IS = {"s/GB": {True: "less", False: "more"}, "MiB": {True: "less", False: "more"}}


@dataclass(frozen=True)
class Ratio:
    """B / A, from pairs. `low` and `high` are None where there are too few; `p` is two-sided."""
    pairs: int
    value: float
    low: float | None
    high: float | None
    p: float

    def leaves_one_out(self):
        return self.low is not None and not self.low <= 1 <= self.high


def probabilities(count):
    """Of each signed-rank sum, from 0 upwards, if either sign of each pair is as likely."""
    ways = [1]
    for rank in range(1, count + 1):
        ways = [(ways[at] if at < len(ways) else 0) + (ways[at - rank] if at >= rank else 0)
                for at in range(len(ways) + rank)]
    return [way / 2 ** count for way in ways]


def ratio(pairs):
    """The ratio of pairs (A, B) of values above 0; of at least one."""
    logs = [math.log(b / a) for a, b in pairs]
    walsh = sorted((logs[i] + logs[j]) / 2 for i in range(len(logs)) for j in range(i + 1))
    # At least so many averages contradict a ratio above 1, or one below it: those of exactly 1 contradict both.
    against = min(sum(average <= 0 for average in walsh), sum(average >= 0 for average in walsh))
    below, cut, chances = 0.0, -1, probabilities(len(logs))
    for at, chance in enumerate(chances):
        below += chance
        if below > (1 - LEVEL) / 2:
            break
        cut = at
    low, high = (math.exp(walsh[cut]), math.exp(walsh[-1 - cut])) if len(logs) >= FEWEST else (None, None)
    return Ratio(len(logs), math.exp(median(walsh)), low, high, min(1.0, 2 * sum(chances[:against + 1])))


def certain(ratios):
    """Which of them differ from 1, with one chance in 20 that any of all is wrong (Holm's procedure)."""
    found, left = set(), len(ratios)
    for key in sorted(ratios, key=lambda key: ratios[key].p):
        if ratios[key].p > (1 - LEVEL) / left:
            break
        found.add(key)
        left -= 1
    return found


def needed(figures):
    """The fewest rounds in which a difference in one of so many figures can be shown at all."""
    return next(count for count in range(FEWEST, 64) if 2 / 2 ** count <= (1 - LEVEL) / figures)


def verdict(figure, found, is_certain):
    """In words. A star where the interval alone would say more."""
    if found.pairs < FEWEST:
        return "too few rounds"
    if not is_certain:
        return SAME + " *" * found.leaves_one_out()
    return LESS_IS.get(figure.unit, SHOWN)[(found.value > 1) == (figure.better == MORE)]
