"""Medians and ratios for a person."""
from statistics import median

from measure.figures import FIGURES, LESS
from measure.implementation import ALL

SUBJECT, RIVALS = "adit", ("wireguard-go", "gotatun-cli")
# No implementation to choose: one does not encrypt, one is no tunnel.
BEYOND = ("adit-null", "veth")
LABEL, CELL, RATIO = 28, 14, 17
# A spread below this share of the median is not worth the reader's eye.
QUIET = 0.05


def number(value):
    """Three significant digits, thousands apart."""
    if value >= 99.95:
        return f"{value:,.0f}".replace(",", " ")
    return f"{value:.1f}" if value >= 9.995 else f"{value:.2f}"


def cell(values):
    """The median, and half the distance between the extremes where it is not small."""
    if not values:
        return "-"
    middle = median(values)
    spread = (max(values) - min(values)) / 2 / middle if middle else 0
    return number(middle) + (f" ±{spread:.0%}" if spread >= QUIET else "")


def ratio(figure, ours, theirs):
    """How much better or worse ours is, so that nobody need know which way the figure counts."""
    if not ours or not theirs or not median(ours) or not median(theirs):
        return "-"
    times = median(ours) / median(theirs)
    times = 1 / times if figure.better == LESS else times
    if 0.98 < times < 1.02:
        return "same"
    return f"{times:.2f}x better" if times > 1 else f"{1 / times:.2f}x worse"


def rows(figures):
    """For each figure that was measured: its values by implementation."""
    values = {}
    for record in figures:
        values.setdefault((record["figure"], record["implementation"]), []).append(record["value"])
    for figure in FIGURES:
        found = {name: [value * figure.scale for value in values.get((figure.key, name), [])] for name in ALL}
        if any(found.values()):
            yield figure, found


def heading(run, figures):
    """Of what and where."""
    rounds = max((record["round"] for record in figures), default=0)
    versions = run["versions"]
    yield f"{run['cpu']}, {run['cpus']} cpus, Linux {run['kernel']}; adit at {run['commit'] or 'a given binary'}"
    yield "; ".join(f"{name}: {text}" for name, text in versions.items() if not name.startswith("adit"))
    yield (f"{run['time']}, {rounds} round{'s' * (rounds != 1)}; TCP {run['settings']['congestion']}, "
           f"MTU {run['settings']['mtu']}; load before the start {run['load_before']:.2f}")


def table(run, figures):
    """All of it, as one text."""
    present = {record["implementation"] for record in figures}
    columns = [name for name in (*(name for name in ALL if name not in BEYOND), *BEYOND) if name in present]
    rivals = [name for name in RIVALS if name in columns and SUBJECT in columns]
    lines = [*heading(run, figures), ""]
    lines.append(" " * LABEL + "".join(f"{name:>{CELL}}" for name in columns)
                 + ("  |" + "".join(f"{'vs ' + name:>{RATIO}}" for name in rivals) if rivals else ""))
    group = None
    for figure, found in rows(figures):
        if figure.group != group:
            group = figure.group
            lines.append(f"{group}, {figure.unit} ({figure.better} is better)")
        line = f"  {figure.label:<{LABEL - 2}}" + "".join(f"{cell(found[name]):>{CELL}}" for name in columns)
        if rivals:
            line += "  |" + "".join(f"{ratio(figure, found[SUBJECT], found[name]):>{RATIO}}" for name in rivals)
        lines.append(line.rstrip())
    lines += ["", "Medians; ± is half the distance between the lowest and the highest round, shown from 5 % on.",
              "The columns vs ... compare adit with that implementation. adit-null has no cipher, veth no tunnel."]
    return "\n".join(lines)
