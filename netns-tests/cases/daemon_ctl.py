"""aditctl and the admin sockets: what is told is true, who asks may, and what was asked is in the trail."""
import copy
import json
import os
import re

from lab.case import case
from lab.daemon import ADITCTL, gateways
from lab.schema import mistakes
from lab.site import wired
from lab.traffic import ping, reaches
from lab.wait import until
from lab.wireguard import ROOT, keys

# Groups and users that every Debian has.
READERS, WRITERS, STRANGER = "daemon", "bin", "games"


def scene(net, **admin):
    """Two gateways that have spoken, and a peer of wg's on the left one."""
    pair = wired(net, psk=True)
    a, b = gateways(pair)
    a.config["admin"].update(admin)
    b.start()
    a.start()
    assert reaches(a.host, pair.right.inner()) and reaches(a.host, pair.right.inner("v6"))
    pair.left.device.set("peer", keys().public, "allowed-ips", "10.60.0.0/16,fd60::/48")
    return pair, a, b


def user(a, name, *groups, words=("status",)):
    """aditctl as somebody; (code, output)."""
    groups = ["--groups", ",".join(groups)] if groups else ["--clear-groups"]
    become = ["setpriv", f"--reuid={name}", f"--regid={name}", *groups]
    return a.host.attempt(*become, ADITCTL, "--socket", a.sockets, *words)


@case()
def agrees_with_wg(net):
    """The status agrees with `wg show` in every value they share, and with its own schema in all."""
    pair, a, b = scene(net)
    assert ping(a.host, pair.right.inner(), count=20, size=1000)
    a.host.attempt("ping", "-c1", "-W0.2", "10.9.0.99")
    a.peer(pair.left.device.name, "silent", keys().public, ["10.61.0.0/16"], endpoint="192.0.2.99:9")
    a.reload()
    name, device = pair.left.device.name, pair.left.device

    def still():
        """What both tell while nothing is counted."""
        before, told = device.state(), a.status()
        return (told, before) if device.state() == before else None
    told, shown = until(still, 15, "a moment without a keepalive")
    tunnel = told["wireguard"][name]
    assert (tunnel["public_key"], tunnel["listen_port"], tunnel["fwmark"]) == (shown.public_key, shown.port, 0)
    assert {peer["public_key"] for peer in tunnel["peers"]} == set(shown.peers) and len(shown.peers) == 3
    for peer in tunnel["peers"]:
        theirs = shown.peers[peer["public_key"]]
        assert (peer["received_bytes"], peer["sent_bytes"]) == (theirs.received, theirs.sent), (peer, theirs)
        assert set(peer["allowed_ips"]) == set(theirs.allowed_ips)
        assert (peer["endpoint"] or "(none)") == theirs.endpoint
        assert int(peer["latest_handshake"] or 0) == theirs.handshake
        assert peer["preshared_key"] == (theirs.preshared_key != "(none)")
        assert str(peer["persistent_keepalive"] or "off") == theirs.keepalive
    assert tunnel["drops"].get("no_route"), tunnel["drops"]
    assert [peer["name"] for peer in tunnel["peers"]] == ["other", "silent", None]
    with open(f"{ROOT}/docs/status.schema.json") as file:
        schema = json.load(file)
    assert mistakes(told, schema) == []
    for spoil in (lambda it: it.pop("pid"), lambda it: it["wireguard"][name].update(state="well"),
                  lambda it: it["wireguard"][name]["peers"][0].update(sent_bytes=-1), lambda it: it.update(more=1)):
        spoiled = copy.deepcopy(told)
        spoil(spoiled)
        assert mistakes(spoiled, schema), "this schema allows anything"
    assert json.loads(a.http("GET", "/v1/status")[1]).keys() == told.keys()
    alone = json.loads(a.ctl("status", name, "--json")[1])
    assert alone["public_key"] == tunnel["public_key"]


@case()
def for_people(net):
    """What people see has what `wg show` has, in its words, and warns of a peer that does not answer, first of all."""
    pair, a, b = scene(net)
    b.stop()
    a.peer(pair.left.device.name, "silent", keys().public, ["10.61.0.0/16"], endpoint="192.0.2.2:9",
           persistent_keepalive=1)
    a.reload()
    text = until(lambda: (said := a.ctl("status")[1]) and "no answer to handshakes" in said and said, 15, "a warning")
    shown = a.host.run("wg", "show", pair.left.device.name)
    for word in ("interface:", "public key:", "listening port:", "peer:", "endpoint:", "allowed ips:",
                 "latest handshake:", "transfer:"):
        assert word in shown and word in text, f"{word} is missing in:\n{text}"
    for line in shown.splitlines():
        if line.strip().startswith(("endpoint:", "allowed ips:", "public key:", "listening port:")):
            assert line.split(": ")[1].split(",")[0] in text, f"{line}\nis not in:\n{text}"
    assert text.index("no answer to handshakes") < text.index("public key"), f"the warning is not first:\n{text}"
    assert "\x1b" not in text, "colours though this is no terminal"
    code, said = a.ctl("status", "nosuch")
    assert code == 1 and "nosuch" in said and pair.left.device.name in said, said
    a.stop()
    code, said = a.ctl("status")
    assert code == 1 and "no aditd answers" in said, said


