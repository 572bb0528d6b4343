"""Counts the instructions of adit-instructions under callgrind, beside the figures recorded last.

netns-tests/run.sh bench builds the program and starts this. A count that differs is shown and is no failure.
"""
import argparse
import json
import os
import subprocess
import sys
import tempfile

ROOT = os.path.realpath(f"{os.path.dirname(os.path.realpath(__file__))}/../..")
RECORDED = f"{ROOT}/bench/results/instructions.json"
MEASURED = "adit_instructions::measured"
LABEL, NUMBER = 40, 14


class Failed(Exception):
    """What could not be counted, as a sentence."""


def arguments():
    parser = argparse.ArgumentParser(prog="run.sh bench", description="Instructions that a packet costs.")
    parser.add_argument("program", help="adit-instructions, built for x86-64-v3")
    parser.add_argument("compiler", help="what built it, as it calls itself")
    parser.add_argument("--record", action="store_true", help="keep these figures as what later ones are compared with")
    return parser.parse_args()


def counted(program):
    """Instructions for each packet by benchmark: callgrind writes a dump at the end of each call of MEASURED."""
    with tempfile.TemporaryDirectory() as folder:
        words = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={folder}/dump", "--collect-atstart=no",
                 f"--toggle-collect={MEASURED}", f"--dump-after={MEASURED}", program]
        try:
            done = subprocess.run(words, capture_output=True, text=True, timeout=300)
        except FileNotFoundError:
            raise Failed("no valgrind: netns-tests/run.sh setup installs it") from None
        except subprocess.TimeoutExpired:
            raise Failed(f"{program}: not done within 300 s under callgrind") from None
        if done.returncode:
            raise Failed(f"{program}: exit {done.returncode} under callgrind: {done.stderr.strip()[-2000:]}")
        calls = [line.split(" ", 1) for line in done.stdout.splitlines()]
        if not calls:
            raise Failed(f"{program} counted nothing")
        # The dump without a number is of what came after the last call.
        if len(os.listdir(folder)) != len(calls) + 1:
            raise Failed(f"callgrind wrote {len(os.listdir(folder))} dumps for {len(calls)} calls of {MEASURED}: "
                         f"has it been inlined or renamed?")
        return {name: round(total(f"{folder}/dump.{at}", name) / int(packets), 1)
                for at, (packets, name) in enumerate(calls, 1)}


def total(dump, name):
    """All instructions of a dump."""
    with open(dump) as file:
        for line in file:
            if line.startswith("totals: ") and int(line.split()[1]):
                return int(line.split()[1])
    raise Failed(f"callgrind counted no instruction of {name!r}")


def tools(compiler):
    """What counts may depend on besides the code."""
    valgrind = subprocess.run(["valgrind", "--version"], capture_output=True, text=True).stdout.strip()
    return {"compiler": compiler, "valgrind": valgrind}


def recorded():
    if not os.path.exists(RECORDED):
        return {"tools": {}, "instructions": {}}
    with open(RECORDED) as file:
        return json.load(file)


def number(value):
    return f"{value:,.1f}".replace(",", " ") if value is not None else "-"


def table(now, then):
    """One row for each benchmark, also for those that are gone."""
    yield f"{'instructions for each packet':<{LABEL}}{'now':>{NUMBER}}{'recorded':>{NUMBER}}{'ratio':>{NUMBER}}"
    for name in [*now, *(name for name in then if name not in now)]:
        ratio = f"{now[name] / then[name]:.3f}" if name in now and name in then else "gone" if name in then else "new"
        yield f"{name:<{LABEL}}{number(now.get(name)):>{NUMBER}}{number(then.get(name)):>{NUMBER}}{ratio:>{NUMBER}}"


def main():
    wanted = arguments()
    try:
        now = counted(wanted.program)
    except Failed as error:
        print(f"run.sh bench: {error}", file=sys.stderr)
        return 1
    then = recorded()
    print("\n".join(table(now, then["instructions"])))
    print("x86-64-v3 under valgrind, which shows no AVX-512: ciphers are counted as on a processor with AVX2 alone.")
    used = tools(wanted.compiler)
    for what, version in used.items():
        if then["tools"].get(what, version) != version:
            print(f"counted with {version}, recorded with {then['tools'][what]}: a difference may be theirs")
    if wanted.record:
        with open(RECORDED, "w") as file:
            file.write(json.dumps({"tools": used, "instructions": now}, indent=1) + "\n")
        print(f"recorded in {os.path.relpath(RECORDED)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
