"""The dashboard and the alerts, asked of Debian's Prometheus that scrapes real daemons."""
import json
import os
import re

from cases.daemon_metrics import scene
from lab.case import case
from lab.clients import Client, Office
from lab.link import Link
from lab.prometheus import LISTEN, Prometheus
from lab.tls import certificate, curl, terminator
from lab.traffic import ping
from lab.wait import until
from lab.wireguard import ROOT

# Metrics that are there only where the configuration has such a section.
SECTIONS = ("adit_macsec_", "adit_tls_", "adit_client_")


def queries(*parts):
    """(title, query) of what the dashboard asks for of these sections, its variables filled in as Grafana does; without
    sections, of what every gateway has. What a panel shows only above nothing is asked for in any case."""
    with open(f"{ROOT}/configs/grafana-dashboard.json") as file:
        panels = json.load(file)["panels"]
    for panel in [inner for panel in panels for inner in (panel, *panel.get("panels", []))]:
        for target in panel.get("targets", []):
            query = target["expr"].replace("$__rate_interval", "4s").replace("$instance", ".*").replace("$tunnel", ".*")
            assert "$" not in query, f"an unknown variable: {query}"
            if any(part in query for part in parts or SECTIONS) == bool(parts):
                yield panel["title"], re.sub(r" > 0$", "", query)


def answered(server, *parts, least):
    """Waits until each of these queries has an answer; there are `least` of them at the least."""
    asked, empty = list(queries(*parts)), {}
    assert len(asked) >= least, asked

    def unanswered():
        empty.clear()
        empty.update({title: query for title, query in asked if not server.result(query)})
        return not empty

    try:
        until(unanswered, 20, "answers", step=0.5)
    except Exception:
        raise AssertionError(f"queries without an answer: {empty}") from None
    groups = server.ask("rules")["data"]["groups"]
    assert [rule for group in groups for rule in group["rules"] if rule["health"] == "err"] == []


#   a: aditd, scraped by prometheus every second; a flow, drops, reloads ---- wire ---- b: aditd
@case(limit=60)
def tunnels(net):
    """Each query about tunnels has an answer in Prometheus from the daemon's real output; alerts are sound."""
    pair, a, b = scene(net)
    server = Prometheus(a.host, net.folder)
    b.host.address("lo", "10.99.0.1/32")
    for _ in range(4):
        ping(a.host, pair.right.inner(), count=40)
        b.host.attempt("ping", "-c2", "-i0.02", "-W0.1", "-I", "10.99.0.1", pair.left.inner())
        a.reload()
    until(lambda: server.result("up{job='adit'}")[0]["value"][1] == "1", 15, "a scrape")
    answered(server, least=20)
    a.host.ip(f"link set {pair.left.device.name} down")
    until(lambda: "AditTunnelNotUp" in server.alerts(), 20, "the alert about a tunnel that is down", step=0.2)


#   host ---- a: aditd, scraped ==== link ==== b: aditd ---- host
@case(limit=60)
def links(net):
    """Each query about encrypted links has an answer; the frames are counted."""
    link = Link(net)
    link.a.daemon.config["metrics"] = {"listen": LISTEN}
    link.start()
    server = Prometheus(link.a.host, net.folder)
    before = link.a.counts()
    ping(link.x, "10.8.0.2", count=20)
    answered(server, "adit_macsec_", least=25)
    sent = 'adit_macsec_out_pkts_encrypted_total{tunnel="uplink"}'
    until(lambda: int(server.result(sent)[0]["value"][1]) >= before["OutPktsEncrypted"] + 20, 15, "the frames that were sent")


#   curl ---- aditd, scraped ---- a backend
@case(limit=60)
def tls(net):
    """Each query about TLS has an answer; a certificate that ends soon alarms."""
    a, web = terminator(net)
    a.stop()
    a.config["metrics"] = {"listen": LISTEN}
    log = f"{a.folder}/log"
    os.mkdir(log)
    os.chmod(log, 0o777)
    web["access_log"] = {"file": f"{log}/access.log", "format": "json"}
    web["route"]["app"].update(check={"every": "500ms"}, http={})
    a.start()
    server = Prometheus(a.host, net.folder)
    assert [curl(a) for _ in range(3)] == [(0, "app")] * 3
    answered(server, "adit_tls_", least=12)
    assert "AditCertificateEnds" not in server.alerts()
    certificate(a, "www", days=3)
    a.reload()
    until(lambda: "AditCertificateEnds" in server.alerts(), 20, "the alert about a certificate", step=0.2)


#   client ---- gateway: aditd, scraped ---- server
@case(limit=60)
def clients(net):
    """Each query about clients has an answer; a lease is counted."""
    office = Office(net)
    office.daemon.config["metrics"] = {"listen": LISTEN}
    office.start()
    server = Prometheus(office.host, net.folder)
    assert Client(office).enrol(office.invite("alice"))[0] == 200
    # So that there is a refusal to tell of.
    assert Client(office, "d").enrol()[0] == 401
    answered(server, "adit_client_", least=7)
    until(lambda: server.result("adit_client_leases")[0]["value"][1] == "1", 15, "the lease")
