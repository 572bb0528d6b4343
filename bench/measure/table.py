"""Medians and ratios for a person."""
from collections import Counter
from statistics import median

from measure.ethernet import CIPHERED, MTUS
from measure.figures import FIGURES, LESS
from measure.implementation import ALL, PEERS
from measure.tls_ends import RIVALS

# Who is compared with whom. BEST is the best of the peers, figure by figure.
BEST = "best peer"
PAIRS = (("adit", "wireguard-go"), ("adit", "gotatun-cli"), ("adit", BEST), ("adit-library", "wireguard-go"),
         ("adit-library", "gotatun-cli"), ("adit-gcm", "wireguard-go"), ("adit-null", "veth"), ("adit-link-udp", "openvpn-tap"),
         ("adit-link-udp", "wireguard-go-vxlan"), ("adit-link", "forwarder-direct"), ("adit-link-jumbo", "forwarder-jumbo"),
         *CIPHERED.items(), ("adit-link", "cable"), ("adit-link-jumbo", "cable-jumbo"), ("forwarder", "cable"),
         ("forwarder-jumbo", "cable-jumbo"), ("forwarder", "forwarder-single"), ("adit-tls", "nginx-stream"),
         ("adit-tls", "haproxy-tcp"), ("adit-tls", BEST), ("adit-http", "nginx-http"), ("adit-http", "haproxy-http"),
         ("adit-http", BEST))
# Of these it is a share that is asked for.
SHARES = (("adit-null", "veth"), ("adit-link", "forwarder-direct"), ("adit-link-jumbo", "forwarder-jumbo"),
          *CIPHERED.items(), ("adit-link", "cable"), ("adit-link-jumbo", "cable-jumbo"), ("forwarder", "cable"),
          ("forwarder-jumbo", "cable-jumbo"))
# No implementation to choose: one does not encrypt, one is no tunnel.
BEYOND = ("adit-null", "veth")
LABEL, CELL, RATIO = 34, 14, 19
# A spread below this share of the median is not worth the reader's eye.
QUIET = 0.05


def number(value):
    """Three significant digits, thousands apart."""
    if value >= 99.95:
        return f"{value:,.0f}".replace(",", " ")
    if value == 0:
        return "0"
    return f"{value:.1f}" if value >= 9.995 else f"{value:.2f}"


def typical(figure, values):
    """What stands for several rounds."""
    if figure.worst:
        return max(values) if figure.better == LESS else min(values)
    return median(values)


def cell(figure, values):
    """The median, and half the distance between the extremes where it is not small."""
    if not values:
        return "-"
    middle = typical(figure, values)
    if figure.worst:
        return f"{middle:,.0f}".replace(",", " ")
    spread = (max(values) - min(values)) / 2 / middle if middle else 0
    return number(middle) + (f" ±{spread:.0%}" if spread >= QUIET else "")


def ratio(figure, ours, theirs):
    """How much better or worse ours is, so that nobody need know which way the figure counts."""
    if not ours or not theirs or not typical(figure, ours) or not typical(figure, theirs):
        return "-"
    times = typical(figure, ours) / typical(figure, theirs)
    times = 1 / times if figure.better == LESS else times
    if 0.98 < times < 1.02:
        return "same"
    return f"{times:.2f}x better" if times > 1 else f"{1 / times:.2f}x worse"


def share(figure, ours, theirs):
    """How much of theirs ours is, in hundredths; of what is better when it is less, the other way about."""
    if not ours or not theirs or not typical(figure, ours) or not typical(figure, theirs):
        return "-"
    times = typical(figure, ours) / typical(figure, theirs)
    return f"{1 / times if figure.better == LESS else times:.0%}"


