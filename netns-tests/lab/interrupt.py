"""Signals as one exception, so that cleaning up happens on Ctrl-C and SIGTERM as it does on a failure."""
import signal
from contextlib import contextmanager

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupted(BaseException):
    """A signal asked this process to end. Not an Exception: no case may swallow it."""

    def __init__(self, number):
        super().__init__(f"interrupted by {signal.Signals(number).name}")
        self.number = number


class _Deferral:
    depth, number = 0, None


def hold():
    """From here on the signals are ignored: a second Ctrl-C must not cut the cleaning up short."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def listen():
    """The first of the signals raises Interrupted in the main thread; later ones are ignored."""
    def handle(number, _frame):
        hold()
        if _Deferral.depth:
            _Deferral.number = number
            return
        raise Interrupted(number)

    for number in SIGNALS:
        signal.signal(number, handle)


@contextmanager
def deferred():
    """A signal that comes meanwhile is raised at the end: what was just made has an owner by then."""
    _Deferral.depth += 1
    try:
        yield
    finally:
        _Deferral.depth -= 1
    if not _Deferral.depth and _Deferral.number is not None:
        number, _Deferral.number = _Deferral.number, None
        raise Interrupted(number)
