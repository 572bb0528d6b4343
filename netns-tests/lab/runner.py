"""Runs cases, each in a process of its own, so that no limit, crash or leftover of one touches the next."""
import argparse
import ctypes
import glob
import os
import signal
import sys
import time
import traceback

from lab import interrupt
from lab.case import CASES, select
from lab.namespace import Net, remove_logs, sweep, sweep_abandoned
from lab.wireguard import ROOT

FOLDER = f"{ROOT}/target/netns"
GRACE = 20
TAIL = 25


class Running:
    """A case in its process."""

    def __init__(self, case):
        self.case, self.start, self.asked = case, time.monotonic(), None
        self.folder = f"{FOLDER}/{''.join(c if c.isalnum() or c in '.-' else '_' for c in case.name)}"
        remove_logs(self.folder)
        os.makedirs(self.folder)
        sys.stdout.flush()
        parent = os.getpid()
        self.pid = os.fork()
        if self.pid == 0:
            os._exit(self.child(parent))

    def child(self, parent):
        """In the new process: the case, its output in a file. The exit code says how it went."""
        code = 1
        try:
            ctypes.CDLL(None).prctl(1, signal.SIGTERM)
            if os.getppid() != parent:
                return 1
            os.setpgid(0, 0)
            output = os.open(f"{self.folder}/00-case.log", os.O_CREAT | os.O_WRONLY | os.O_APPEND)
            os.dup2(output, 1)
            os.dup2(output, 2)
            interrupt.listen()
            with Net(self.folder) as net:
                self.case.run(net)
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            interrupt.hold()
            sweep(os.getpid())
            sys.stdout.flush()
            sys.stderr.flush()
        return code

    def poll(self):
        """The exit code when it has ended, else None. Asks it to end at its limit, and ends it after a grace."""
        pid, status = os.waitpid(self.pid, os.WNOHANG)
        if pid:
            sweep(self.pid)
            return os.waitstatus_to_exitcode(status) or (1 if self.asked else 0)
        age = time.monotonic() - self.start
        if age > self.case.limit and self.asked is None:
            self.ask(f"not done within its limit of {self.case.limit:g} s")
        elif age > self.case.limit + GRACE:
            os.kill(self.pid, signal.SIGKILL)
        return None

    def ask(self, why):
        self.asked = why
        os.kill(self.pid, signal.SIGTERM)

    def reason(self):
        """In a line what it failed for, for the end of a long output."""
        try:
            with open(f"{self.folder}/00-case.log", errors="replace") as file:
                said = file.read().strip().splitlines()
        except FileNotFoundError:
            said = []                                           # ended before it could say anything
        return self.asked or (said or ["it said nothing"])[-1]

    def report(self):
        """All there is to know about a failure."""
        if self.asked:
            print(f"    {self.asked}")
        for path in sorted(glob.glob(f"{self.folder}/*.log") + glob.glob(f"{self.folder}/*/console")):
            with open(path, errors="replace") as file:
                lines = file.read().splitlines()
            print(f"    --- {os.path.relpath(path, ROOT)}" + (f" (last {TAIL} lines)" if len(lines) > TAIL else ""))
            for line in lines[-TAIL:]:
                print(f"    {line}")


def run(cases, jobs):
    """Runs them, at most `jobs` at a time and those at the end that want to be alone; how many passed and failed."""
    waiting, running, passed, failed = sorted(cases, key=lambda case: case.alone), [], 0, []
    try:
        while waiting or running:
            while waiting and len(running) < (1 if waiting[0].alone else jobs):
                running.append(Running(waiting.pop(0)))
            for one in list(running):
                code = one.poll()
                if code is None:
                    continue
                running.remove(one)
                seconds = time.monotonic() - one.start
                print(f"{'ok    ' if code == 0 else 'FAILED'} {seconds:6.2f} s  {one.case.name}", flush=True)
                if code == 0:
                    passed += 1
                    remove_logs(one.folder)
                else:
                    failed.append(f"{one.case.name}: {one.reason()}")
                    print(f"    proves: {one.case.proves}")
                    one.report()
                    sys.stdout.flush()
            time.sleep(0.01)
    finally:
        for one in running:
            one.ask("interrupted")
        deadline = time.monotonic() + GRACE
        while running:
            running = [one for one in running if one.poll() is None]
            if time.monotonic() > deadline:
                for one in running:
                    os.kill(one.pid, signal.SIGKILL)
            time.sleep(0.02)
    return passed, failed


def main():
    parser = argparse.ArgumentParser(prog="run.sh netns", description="The cases in network namespaces.")
    parser.add_argument("names", nargs="*", help="run the cases with any of these in their names, slow ones too")
    parser.add_argument("--list", action="store_true", help="names and what they prove, nothing is run")
    parser.add_argument("--jobs", type=int, default=2, help="cases at a time (2), but for those that measure")
    wanted = parser.parse_args()
    if wanted.list:
        for case in CASES if not wanted.names else select(wanted.names):
            print(f"{case.name:56} {case.group:5} {case.proves}")
        return 0
    cases = select(wanted.names)
    if not cases:
        print(f"no case has any of {wanted.names} in its name; --list shows them", file=sys.stderr)
        return 2
    if os.geteuid():
        print("the cases make network namespaces: run them as root", file=sys.stderr)
        return 2
    sweep_abandoned()
    interrupt.listen()
    try:
        passed, failed = run(cases, wanted.jobs)
    except interrupt.Interrupted as error:
        print(error, file=sys.stderr)
        return 128 + error.number
    if failed:
        print("failed:", *failed, sep="\n  ")
    print(f"{passed} passed, {len(failed)} failed")
    return 1 if failed else 0
