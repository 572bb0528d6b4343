"""Debian's Prometheus beside a gateway: it scrapes the daemon every second and evaluates our rules."""
import json
import os
import urllib.error
import urllib.parse
import urllib.request

from lab.wait import until
from lab.wireguard import ROOT

LISTEN, SERVER = "127.0.0.1:9586", "127.0.0.1:9090"
RULES = f"{ROOT}/configs/prometheus-rules.yaml"


def fetch(host, url):
    """A page of a server of that host; (code, text)."""
    try:
        with host.entered(), urllib.request.urlopen(f"http://{url}", timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()
    except OSError as error:
        return None, str(error)


def program(name):
    path = f"{ROOT}/target/tools/prometheus/usr/bin/{name}"
    assert os.access(path, os.X_OK), f"no {path}: netns-tests/run.sh setup unpacks it"
    return path


class Prometheus:
    """Scrapes the daemon of a host, which has its metrics at LISTEN; ready on return, with the rules checked."""

    def __init__(self, host, folder):
        self.host = host
        with open(f"{folder}/prometheus.yml", "w") as file:
            file.write(f"global: {{ scrape_interval: 1s, evaluation_interval: 1s }}\nrule_files: [ {RULES} ]\n"
                       f"scrape_configs:\n  - job_name: adit\n    static_configs: [ {{ targets: [ '{LISTEN}' ] }} ]\n")
        assert "SUCCESS" in host.run(program("promtool"), "check", "rules", RULES)
        checked = host.attempt(program("promtool"), "check", "metrics", data=fetch(host, f"{LISTEN}/metrics")[1])
        assert checked == (0, ""), f"promtool check metrics: {checked}"
        host.start(program("prometheus"), f"--config.file={folder}/prometheus.yml", f"--web.listen-address={SERVER}",
                   f"--storage.tsdb.path={folder}/tsdb", "--log.level=warn")
        until(lambda: self.ask("query", query="up").get("data", {}).get("result"), 20, "prometheus", step=0.2)

    def ask(self, path, **words):
        """What the server's HTTP API says."""
        code, text = fetch(self.host, f"{SERVER}/api/v1/{path}?{urllib.parse.urlencode(words)}")
        return json.loads(text) if text.startswith("{") else {"status": "error", "error": f"{code}: {text}"}

    def result(self, query):
        """The samples of a query, which has to be a sound one."""
        answer = self.ask("query", query=query)
        assert answer["status"] == "success", f"{query}: {answer}"
        return answer["data"]["result"]

    def alerts(self):
        """The names of the alerts that are pending or firing."""
        return [alert["labels"]["alertname"] for alert in self.ask("alerts")["data"]["alerts"]]
