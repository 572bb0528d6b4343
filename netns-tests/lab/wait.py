"""Waiting with a limit: nothing in the lab waits for ever."""
import time


class TimedOut(Exception):
    """What was waited for did not come about in time."""


def until(condition, seconds, what, step=0.01):
    """Polls until `condition()` is true and returns its value; raises TimedOut naming `what` otherwise."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise TimedOut(f"{what}: not within {seconds:g} s")
        time.sleep(step)
