"""The figures of the table: their names, units, and whether more or less is better."""
from dataclasses import dataclass

MORE, LESS = "more", "less"
# Bytes of UDP payload. The last fills an inner MTU of 1420.
SIZES = (64, 512, 1392)
SINGLES = (64, 1392)
# Peers of a gateway that send at once, and flows of one peer. Peers of a crowd.
PEERS, FLOWS, CROWD = (1, 2, 8, 64, 1000), (1, 16, 256), 10_000
# Octets of Ethernet frames, FCS included.
FRAMES = (64, 512, 1518, 9018)
# Threads that carry packets; 0 where an implementation cannot be told.
WORKERS = (1, 2, 0)


@dataclass(frozen=True)
class Figure:
    """One row. `scale` takes the raw value to the unit of the table; of several rounds the median counts, or the worst."""
    key: str
    group: str
    label: str
    unit: str
    better: str
    scale: float = 1.0
    worst: bool = False


TCP, COST, UDP, TRIP, MEMORY = "TCP", "CPU of both ends", "UDP without loss", "round trip, 64 bytes", "peak memory"
ODD_TCP, ODD_UDP = "odd TCP, 1 stream a to b", "odd UDP without loss, a to b"
ORDER, RATE = "out of order, both ways at full rate, worst round", "rate of that"
THROUGH, INTO = "from peer to peer without loss", "into the gateway, overloaded"
PRICE, FLOW = "CPU of the gateway, from peer to peer", "TCP flows of one peer"
TURNED = "from peer to peer, out of order in their flow, worst round"
CROWDED = f"{CROWD:,} peers".replace(",", " ")
LINK_COST = "link: CPU of both ends"
TLS = "TLS, for each second of its processor"
TLS_TRIPS = {"": "TLS: 1 KiB at 70 % of the slowest", "_half": "TLS: 1 KiB at 35 % of the slowest"}
LINK_TCP, LINK_UDP, LINK_TRIP = "link: TCP, 1 stream", "link: frames without loss, one by one", "link: round trip, 64 bytes, median"
DIRECTIONS = {"out": "a to b", "back": "b to a", "both": "both ways, sum"}


def plural(count, word):
    return f"{count} {word}{'s' * (count != 1)}"


def told(workers):
    """How many workers, in words."""
    return plural(workers, "worker") if workers else "as it comes"