def best(figure, found, ours):
    """The values of the best peer of ours."""
    there = [found[name] for name in RIVALS.get(ours, PEERS) if found[name]]
    choose = min if figure.better == LESS else max
    return choose(there, key=lambda values: typical(figure, values), default=[])


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
    # Of several files each may have had a first round.
    rounds = max(Counter((record["figure"], record["implementation"]) for record in figures).values(), default=0)
    versions = run["versions"]
    yield f"{run['cpu']}, {run['cpus']} cpus, Linux {run['kernel']}; adit at {run['commit'] or 'a given binary'}"
    yield "; ".join(f"{name}: {text}" for name, text in versions.items() if not name.startswith("adit"))
    yield (f"{run['time']}, {rounds} round{'s' * (rounds != 1)}; TCP {run['settings']['congestion']}, "
           f"MTU {run['settings']['mtu']}; load before the start {run['load_before']:.2f}")


def part(headings, width, figures, text):
    """A table under lines of `headings`, the columns' names, whose cells `text` makes of a figure and its values."""
    width = max(width, *(len(name) + 2 for names in headings for name in names))
    lines = [" " * LABEL + "".join(f"{name:>{width}}" for name in names) for names in headings]
    group = None
    for figure, found in rows(figures):
        cells = text(figure, found)
        if all(cell == "-" for cell in cells):
            continue
        if figure.group != group:
            group = figure.group
            lines.append(f"{group}, {figure.unit} ({figure.better} is better)")
        lines.append((f"  {figure.label:<{LABEL - 2}}" + "".join(f"{cell:>{width}}" for cell in cells)).rstrip())
    return lines


def price(figures):
    """What the cipher costs a packet: the processor time of both ends above that without a cipher."""
    found = {figure.key: values for figure, values in rows(figures)}.get("cpu1", {})
    without = found.get("adit-null")
    for name in ("adit", "adit-library", "adit-gcm"):
        if without and found.get(name):
            # Seconds for 10^9 bytes of inner packets are nanoseconds for one byte; an inner packet has 1420.
            nanos = (median(found[name]) - median(without)) * 1420
            yield f"{name}: {nanos:.0f} ns for each packet above adit-null, sealing and opening together (TCP, 1 stream)"


def price_of_frames(figures):
    """The same of a link's full frame, beside what the cipher takes alone."""
    found = {figure.key: values for figure, values in rows(figures)}
    for name, null in CIPHERED.items():
        alone = found.get("link_gcm", {}).get(name)
        for key, words in (("link_cpu", "TCP"), ("link_cpu_udp", "UDP")):
            ours, without = (found.get(key, {}).get(one) for one in (name, null))
            if alone and ours and without:
                nanos = (median(ours) - median(without)) * (MTUS[name][0] + 14)
                yield (f"{name}, {words}: {nanos:.0f} ns for each full frame above {null}; "
                       f"AES-256-GCM alone takes {median(alone):.0f} ns")


def table(run, figures):
    """All of it, as one text."""
    present = {record["implementation"] for record in figures}
    columns = [name for name in (*(name for name in ALL if name not in BEYOND), *BEYOND) if name in present]
    lines = [*heading(run, figures), ""]
    lines += part([columns], CELL, figures,
                  lambda figure, found: [cell(figure, found[name]) for name in columns])
    pairs = [(ours, theirs) for ours, theirs in PAIRS
             if ours in present and (theirs in present or theirs == BEST and len(present & set(RIVALS.get(ours, PEERS))) > 1)]
    if pairs:
        def compared(figure, found):
            return [(share if (ours, theirs) in SHARES else ratio)(
                figure, found[ours], best(figure, found, ours) if theirs == BEST else found[theirs]) for ours, theirs in pairs]
        lines += ["", *part([[ours for ours, _ in pairs], [f"vs {theirs}" for _, theirs in pairs]], RATIO, figures, compared)]
    lines += ["", *price(figures), *price_of_frames(figures)]
    lines += ["Medians; ± is half the distance between the lowest and the highest round, shown from 5 % on.",
              "adit-null has no cipher, veth no tunnel."]
    return "\n".join(lines)
