"""The kinds of turns: which groups of figures each measures, of whom, and how long it takes."""
from dataclasses import dataclass, field

from measure.crowd import Crowd
from measure.ethernet import LINKS
from measure.growth import Growth
from measure.implementation import ALL, STANDARD, TUNNELS
from measure.linked import Linked
from measure.odd import Odd
from measure.order import Order
from measure.plain import Plain
from measure.tls_ends import ENDS, RIVALS
from measure.tls_trips import TlsTrips
from measure.tls_turn import TlsTurn


@dataclass(frozen=True)
class Kind:
    """`usual` are measured unless others are asked for, all of `able` can be. Seconds are of one turn, `quick` or not.

    The seconds of a group are those it takes by itself; `always` is on top of them.
    """
    turn: type
    groups: dict
    quick: dict
    able: tuple
    usual: tuple
    always: float = 3.0
    # Whom a turn of each measures with it.
    beside: dict = field(default_factory=dict)

    def seconds(self, wanted, quick):
        """How long a turn with these groups takes."""
        each = self.quick if quick else self.groups
        return self.always + sum(each[group] for group in each if group in wanted)


# Seconds as they were measured, of the slower implementations.
KINDS = {
    "plain": Kind(Plain, {"tcp": 28, "udp": 30, "trips": 7, "memory": 0}, {"tcp": 8, "udp": 6, "trips": 3, "memory": 0},
                  ALL, ALL),
    "odd": Kind(Odd, {"odd": 66}, {"odd": 18}, ALL, ("veth", "adit", "wireguard-go")),
    "order": Kind(Order, {"order": 136}, {"order": 128}, TUNNELS, ("adit",)),
    "growth": Kind(Growth, {"growth": 108}, {"growth": 38}, TUNNELS, ("adit", "wireguard-go")),
    "crowd": Kind(Crowd, {"crowd": 20}, {"crowd": 14}, STANDARD, ("adit", "wireguard-go")),
    "link": Kind(Linked, {"link": 62}, {"link": 24}, LINKS, LINKS),
    "tls": Kind(TlsTurn, {"tls": 30}, {"tls": 13}, ENDS, ENDS),
    "tls_trips": Kind(TlsTrips, {"tls_trips": 46}, {"tls_trips": 14}, tuple(RIVALS), tuple(RIVALS), beside=RIVALS),
}
GROUPS = tuple(group for kind in KINDS.values() for group in kind.groups)
# What a run measures unless it is told: a table of half an hour, not of hours.
USUAL = tuple(KINDS["plain"].groups)


@dataclass(frozen=True)
class Plan:
    """What one turn of each round is: of a kind, of an implementation."""
    kind: str
    implementation: str
    wanted: tuple
    quick: bool

    @property
    def measured(self):
        """All whose figures come of it."""
        return (self.implementation, *KINDS[self.kind].beside.get(self.implementation, ()))

    @property
    def seconds(self):
        return KINDS[self.kind].seconds(self.wanted, self.quick)


def plans(groups, only, quick):
    """The turns of a round, in order. `only` is None for those usual."""
    found = []
    for name, kind in KINDS.items():
        wanted = tuple(group for group in kind.groups if group in groups)
        if wanted:
            chosen = kind.usual if only is None else [one for one in only if one in kind.able]
            found += [Plan(name, implementation, wanted, quick) for implementation in chosen]
    return found
