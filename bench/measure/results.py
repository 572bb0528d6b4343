"""The file of raw results: JSON lines, the first about the run, one for each figure of each turn."""
import json
import os
import re
import time

from lab.wireguard import ROOT
from measure.implementation import commit, versions

FOLDER = f"{ROOT}/bench/results"
SYSCTLS = ("net/ipv4/tcp_rmem", "net/ipv4/tcp_wmem", "net/core/default_qdisc")


def append(path, record):
    with open(path, "a") as file:
        file.write(json.dumps(record) + "\n")


def read(first, *more):
    """The line about the run, and those of the figures; of several files the first one's, and all figures."""
    records = []
    for path in (first, *more):
        with open(path) as file:
            records += [json.loads(line) for line in file if line.strip()]
    runs = [record for record in records if record["kind"] == "run"]
    versions = {name: text for run in runs for name, text in run["versions"].items()}
    return {**runs[0], "versions": versions}, [record for record in records if record["kind"] == "figure"]


def cpu_model():
    with open("/proc/cpuinfo") as file:
        found = re.search(r"^model name\s*:\s*(.+)$", file.read(), re.MULTILINE)
    return found[1] if found else os.uname().machine


def sysctl(name):
    with open(f"/proc/sys/{name}") as file:
        return " ".join(file.read().split())


def start(implementations, settings, quick):
    """Makes the file with its first line; its path. Nothing in it or its name tells which machine it was."""
    os.makedirs(FOLDER, exist_ok=True)
    cpu, cpus = cpu_model(), len(os.sched_getaffinity(0))
    slug = re.sub(r"[^a-z0-9]+", "-", re.sub(r"\((R|TM)\)|@.*", "", cpu, flags=re.IGNORECASE).lower()).strip("-")
    path = f"{FOLDER}/{time.strftime('%Y-%m-%d-%H%M%S', time.gmtime())}-{slug}-{cpus}-cpus{'-quick' * quick}.jsonl"
    append(path, {
        "kind": "run", "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "commit": commit(),
        "versions": versions(implementations), "cpu": cpu, "cpus": cpus, "kernel": os.uname().release,
        "load_before": os.getloadavg()[0], "sysctl": {name: sysctl(name) for name in SYSCTLS}, "settings": settings,
    })
    return path
