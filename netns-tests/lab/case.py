"""How a case is registered: its name, what it proves, its limit in time, and its variants."""
import itertools
from dataclasses import dataclass
from typing import Callable

CASES = []
GATE, SLOW = "gate", "slow"


@dataclass(frozen=True)
class Case:
    """One case: `run(net)` returns or raises. A slow one runs only when it is named, one that measures when no other does."""
    name: str
    proves: str
    limit: float
    group: str
    alone: bool
    run: Callable


def case(limit=60, group=GATE, alone=False, **choices):
    """Registers a function as one case for each combination of `choices`, which are passed to it by name.

    The first line of its docstring says what it proves. `limit` is in seconds, cleaning up not counted. `alone` is for what
    measures, or wants all the processors.
    """
    def register(function):
        module = function.__module__.rpartition(".")[2]
        for values in itertools.product(*choices.values()):
            chosen = dict(zip(choices, values))
            variant = f"[{','.join(map(str, values))}]" if values else ""
            CASES.append(Case(f"{module}.{function.__name__}{variant}", function.__doc__.splitlines()[0], limit, group, alone,
                              lambda net, chosen=chosen: function(net, **chosen)))
        return function
    return register


def select(words):
    """The cases with any of the words in their names; without words, all but the slow ones."""
    if not words:
        return [case for case in CASES if case.group == GATE]
    return [case for case in CASES if any(word in case.name for word in words)]
