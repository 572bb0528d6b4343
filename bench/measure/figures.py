"""The figures of the table: their names, units, and whether more or less is better."""
from dataclasses import dataclass

MORE, LESS = "more", "less"
# Bytes of UDP payload. The last fills an inner MTU of 1420.
SIZES = (64, 512, 1392)
SINGLES = (64, 1392)


@dataclass(frozen=True)
class Figure:
    """One row. `scale` takes the raw value to the unit of the table."""
    key: str
    group: str
    label: str
    unit: str
    better: str
    scale: float = 1.0


TCP, COST, UDP, TRIP, MEMORY = "TCP", "CPU of both ends", "UDP without loss", "round trip, 64 bytes", "peak memory"
DIRECTIONS = {"out": "a to b", "back": "b to a", "both": "both ways, sum"}

FIGURES = [
    *(Figure(f"tcp{streams}_{way}", TCP, f"{streams} stream{'s' * (streams > 1)}, {words}", "Gbit/s", MORE, 1e-9)
      for streams in (1, 4) for way, words in DIRECTIONS.items()),
    *(Figure(f"udp{size}", UDP, f"{size} bytes, trains", "1000/s", MORE, 1e-3) for size in SIZES),
    *(Figure(f"udp{size}_single", UDP, f"{size} bytes, one by one", "1000/s", MORE, 1e-3) for size in SINGLES),
    *(Figure(f"trip_{when}_{which}", TRIP, f"{words}, {which}", "µs", LESS)
      for when, words in (("idle", "idle"), ("load", "under TCP")) for which in ("median", "p99")),
    *(Figure(f"cpu{streams}", COST, f"TCP, {streams} stream{'s' * (streams > 1)} a to b", "s/GB", LESS)
      for streams in (1, 4)),
    Figure("memory", MEMORY, "of the larger end", "MiB", LESS, 1 / (1 << 20)),
]
