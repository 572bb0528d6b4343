"""The wire benchmark: implementations of WireGuard in turn, each against itself, between two namespaces.

bench/run builds what this needs and starts it; README.md says what the figures mean.
"""
import argparse
import os
import sys
import time

HERE = os.path.dirname(os.path.realpath(__file__))
sys.path[:0] = [HERE, f"{HERE}/../netns-tests"]

from lab import interrupt                                       # noqa: E402
from lab.case import Case                                       # noqa: E402
from lab.namespace import sweep_abandoned                       # noqa: E402
from lab.runner import run as run_cases                         # noqa: E402
from lab.wireguard import Missing                               # noqa: E402
from measure import results                                     # noqa: E402
from measure.implementation import ALL, require                 # noqa: E402
from measure.kind import GROUPS, KINDS, USUAL, plans            # noqa: E402
from measure.table import table                                 # noqa: E402
from measure.turn import QUICK, Settings, described             # noqa: E402

# How far a turn may go beyond what it usually takes, as a factor and in seconds; and the whole run, as a factor.
SLACK, SPARE, WHOLE = 2.0, 60, 1.5


def listed(text, known, parser, option):
    """The words of a list, each of them known."""
    words = [word for word in text.split(",") if word]
    unknown = [word for word in words if word not in known]
    if unknown or not words:
        parser.error(f"{option}: {', '.join(unknown) or 'nothing'}: expected some of {', '.join(known)}")
    return words


def arguments():
    parser = argparse.ArgumentParser(prog="bench/run", description="Measures adit and other implementations in turn.")
    parser.add_argument("--figures", metavar="A,B", default=",".join(USUAL),
                        help=f"these groups of figures, of {', '.join(GROUPS)}; or all ({','.join(USUAL)})")
    parser.add_argument("--only", metavar="A,B",
                        help=f"these implementations, of {', '.join(ALL)}; else those usual for a group")
    parser.add_argument("--rounds", type=int, help="turns of each implementation (5; with --quick 1)")
    parser.add_argument("--quick", action="store_true", help="shorter measurements: to see that all works")
    parser.add_argument("--minutes", type=float,
                        help=f"begin no turn that would end later ({WHOLE:g} times the estimate)")
    parser.add_argument("--table", metavar="FILE", nargs="+", help="only print the table of these results")
    wanted = parser.parse_args()
    wanted.figures = GROUPS if wanted.figures == "all" else listed(wanted.figures, GROUPS, parser, "--figures")
    wanted.only = wanted.only and listed(wanted.only, ALL, parser, "--only")
    wanted.rounds = wanted.rounds or (1 if wanted.quick else 5)
    wanted.plans = plans(wanted.figures, wanted.only, wanted.quick)
    if not wanted.plans:
        parser.error(f"--only {','.join(wanted.only)} can measure nothing of --figures {','.join(wanted.figures)}")
    wanted.estimate = wanted.rounds * sum(plan.seconds for plan in wanted.plans) / 60
    wanted.minutes = wanted.minutes or WHOLE * wanted.estimate
    return wanted


def turn(number, plan, settings, path):
    """A turn as a case of the lab, which gives it namespaces, a process and a limit of its own."""
    def run(net):
        KINDS[plan.kind].turn(net, plan.implementation, number, plan.wanted, settings, path).run()
    name = f"round {number}: {plan.implementation}" + (f", {plan.kind}" if plan.kind != "plain" else "")
    return Case(name, "that every figure can be measured", SLACK * plan.seconds + SPARE, "bench", True, run)


def measure(wanted, path, settings):
    """Takes the turns; the names of those that failed."""
    end, failed = time.monotonic() + 60 * wanted.minutes, []
    for number in range(1, wanted.rounds + 1):
        for plan in wanted.plans:
            if time.monotonic() + plan.seconds > end:
                print(f"the time is up before round {number} of {plan.implementation}: the table is of what there is")
                return failed
            failed += run_cases([turn(number, plan, settings, path)], 1)[1]
    return failed


def main():
    wanted = arguments()
    if wanted.table:
        print(table(*results.read(*wanted.table)))
        return 0
    if os.geteuid():
        print("bench/run: it makes network namespaces: run it as root", file=sys.stderr)
        return 2
    implementations = list(dict.fromkeys(name for plan in wanted.plans for name in plan.measured))
    try:
        require(implementations)
    except Missing as error:
        print(f"bench/run: {error}", file=sys.stderr)
        return 2
    settings = QUICK if wanted.quick else Settings()
    sweep_abandoned()
    interrupt.listen()
    path = results.start(implementations, described(settings), wanted.quick)
    print(f"{len(wanted.plans)} turns in each of {wanted.rounds} rounds: some {wanted.estimate:.0f} minutes", flush=True)
    if os.getloadavg()[0] > 0.5:
        print(f"other programs are busy (load {os.getloadavg()[0]:.1f}): the figures will be noisy")
    code = 0
    try:
        failed = measure(wanted, path, settings)
        code = 1 if failed else 0
    except interrupt.Interrupted as error:
        print(error, file=sys.stderr)
        code = 128 + error.number
    run, figures = results.read(path)
    if figures:
        print("\n" + table(run, figures) + f"\n\nraw results: {os.path.relpath(path)}")
    else:
        os.unlink(path)
    return code


if __name__ == "__main__":
    sys.exit(main())