PLAIN = [
    *(Figure(f"tcp{streams}_{way}", TCP, f"{plural(streams, 'stream')}, {words}", "Gbit/s", MORE, 1e-9)
      for streams in (1, 4) for way, words in DIRECTIONS.items()),
    *(Figure(f"udp{size}", UDP, f"{size} bytes, trains", "1000/s", MORE, 1e-3) for size in SIZES),
    *(Figure(f"udp{size}_single", UDP, f"{size} bytes, one by one", "1000/s", MORE, 1e-3) for size in SINGLES),
    *(Figure(f"trip_{when}_{which}", TRIP, f"{words}, {which}", "µs", LESS)
      for when, words in (("idle", "idle"), ("load", "under TCP")) for which in ("median", "p99")),
    *(Figure(f"cpu{streams}", COST, f"TCP, {plural(streams, 'stream')} a to b", "s/GB", LESS) for streams in (1, 4)),
    Figure("memory", MEMORY, "of the larger end", "MiB", LESS, 1 / (1 << 20)),
]
ODD = [
    *(Figure(f"odd_{key}", ODD_TCP, label, "Gbit/s", MORE, 1e-9) for key, label in {
        "vxlan": "in VXLAN", "segments": "sender without offloads", "stampless": "no timestamps",
        "ecn_tcp": "ECN", "options": "IPv6 extension header", "forwarded": "between hosts behind a and b",
        "jumbo_tcp": "MTU 9000"}.items()),
    *(Figure(f"odd_{key}", ODD_UDP, label, "1000/s", MORE, 1e-3) for key, label in {
        "single": "1350 bytes, one by one", "mixed": "mixed sizes", "fragments": "4000 bytes, in fragments",
        "ecn_udp": "1392 bytes, ECN", "jumbo_udp": "8892 bytes, MTU 9000"}.items()),
]
IN_ORDER = [
    *(Figure(f"order_{key}_{workers}", ORDER, f"{label}, {told(workers)}", "packets", LESS, worst=True)
      for key, label in {"udp": "UDP", "rekey": "over a rekey", "hub": "between two peers", "copies": "UDP copies", "tcp": "TCP reordered",
                         "queued": "TCP behind a gap"}.items() for workers in WORKERS),
    *(Figure(f"order_rate_{workers}", RATE, f"UDP, {told(workers)}", "1000/s", MORE, 1e-3) for workers in WORKERS),
]
GROWTH = [
    *(Figure(f"growth_{key}_{peers}_{workers}", group, f"{plural(peers, 'peer')}, {told(workers)}", unit, better, scale)
      for key, group, unit, better, scale in (
          ("through", THROUGH, "1000/s", MORE, 1e-3), ("in", INTO, "1000/s", MORE, 1e-3), ("cpu", PRICE, "s/GB", LESS, 1.0))
      for workers in WORKERS for peers in PEERS),
    *(Figure(f"growth_order_{peers}_{workers}", TURNED, f"{plural(peers, 'peer')}, {told(workers)}", "packets", LESS,
             worst=True) for workers in WORKERS for peers in PEERS),
    *(Figure(f"growth_udp_{flows}_{workers}", THROUGH, f"1 peer, {flows} flows, {told(workers)}", "1000/s", MORE, 1e-3)
      for workers in WORKERS for flows in FLOWS[1:]),
    *(Figure(f"growth_tcp_{flows}_{workers}", FLOW, f"{plural(flows, 'flow')}, {told(workers)}", "Gbit/s", MORE, 1e-9)
      for workers in WORKERS for flows in FLOWS),
]
CROWDS = [
    Figure("crowd_start", f"{CROWDED}, time", "start with none", "s", LESS),
    Figure("crowd_configure", f"{CROWDED}, time", "wg setconf", "s", LESS),
    Figure("crowd_daemon", f"{CROWDED}, time", "aditd, from its file", "s", LESS),
    Figure("crowd_idle", f"{CROWDED}, memory", "each that is idle", "KiB", LESS, 1 / 1024),
    Figure("crowd_live", f"{CROWDED}, memory", "each with a session", "KiB", LESS, 1 / 1024),
    Figure("crowd_handshakes", f"{CROWDED}, handshakes", "a second", "1/s", MORE),
    Figure("crowd_handshaked", f"{CROWDED}, handshakes", "peers with a session", "peers", MORE),
    Figure("crowd_through", f"{CROWDED}, from peer to peer", "without loss", "1000/s", MORE, 1e-3),
]
LINKED = [
    *(Figure(f"link_tcp_{way}", LINK_TCP, words, "Gbit/s", MORE, 1e-9) for way, words in DIRECTIONS.items()),
    *(Figure(f"link_udp_{size}", LINK_UDP, f"{size} octets", "1000/s", MORE, 1e-3) for size in FRAMES),
    *(Figure(f"link_trip_{when}", LINK_TRIP, words, "µs", LESS) for when, words in (("idle", "idle"), ("load", "under TCP"))),
    Figure("link_cpu", LINK_COST, "TCP, 1 stream a to b", "s/GB", LESS),
    Figure("link_cpu_udp", LINK_COST, "UDP, full frames at 20 000/s", "s/GB", LESS),
    Figure("link_gcm", "link: AES-256-GCM alone", "sealing and opening a full frame", "ns", LESS),
]
ENDED = [
    *(Figure(f"tls_{key}", TLS, label, "1/s", MORE) for key, label in {
        "full_ecdsa": "full handshakes, P-256", "full_rsa": "full handshakes, RSA-2048", "resumed": "resumed handshakes",
        "hybrid": "full, P-256, X25519MLKEM768", "body_1k": "requests of 1 KiB", "body_1m": "bodies of 1 MiB",
        "body_16m": "bodies of 16 MiB"}.items()),
    *(Figure(f"tls_{which}{suffix}", group, label, "µs", LESS)
      for suffix, group in TLS_TRIPS.items() for which, label in (("p50", "median"), ("p99", "p99"))),
    Figure("tls_memory", "TLS: memory", "an idle connection of 5000", "bytes", LESS),
    Figure("tls_idle_cpu", "TLS: CPU", "without connections", "s/s", LESS),
    Figure("tls_idle_cpu_held", "TLS: CPU", "with 5000 idle ones", "s/s", LESS),
]
FIGURES = [*PLAIN, *ODD, *IN_ORDER, *sorted(GROWTH, key=lambda figure: (THROUGH, TURNED, INTO, PRICE, FLOW).index(figure.group)),
           *CROWDS, *LINKED, *ENDED]