@case()
def watch(net):
    """status --watch shows it again and again, and waits for a daemon that went away."""
    pair, a, b = scene(net)
    watching = a.host.start(ADITCTL, "--socket", a.sockets, "status", "--watch=0.2")
    until(lambda: watching.output().count("latest handshake") >= 3, 15, "three looks")
    a.stop()
    until(lambda: "no aditd answers" in watching.output(), 15, "word that it is gone")
    seen = watching.output().count(pair.left.keys.public)
    a.start()
    until(lambda: watching.output().count(pair.left.keys.public) > seen, 15, "it is seen again")
    watching.stop()
    as_json = a.host.start(ADITCTL, "--socket", a.sockets, "status", "--watch=0.1", "--json")
    until(lambda: as_json.output().count('"schema"') >= 2, 15, "two looks")
    as_json.stop()


#   a: aditd ---- wire ---- b: aditd, also 10.99.0.1, which a does not allow it
@case()
def trace(net):
    """trace drops shows a packet that no peer is for, and one of a source that its peer may not use; one at a time."""
    pair, a, b = scene(net)
    name = pair.left.device.name
    tracing = a.host.start(ADITCTL, "--socket", a.sockets, "trace", "drops")
    until(lambda: any(entry["what"] == "trace" for entry in a.audit()), 15, "the trace")
    code, said = a.ctl("trace", "drops", "--seconds", "1")
    assert code == 1 and "watches" in said, f"two at a time: exit {code}: {said}"
    b.host.address("lo", "10.99.0.1/32")
    stray = lambda: a.host.attempt("ping", "-c1", "-W0.2", "10.9.0.99")
    foreign = lambda: b.host.attempt("ping", "-c1", "-W0.2", "-I", "10.99.0.1", pair.left.inner())
    for send, line in ((stray, rf"{name} no_route 10\.9\.0\.1 > 10\.9\.0\.99 icmp"),
                       (foreign, rf"{name} source 10\.99\.0\.1 > 10\.9\.0\.1 icmp")):
        # The trail tells of a trace that may only begin.
        until(lambda: send() and re.search(line, tracing.output()), 15, line)
    tracing.stop()
    assert reaches(a.host, pair.right.inner())
    counted = a.host.start(ADITCTL, "--socket", a.sockets, "trace", "drops", name, "--json", "--count", "2")
    until(lambda: sum(entry["what"] == "trace" and entry["result"] == "ok" for entry in a.audit()) == 2, 15, "the trace")
    until(lambda: foreign() and not counted.alive(), 15, "the end of a trace of two")
    assert counted.child.returncode == 0
    lines = [json.loads(line) for line in counted.output().splitlines()[1:]]
    assert [line["reason"] for line in lines] == ["source"] * 2 and lines[0]["ip"]["source"] == "10.99.0.1", lines
    assert a.status()["wireguard"][name]["drops"]["source"] >= 3
    assert a.ctl("trace", "drops", "nosuch")[0] == 1


@case()
def roles(net):
    """Who is in no group may do nothing, readers may read, writers may write; who wrote is in the trail."""
    pair, a, b = scene(net, read_group=READERS, write_group=WRITERS)
    code, said = user(a, STRANGER)
    assert code == 1 and "no permission" in said and READERS in said, f"exit {code}: {said}"
    assert user(a, STRANGER, READERS)[0] == 0 and user(a, STRANGER, WRITERS)[0] == 0
    before = len(a.audit())
    for words in (("reload",), ("trace", "drops", "--seconds", "1")):
        code, said = user(a, STRANGER, READERS, words=words)
        assert code == 1 and "no permission" in said and WRITERS in said, f"exit {code}: {said}"
    for path in ("/v1/reload", "/v1/trace"):
        method = "POST" if path.endswith("reload") else "GET"
        assert a.http(method, path, "read.sock")[0] == 403, f"{path} on read.sock"
    assert len(a.audit()) == before, "what was not done is in the trail"
    assert user(a, STRANGER, WRITERS, words=("reload",))[0] == 0
    who = a.audit()[-1]["who"]
    stranger = int(a.host.run("id", "-u", STRANGER))
    assert (who["uid"], who["user"]) == (stranger, STRANGER), who
    assert (a.http("GET", "/v1/reload", "write.sock")[0], a.http("GET", "/v1/nothing")[0]) == (405, 404)
    assert json.loads(a.http("GET", "/v1/health")[1]) == {"health": "ok"}


