"""Two commits side by side, for a person."""
from statistics import median

from measure.chosen import SIDES
from measure.figures import FIGURES
from measure.pairs import FEWEST, certain, needed, ratio, verdict
from measure.table import number

LABEL, CELL, INTERVAL = 40, 9, 16


def paired(records):
    """For each figure the values of A and B of every round that has both. A rate of 0 is no measurement."""
    values = {}
    for record in records:
        rounds = values.setdefault(record["figure"], {})
        rounds.setdefault(record["round"], {})[record["implementation"]] = record["value"]
    return {key: [(sides["A"], sides["B"]) for sides in rounds.values() if sides.get("A") and sides.get("B")]
            for key, rounds in values.items()}


def heading(run, revisions):
    yield f"{run['cpu']}, {run['cpus']} cpus, Linux {run['kernel']}"
    yield f"{run['time']}; load before the start {run['load_before']:.2f}"
    for side, each in zip(SIDES, revisions):
        yield f"{side}: {each.title}"
    if revisions[0].tree == revisions[1].tree:
        yield "Both are the same: what differs is the machine."


def rows(keys, pairs, ratios):
    shown = certain(ratios)
    for figure in FIGURES:
        if figure.key not in keys:
            continue
        line = f"{figure.key:<18}{figure.better + ' is better, ' + figure.unit:<{LABEL - 18}}"
        if figure.key not in ratios:
            yield line + "not measured in both"
            continue
        found = ratios[figure.key]
        medians = "".join(f"{number(median(side) * figure.scale):>{CELL}}" for side in zip(*pairs[figure.key]))
        interval = f"{found.low:.3f} to {found.high:.3f}" if found.low is not None else "-"
        yield (f"{line}{medians}{found.value:>{CELL}.3f}{interval:>{INTERVAL}}{found.pairs:>7}  "
               f"{verdict(figure, found, figure.key in shown)}")


def report(run, revisions, keys, pairs):
    """All of it, as one text."""
    ratios = {key: ratio(found) for key, found in pairs.items() if key in keys and found}
    lines = [*heading(run, revisions), "",
             f"{'':<{LABEL}}{'A':>{CELL}}{'B':>{CELL}}{'B/A':>{CELL}}{'95 % interval':>{INTERVAL}}{'pairs':>7}",
             *rows(keys, pairs, ratios), "",
             "A and B: medians. B/A: the Hodges-Lehmann estimate of the ratio from the pairs of the rounds, with the",
             "interval of Wilcoxon's signed-rank test. One chance in 20 that any word of difference is wrong (Holm)."]
    fewest = min((found.pairs for found in ratios.values()), default=0)
    if fewest < FEWEST:
        lines.append(f"Fewer than {FEWEST} pairs have no interval of 95 %: --rounds {needed(len(keys))} or more.")
    elif fewest < needed(len(keys)):
        lines.append(f"{fewest} pairs cannot show a difference in one of {len(keys)} figures: "
                     f"--rounds {needed(len(keys))} or more, or --only fewer.")
    if any(found.leaves_one_out() and key not in certain(ratios) for key, found in ratios.items()):
        lines.append(f"* The interval leaves 1 out, which among {len(ratios)} figures may be chance: "
                     f"measure it again with --only.")
    return "\n".join(lines)
