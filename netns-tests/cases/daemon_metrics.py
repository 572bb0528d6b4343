"""The metrics: names, labels and values."""
import re

from lab.case import case
from lab.daemon import gateways
from lab.prometheus import LISTEN, fetch
from lab.site import wired
from lab.traffic import iperf3, reaches
from lab.wait import until

SAMPLE = re.compile(r'([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (\S+)')


def scene(net):
    """Two gateways that have spoken, the left one with metrics."""
    pair = wired(net)
    a, b = gateways(pair)
    a.config["metrics"] = {"listen": LISTEN}
    b.start()
    a.start()
    assert reaches(a.host, pair.right.inner())
    return pair, a, b


def scrape(a):
    """All samples by name: [(labels, value)]."""
    samples = {}
    for line in fetch(a.host, f"{LISTEN}/metrics")[1].splitlines():
        if line.startswith("#"):
            assert re.match(r"# (HELP|TYPE) \S+ \S", line), line
            continue
        found = SAMPLE.fullmatch(line)
        assert found, f"this is no sample: {line}"
        labels = dict(re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', found[2] or ""))
        samples.setdefault(found[1], []).append((labels, float(found[3])))
    return samples


@case()
def values(net):
    """A scrape has the names of WireGuard's exporters and the values of `wg show`; also over the unix socket."""
    pair, a, b = scene(net)
    name, key = pair.left.device.name, pair.right.keys.public
    iperf3(a.host, b.host, pair.right.inner(), size="1M")
    a.host.attempt("ping", "-c3", "-i0.05", "-W0.2", "10.9.0.99")
    def still():
        """What both tell while nothing is counted."""
        before = pair.left.peer_state(pair.right)
        # Metrics may be a second old, but not older than the status.
        a.status()
        return (scrape(a), before) if pair.left.peer_state(pair.right) == before else None
    samples, shown = until(still, 15, "a moment without a keepalive")
    one = {"interface": name, "public_key": key, "friendly_name": "other"}
    counts = {"wireguard_sent_bytes_total": shown.sent, "wireguard_received_bytes_total": shown.received}
    for metric, value in counts.items():
        (labels, told), = samples[metric]
        assert one.items() <= labels.items() and set(labels["allowed_ips"].split(",")) == set(shown.allowed_ips), labels
        assert value > 3_000 and told == value, f"{metric}: {told}, wg says {value}"
    assert int(samples["wireguard_latest_handshake_seconds"][0][1]) == shown.handshake
    drops = {labels["reason"]: value for labels, value in samples["adit_drops_total"]}
    assert drops["no_route"] >= 3 and drops == {**dict.fromkeys(drops, 0), **a.status()["wireguard"][name]["drops"]}, drops
    assert samples["adit_tunnel_up"] == [({"tunnel": name}, 1)]
    assert samples["adit_handshakes_total"][0][1] >= 1 and samples["adit_handshake_queue_depth"][0][1] == 0
    for direction in ("inward", "outward"):
        packets, = (value for labels, value in samples["adit_batch_packets_sum"] if labels["direction"] == direction)
        batches, = (value for labels, value in samples["adit_batch_packets_count"] if labels["direction"] == direction)
        ends = [value for labels, value in samples["adit_batch_packets_bucket"] if labels["direction"] == direction]
        assert packets >= batches > 0 and ends == sorted(ends) and ends[-1] == batches
    assert samples["process_open_fds"][0][1] > 10 and samples["process_resident_memory_bytes"][0][1] > 1e6
    code, text = a.http("GET", "/metrics")
    names = {line.split("{")[0].split(" ")[0] for line in text.splitlines() if line[0] != "#"}
    assert code == 200 and names == set(samples)
    code, text = a.http("GET", "/metrics", headers={"Accept": "application/openmetrics-text"})
    assert code == 200 and text.endswith("# EOF\n")
    assert fetch(a.host, f"{LISTEN}/v1/status")[0] == 404, "more than metrics is told over TCP"
    assert LISTEN in a.host.run("ss", "-Hltn") and "9586" not in b.host.run("ss", "-Hltn")


@case()
def states(net):
    """A tunnel set down or gone, a refused reload, and warnings show in the metrics, and go away again."""
    pair, a, b = scene(net)
    name = pair.left.device.name
    value = lambda metric: scrape(a)[metric][0][1]
    a.host.ip(f"link set {name} down")
    until(lambda: value("adit_tunnel_up") == 0, 15, "adit_tunnel_up 0")
    a.host.ip(f"link set {name} up")
    until(lambda: value("adit_tunnel_up") == 1, 15, "adit_tunnel_up 1")
    a.host.ip(f"link del {name}")
    until(lambda: value("adit_tunnel_up") == 0, 15, "adit_tunnel_up 0 when it is gone")
    assert sum(number for _, number in scrape(a)["adit_warnings"]) >= 1
    a.write("nonsense")
    a.ctl("reload")
    assert value("adit_config_last_reload_successful") == 0 and value("adit_config_reload_errors_total") == 1
    a.reload()
    assert value("adit_config_last_reload_successful") == 1 and value("adit_config_reloads_total") == 1
    assert value("adit_tunnel_up") == 1 and sum(number for _, number in scrape(a)["adit_warnings"]) == 0
