"""The metrics, and what is made of them: scraped by Prometheus, asked for by the dashboard, watched by the alerts."""
import json
import os
import re
import time
import urllib.error
import urllib.parse
import urllib.request

from lab.case import case
from lab.daemon import gateways
from lab.site import wired
from lab.traffic import iperf3, ping, reaches
from lab.wait import until
from lab.wireguard import ROOT

LISTEN, SERVER = "127.0.0.1:9586", "127.0.0.1:9090"
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


def fetch(host, url):
    """A page of a server of that host; (code, text)."""
    try:
        with host.entered(), urllib.request.urlopen(f"http://{url}", timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()
    except OSError as error:
        return None, str(error)


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
    # What is told may be a second old.
    time.sleep(1.1)
    shown = pair.left.peer_state(pair.right)
    samples = scrape(a)
    one = {"interface": name, "public_key": key, "friendly_name": "other"}
    counts = {"wireguard_sent_bytes_total": shown.sent, "wireguard_received_bytes_total": shown.received}
    for metric, value in counts.items():
        (labels, told), = samples[metric]
        assert one.items() <= labels.items() and set(labels["allowed_ips"].split(",")) == set(shown.allowed_ips), labels
        assert value > 3_000 and told == value, f"{metric}: {told}, wg says {value}"
    assert int(samples["wireguard_latest_handshake_seconds"][0][1]) == shown.handshake
    drops = {labels["reason"]: value for labels, value in samples["adit_drops_total"]}
    assert drops["no_route"] >= 3 and drops == {**dict.fromkeys(drops, 0), **a.status()["wireguard"][name]["drops"]}
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
    until(lambda: value("adit_tunnel_up") == 0, 5, "adit_tunnel_up 0")
    a.host.ip(f"link set {name} up")
    until(lambda: value("adit_tunnel_up") == 1, 5, "adit_tunnel_up 1")
    a.host.ip(f"link del {name}")
    until(lambda: value("adit_tunnel_up") == 0, 5, "adit_tunnel_up 0 when it is gone")
    assert sum(number for _, number in scrape(a)["adit_warnings"]) >= 1
    a.write("nonsense")
    a.ctl("reload")
    assert value("adit_config_last_reload_successful") == 0 and value("adit_config_reload_errors_total") == 1
    a.reload()
    assert value("adit_config_last_reload_successful") == 1 and value("adit_config_reloads_total") == 1
    assert value("adit_tunnel_up") == 1 and sum(number for _, number in scrape(a)["adit_warnings"]) == 0


def program(name):
    path = f"{ROOT}/target/tools/prometheus/usr/bin/{name}"
    assert os.access(path, os.X_OK), f"no {path}: netns-tests/run.sh setup unpacks it"
    return path


def dashboard():
    """(title, query) of everything the dashboard asks for, with its variables filled in as Grafana does."""
    with open(f"{ROOT}/configs/grafana-dashboard.json") as file:
        panels = json.load(file)["panels"]
    for panel in [inner for panel in panels for inner in (panel, *panel.get("panels", []))]:
        for target in panel.get("targets", []):
            query = target["expr"].replace("$__rate_interval", "4s").replace("$instance", ".*").replace("$tunnel", ".*")
            assert "$" not in query, f"an unknown variable: {query}"
            yield panel["title"], query


#   a: aditd, scraped by prometheus every second; a flow, drops, reloads ---- wire ---- b: aditd
@case(limit=60)
def prometheus(net):
    """Each query of the dashboard has an answer in Prometheus from the daemon's real output; alerts are sound."""
    pair, a, b = scene(net)
    rules = f"{ROOT}/configs/prometheus-rules.yaml"
    with open(f"{net.folder}/prometheus.yml", "w") as file:
        file.write(f"global: {{ scrape_interval: 1s, evaluation_interval: 1s }}\nrule_files: [ {rules} ]\n"
                   f"scrape_configs:\n  - job_name: adit\n    static_configs: [ {{ targets: [ '{LISTEN}' ] }} ]\n")
    assert "SUCCESS" in a.host.run(program("promtool"), "check", "rules", rules)
    checked = a.host.attempt(program("promtool"), "check", "metrics", data=fetch(a.host, f"{LISTEN}/metrics")[1])
    assert checked == (0, ""), f"promtool check metrics: {checked}"
    a.host.start(program("prometheus"), f"--config.file={net.folder}/prometheus.yml", f"--web.listen-address={SERVER}",
                 f"--storage.tsdb.path={net.folder}/tsdb", "--log.level=warn")

    def ask(path, **words):
        """What the server's HTTP API says."""
        code, text = fetch(a.host, f"{SERVER}/api/v1/{path}?{urllib.parse.urlencode(words)}")
        return json.loads(text) if text.startswith("{") else {"status": "error", "error": f"{code}: {text}"}

    until(lambda: ask("query", query="up").get("data", {}).get("result"), 20, "prometheus", step=0.2)
    b.host.address("lo", "10.99.0.1/32")
    for round in range(4):
        ping(a.host, pair.right.inner(), count=40)
        b.host.attempt("ping", "-c2", "-i0.02", "-W0.1", "-I", "10.99.0.1", pair.left.inner())
        a.reload()
    assert ask("query", query="up{job='adit'}")["data"]["result"][0]["value"][1] == "1"
    queries = list(dashboard())
    assert len(queries) > 15
    empty = {}

    def unanswered():
        empty.clear()
        for title, query in queries:
            answer = ask("query", query=query)
            assert answer["status"] == "success", f"{title}: {query}: {answer}"
            # These gateways have neither links nor TLS: of those, the query alone is looked at.
            elsewhere = "adit_macsec_" in query or "adit_tls_" in query
            if not answer["data"]["result"] and not elsewhere:
                empty[title] = query
        return not empty

    try:
        until(unanswered, 8, "answers", step=0.5)
    except Exception:
        raise AssertionError(f"queries without an answer: {empty}") from None
    groups = ask("rules")["data"]["groups"]
    assert [rule for group in groups for rule in group["rules"] if rule["health"] == "err"] == []
    a.host.ip(f"link set {pair.left.device.name} down")
    alerts = lambda: [alert["labels"]["alertname"] for alert in ask("alerts")["data"]["alerts"]]
    until(lambda: "AditTunnelNotUp" in alerts(), 8, "the alert about a tunnel that is down", step=0.2)