@case()
def audit(net):
    """The trail tells of each start, reload, trace and end: when, who, by which way, with what result."""
    pair, a, b = scene(net)
    a.reload()
    a.config["wireguard"][pair.left.device.name]["mtu"] = 7
    a.refuses()
    a.config["wireguard"][pair.left.device.name]["mtu"] = 1400
    a.write()
    a.hang_up()
    a.ctl("trace", "drops", "--seconds", "0.1")
    until(lambda: a.audit()[-1]["what"] == "trace", 15, "all lines")
    first = open(f"{a.state}/audit.jsonl").read()
    a.stop()
    entries = a.audit()
    assert [(entry["what"], entry["via"], entry["result"]) for entry in entries] == [
        ("start", "daemon", "attempt"), ("start", "daemon", "ok"),
        ("reload", "write.sock", "attempt"), ("reload", "write.sock", "ok"),
        ("reload", "write.sock", "attempt"), ("reload", "write.sock", "refused"),
        ("reload", "signal", "attempt"), ("reload", "signal", "ok"),
        ("trace", "write.sock", "ok"), ("stop", "daemon", "ok")], entries
    times = [entry["time"] for entry in entries]
    stamp = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z"
    assert times == sorted(times) and all(re.fullmatch(stamp, time) for time in times)
    assert all(entry["who"]["uid"] == 0 for entry in entries if entry["via"] != "daemon"), "not root's requests"
    assert all(entry["who"]["user"] == "nobody" for entry in entries if entry["via"] == "daemon"), entries[0]
    assert "mtu" in entries[5]["detail"] and pair.left.device.name in entries[7]["detail"]
    # What cannot be recorded is not done.
    a.start()
    assert open(f"{a.state}/audit.jsonl").read().startswith(first)
    os.rename(a.state, f"{a.state}.away")
    a.config["wireguard"][pair.left.device.name]["mtu"] = 1300
    said = a.refuses()
    assert "audit" in said and "mtu 1400" in a.host.ip(f"link show {pair.left.device.name}"), said
    os.rename(f"{a.state}.away", a.state)
    a.reload()
    assert "mtu 1300" in a.host.ip(f"link show {pair.left.device.name}")


WRONG_KEYS = ("", "\n", "abc\n", "A" * 44, "A" * 43 + "=\n", "A" * 43 + "=x", " " + "A" * 43 + "=", "A" * 42 + "==",
              "é" * 22, "A" * 42 + "B=\n", "A" * 43 + "= \n\n", "A" * 43 + "=\n" + "A" * 43 + "=\n")


@case()
def keys_as_wg(net):
    """genkey, genpsk, pubkey: byte for byte wg's, in what they print, what they refuse, and in their exit codes."""
    host = net.host("a")

    def both(words, data=None):
        """What wg and aditctl make of it: (code, output)."""
        run = lambda program: host.attempt("sh", "-c", f"umask 077; exec {program} {words}", data=data)
        return run("wg"), run(ADITCTL)

    for word in ("genkey", "genpsk"):
        for code, text in both(word):
            assert code == 0 and re.fullmatch(r"[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]=\n", text), (word, text)
    for _ in range(5):
        made = host.run(ADITCTL, "genkey")
        assert both("pubkey", made)[0] == both("pubkey", made)[1]
    for text in WRONG_KEYS:
        (wg_code, wg_said), (code, said) = both("pubkey", text)
        assert (code, said.replace("aditctl", "wg")) == (wg_code, wg_said), \
            f"{text!r}: wg says {wg_code} {wg_said!r}, aditctl {code} {said!r}"
    for mask, warned in (("022", True), ("077", False), ("024", True), ("037", False)):
        for word in ("genkey", "genpsk"):
            run = f"umask {mask}; rm -f {net.folder}/k; exec %s {word} > {net.folder}/k"
            said = [host.attempt("sh", "-c", run % program)[1] for program in ("wg", ADITCTL)]
            assert said[0] == said[1] and ("world accessible" in said[1]) == warned, (mask, said)
