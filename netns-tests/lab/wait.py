"""Waiting with a limit: nothing in the lab waits for ever."""
import time


class TimedOut(Exception):
    """What was waited for did not come about in time."""


def until(condition, seconds, what, step=0.01):
    """Polls until `condition()` is true and returns its value; raises TimedOut naming `what` otherwise."""
    deadline = time.monotonic() + seconds
    while True:
        # Looked at once more behind the deadline: on a busy machine that may be the second look there is.
        late = time.monotonic() > deadline
        value = condition()
        if value:
            return value
        if late:
            raise TimedOut(f"{what}: not within {seconds:g} s")
        time.sleep(step)


def quiet(counted, seconds, limit, what):
    """Until what is counted has stayed the same for so many seconds; raises TimedOut naming `what` at the limit."""
    last, since = counted(), time.monotonic()

    def still():
        nonlocal last, since
        now = counted()
        if now != last:
            last, since = now, time.monotonic()
        return time.monotonic() - since >= seconds
    until(still, limit, f"the end of {what}")
    return last
