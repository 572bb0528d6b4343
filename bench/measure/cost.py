"""What a process has used: processor time and memory, as /proc tells it."""
import os

TICK = 1 / os.sysconf("SC_CLK_TCK")


def cpu_seconds(pid):
    """User and system time of all its threads. The kernel counts in ticks, usually of 10 ms."""
    with open(f"/proc/{pid}/stat") as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * TICK


def running_seconds(pid):
    """The same to the nanosecond, as the scheduler counts it, of the threads that there are."""
    total = 0
    for thread in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{thread}/schedstat") as file:
            total += int(file.read().split()[0])
    return total * 1e-9


def peak_bytes(pid):
    """The most memory it ever had resident (VmHWM)."""
    with open(f"/proc/{pid}/status") as file:
        for line in file:
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    raise AssertionError(f"/proc/{pid}/status has no VmHWM")
