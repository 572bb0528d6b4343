"""Signals as one exception, so that cleaning up happens on Ctrl-C and SIGTERM as it does on a failure."""
import signal

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupted(BaseException):
    """A signal asked this process to end. Not an Exception: no case may swallow it."""

    def __init__(self, number):
        super().__init__(f"interrupted by {signal.Signals(number).name}")
        self.number = number


def hold():
    """From here on the signals are ignored: a second Ctrl-C must not cut the cleaning up short."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def listen():
    """The first of the signals raises Interrupted in the main thread; later ones are ignored."""
    def handle(number, _frame):
        hold()
        raise Interrupted(number)

    for number in SIGNALS:
        signal.signal(number, handle)
