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
from measure.table import table                                 # noqa: E402
from measure.turn import QUICK, Settings, Turn, described       # noqa: E402

# What a run may take, in minutes, and a turn, in seconds.
WHOLE, BRIEF = 40, 4
TURN = 150


def arguments():
    parser = argparse.ArgumentParser(prog="bench/run", description="Measures adit and other implementations in turn.")
    parser.add_argument("--rounds", type=int, help="turns of each implementation (5; with --quick 1)")
    parser.add_argument("--only", metavar="A,B", default=",".join(ALL), help=f"these alone, of {', '.join(ALL)}")
    parser.add_argument("--quick", action="store_true", help="shorter measurements: to see that all works")
    parser.add_argument("--minutes", type=float, help=f"begin no turn that would end later ({WHOLE}; with --quick {BRIEF})")
    parser.add_argument("--table", metavar="FILE", help="only print the table of these results")
    wanted = parser.parse_args()
    wanted.only = [name for name in wanted.only.split(",") if name]
    unknown = [name for name in wanted.only if name not in ALL]
    if unknown or not wanted.only:
        parser.error(f"--only: {', '.join(unknown) or 'nothing'}: expected some of {', '.join(ALL)}")
    wanted.rounds = wanted.rounds or (1 if wanted.quick else 5)
    wanted.minutes = wanted.minutes or (BRIEF if wanted.quick else WHOLE)
    return wanted


def turn(number, implementation, settings, path):
    """A turn as a case of the lab, which gives it namespaces, a process and a limit of its own."""
    def run(net):
        Turn(net, implementation, number, settings, path).run()
    return Case(f"round {number}: {implementation}", "that every figure can be measured", TURN, "bench", run)


def measure(wanted, path, settings):
    """Takes the turns; the names of those that failed."""
    end, longest, failed = time.monotonic() + 60 * wanted.minutes, 0, []
    for number in range(1, wanted.rounds + 1):
        for implementation in wanted.only:
            start = time.monotonic()
            if start + longest > end:
                print(f"the time is up before round {number} of {implementation}: the table is of what there is")
                return failed
            failed += run_cases([turn(number, implementation, settings, path)], 1)[1]
            longest = max(longest, time.monotonic() - start)
    return failed


def main():
    wanted = arguments()
    if wanted.table:
        print(table(*results.read(wanted.table)))
        return 0
    if os.geteuid():
        print("bench/run: it makes network namespaces: run it as root", file=sys.stderr)
        return 2
    try:
        require(wanted.only)
    except Missing as error:
        print(f"bench/run: {error}", file=sys.stderr)
        return 2
    settings = QUICK if wanted.quick else Settings()
    sweep_abandoned()
    interrupt.listen()
    path = results.start(wanted.only, described(settings), wanted.quick)
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
