"""A program that runs beside the test. Ended by its own pid, its output kept for the report of a failure."""
import ctypes
import os
import re
import signal
import subprocess

from lab.interrupt import deferred
from lab.wait import until

LIBC = ctypes.CDLL(None, use_errno=True)
PR_SET_PDEATHSIG = 1


class Priority:
    """Who goes first. A case that measures calls `take()`, or it would measure what else the machine does."""
    taken = False

    @classmethod
    def take(cls):
        """What this case starts from now on goes before the rest of the machine."""
        cls.taken = True

    @staticmethod
    def apply(pid=None, nice=-19):
        """Moves a session up, which the kernel schedules as one group (sched_autogroup); this one without a pid."""
        try:
            with open(f"/proc/{pid or os.getpid()}/autogroup", "w") as file:
                file.write(str(nice))
        except OSError:
            os.setpriority(os.PRIO_PROCESS, pid or 0, nice)


class Failed(Exception):
    """A program ended with a code other than 0, or did not end in time."""


def run(command, data=None, timeout=20, check=True, env=None):
    """Runs a program to its end; (code, stdout and stderr). `check` makes a code other than 0 an error."""
    child = None
    try:
        with deferred():
            child = subprocess.Popen(command, stdin=subprocess.DEVNULL if data is None else subprocess.PIPE,
                                     stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
                                     env=environment(env), start_new_session=True,
                                     preexec_fn=Priority.apply if Priority.taken else None)
        output = child.communicate(data, timeout)[0]
    except subprocess.TimeoutExpired:
        child.kill()
        try:
            output = child.communicate(timeout=1)[0]
        except subprocess.TimeoutExpired:
            output = "(what it left in the background still holds its output)"
        raise Failed(f"{' '.join(command)}: not done within {timeout} s: {output[-500:]}") from None
    except BaseException:
        if child:
            child.kill()
            child.wait()
        raise
    if check and child.returncode:
        raise Failed(f"{' '.join(command)}: exit {child.returncode}: {output.strip()[-800:]}")
    return child.returncode, output


def environment(extra):
    """Ours and `extra`; in the C locale, because answers are read."""
    return {**os.environ, "LC_ALL": "C", **(extra or {})}


def gone(pid):
    """Whether a process has ended. A zombie has: its parent may take its time."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def resident(pid):
    """Resident memory in KiB."""
    with open(f"/proc/{pid}/status") as file:
        return int(next(line for line in file if line.startswith("VmRSS")).split()[1])


def busy(pid):
    """Seconds of processor time that a process has used so far."""
    with open(f"/proc/{pid}/stat") as file:
        user, system = file.read().rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


class Process:
    """A running program in a session of its own, so that Ctrl-C on the terminal reaches only the test."""

    def __init__(self, command, log, env=None):
        self.command, self.log = command, log
        parent = os.getpid()

        def dies_with_us():
            # The last resort: if the test is killed outright, nothing it started may stay.
            LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
            if os.getppid() != parent:
                os._exit(1)
            if Priority.taken:
                Priority.apply()

        with open(log, "ab") as output:
            output.write(f"$ {' '.join(command)}\n".encode())
            output.flush()
            self.child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                                          start_new_session=True, preexec_fn=dies_with_us, env=environment(env))

    @property
    def pid(self):
        return self.child.pid

    def alive(self):
        return self.child.poll() is None

    def output(self):
        """All it has written so far."""
        with open(self.log, errors="replace") as file:
            return file.read()

    def wait(self, seconds):
        """Its exit code, once it has ended by itself."""
        try:
            return self.child.wait(seconds)
        except subprocess.TimeoutExpired:
            raise Failed(f"{' '.join(self.command)}: still running after {seconds:g} s") from None

    def wait_output(self, pattern, seconds):
        """Until its output matches; an error if it ends before."""
        def seen():
            found = re.search(pattern, self.output())
            if not found and not self.alive():
                raise Failed(f"{' '.join(self.command)}: ended with {self.child.returncode}: {self.output()[-500:]}")
            return found
        return until(seen, seconds, f"{pattern!r} from {' '.join(self.command)}")

    def kill(self):
        """Ends it without a word, as a crash would."""
        if self.alive():
            self.child.kill()
        self.child.wait(5)

    def stop(self, grace=10):
        """Asks it to end, and kills it when it does not within `grace` seconds."""
        if self.alive():
            self.child.terminate()
            try:
                self.child.wait(grace)
            except subprocess.TimeoutExpired:
                self.kill()
