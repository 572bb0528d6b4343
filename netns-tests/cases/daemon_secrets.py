"""Secrets and privileges: no key in memory once its tunnel is gone, none in what is told, and no right too many."""
import base64
import os
import re
import signal
import stat

from lab.case import case
from lab.daemon import NOBODY, gateways
from lab.site import PORT, wired
from lab.traffic import reaches
from lab.wait import until
from lab.wireguard import keys

NET_ADMIN, NET_BIND_SERVICE = 1 << 12, 1 << 10


def memory(pid):
    """All that a process can read of its own memory: (what the mapping is, bytes). It stands still meanwhile."""
    os.kill(pid, signal.SIGSTOP)
    try:
        until(lambda: "T (stopped)" in open(f"/proc/{pid}/status").read(), 5, "a stopped process")
        with open(f"/proc/{pid}/maps") as maps, open(f"/proc/{pid}/mem", "rb", buffering=0) as data:
            for line in maps:
                bounds, rights = line.split()[:2]
                start, end = (int(bound, 16) for bound in bounds.split("-"))
                if "r" not in rights or "[v" in line:
                    continue
                data.seek(start)
                try:
                    yield line.strip(), data.read(end - start)
                except OSError:
                    continue
    finally:
        os.kill(pid, signal.SIGCONT)


def forms(key):
    """A key in base64 in every form in which it may lie about."""
    raw = base64.b64decode(key)
    return {"raw": raw, "hex": raw.hex().encode(), "HEX": raw.hex().upper().encode(), "base64": key.encode(),
            "half": raw[:16], "other half": raw[16:]}


def found(pid, **secrets):
    """Where the memory of a process holds any of these keys: {name: [(form, mapping)]}."""
    places = {name: [] for name in secrets}
    for mapping, data in memory(pid):
        for name, key in secrets.items():
            for form, text in forms(key).items():
                at = data.find(text)
                while at >= 0:
                    places[name].append((form, hex(at), mapping))
                    at = data.find(text, at + 1)
    return places


#   a: aditd with tunnels x and wg1 ---- wire ---- b: aditd
@case(user=("nobody", "root"), how=("tunnel", "peer", "key"), limit=60)
def memory_forgets(net, user, how):
    """The keys of a tunnel, of a peer, or before a change are nowhere in memory once a reload took them away."""
    pair = wired(net, psk=True)
    a, b = gateways(pair, user=user)
    name, table = pair.left.device.name, a.config["wireguard"]
    b.start()
    a.start()
    assert reaches(a.host, pair.right.inner()), "no handshake has used the keys"
    secrets = {"private": pair.left.keys.private, "psk": pair.psk}
    # wg sees them, as it may; what the daemon made for it is to be gone too.
    assert pair.left.device.state().private_key == secrets["private"]
    texts = ("hex", "HEX", "base64")

    def only_raw():
        """What was found once wg has been answered: the thread that did may not have ended yet."""
        places = found(a.process.pid, **secrets)
        return None if any(form in texts for all in places.values() for form, *_ in all) else places

    before = until(only_raw, 15, "no key as text in memory")
    for secret, places in before.items():
        assert any(form == "raw" for form, *_ in places), f"{secret} is not there while it is in use: nothing is shown"
    if how == "tunnel":
        del table[name]
        x = net.device("x")
        a.tunnel(x, keys(), port=PORT + 1)
    elif how == "peer":
        del table[name]["peer"]["other"], secrets["private"]
    else:
        a.secret(f"{name}.key", keys().private)
        a.secret(f"{name}-other.psk", keys().private)
    a.reload()
    after = found(a.process.pid, **secrets)
    assert not any(after.values()), "\n".join(f"{secret}: {place}" for secret in after for place in after[secret])


@case(how=("refused", "checked"))
def memory_forgets_what_was_refused(net, how):
    """Keys that a refused reload has read are nowhere in memory; nor is a key that stands in the wrong file."""
    pair = wired(net)
    a, b = gateways(pair)
    a.start()
    x, ours, psk = net.device("x"), keys(), keys().private
    a.tunnel(x, ours, port=PORT if how == "checked" else PORT + 1)
    a.peer(x, "p", keys().public, psk=psk)
    if how == "refused":
        a.config["wireguard"][x]["hooks"] = {"pre_up": ["exit 1"]}
    a.refuses()
    after = found(a.process.pid, private=ours.private, psk=psk)
    assert not any(after.values()), "\n".join(f"{secret}: {place}" for secret in after for place in after[secret])


@case(limit=60)
def nowhere_told(net):
    """No key in the log at its most talkative, in status, metrics, audit trail, trace, or answers to wrong requests."""
    pair = wired(net, psk=True)
    a, b = gateways(pair, level="verbose")
    b.start()
    a.start()
    assert reaches(a.host, pair.right.inner())
    a.config["wireguard"][pair.left.device.name]["private_key"] = pair.left.keys.private
    said = a.refuses()
    assert "private_key" in said
    del a.config["wireguard"][pair.left.device.name]["private_key"]
    a.secret("two.psk", pair.psk + "\n" + pair.psk)
    a.config["wireguard"][pair.left.device.name]["peer"]["other"]["preshared_key_file"] = f"{a.folder}/two.psk"
    a.config["wireguard"][pair.left.device.name]["peer"]["other"]["public_key"] = pair.left.keys.private
    said += a.refuses()
    texts = {"said": said, "status": a.ctl("status", "--json")[1] + a.ctl("status")[1],
             "metrics": a.http("GET", "/metrics")[1],
             "audit": open(f"{a.state}/audit.jsonl").read(),
             "trace": a.ctl("trace", "drops", "--seconds", "1")[1]}
    a.stop()
    texts["log"] = a.process.output()
    assert "DEBUG" in texts["log"] or "INFO" in texts["log"]
    for where, text in texts.items():
        for secret in (pair.left.keys.private, pair.psk):
            for form, words in forms(secret).items():
                assert words.decode("latin1") not in text, f"{form} in {where}"


def threads(pid):
    """Each thread's lines of /proc/PID/task/TID/status."""
    for task in os.listdir(f"/proc/{pid}/task"):
        try:
            with open(f"/proc/{pid}/task/{task}/status") as file:
                yield dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)
        except (FileNotFoundError, ProcessLookupError):
            continue        # it has ended: one that answered somebody


@case(port=(PORT, 500))
def privileges(net, port):
    """Every thread is nobody's with CAP_NET_ADMIN alone, and for a low port NET_BIND_SERVICE; the status tells it."""
    pair = wired(net)
    a, b = gateways(pair)
    a.config["wireguard"][pair.left.device.name]["listen_port"] = port
    b.config["wireguard"][pair.right.device.name]["peer"]["other"]["endpoint"] = f"192.0.2.1:{port}"
    b.start()
    a.start()
    assert reaches(b.host, pair.left.inner())
    wanted = NET_ADMIN | (NET_BIND_SERVICE if port < 1024 else 0)
    seen = list(threads(a.process.pid))
    assert len(seen) >= 5, seen
    for thread in seen:
        for line in ("CapEff", "CapPrm", "CapBnd", "CapInh", "CapAmb"):
            assert int(thread[line], 16) == wanted, (thread["Name"], line, thread[line])
        assert thread["NoNewPrivs"] == "1" and thread["Uid"].split() == [str(NOBODY.pw_uid)] * 4, thread
        assert thread["Gid"].split() == [str(NOBODY.pw_gid)] * 4 and \
            set(thread["Groups"].split()) <= {str(NOBODY.pw_gid)}, thread
    told = a.status()["privileges"]
    names = ["CAP_NET_ADMIN", "CAP_NET_BIND_SERVICE"] if port < 1024 else ["CAP_NET_ADMIN"]
    assert told["user"] == "nobody" and sorted(told["capabilities"]) == names, told
    text = a.ctl("status")[1]
    assert "nobody" in text and all(name in text for name in names), text
    if port == PORT:
        a.config["wireguard"][pair.left.device.name]["listen_port"] = 500
        assert re.search("listen_port 500: .*[Pp]ermission", a.refuses())


@case()
def closed_to_others(net):
    """No core dump, no look into the process for its own user, and its files are for those who may see them."""
    pair = wired(net)
    a, b = gateways(pair)
    a.start()
    limits = open(f"/proc/{a.process.pid}/limits").read()
    assert re.search(r"Max core file size\s+0\s+0", limits), limits
    # What may not be dumped belongs to root in /proc, and to nobody else.
    assert os.stat(f"/proc/{a.process.pid}/mem").st_uid == 0
    look = f"open('/proc/{a.process.pid}/mem', 'rb')"
    become = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"]
    code, output = a.host.attempt(*become, "python3", "-c", look)
    assert code and "Permission denied" in output, output
    modes = {name: stat.S_IMODE(os.stat(f"{a.folder}/{name}").st_mode)
             for name in ("run", "run/read.sock", "run/write.sock", "run/lock", "state", "state/audit.jsonl")}
    assert modes == {"run": 0o755, "run/read.sock": 0o600, "run/write.sock": 0o600, "run/lock": 0o600,
                     "state": 0o700, "state/audit.jsonl": 0o600}, {name: oct(mode) for name, mode in modes.items()}
    for name in modes:
        owner = os.stat(f"{a.folder}/{name}").st_uid
        assert owner == NOBODY.pw_uid or (name == "run/lock" and owner == 0), f"{name} belongs to {owner}"


@case()
def root(net):
    """user = "root" keeps the rights, works, and is warned of."""
    pair = wired(net)
    a, b = gateways(pair, user="root")
    b.start()
    a.start()
    assert reaches(a.host, pair.right.inner())
    told = a.status()
    assert any("runs as root" in warning for warning in told["warnings"]) and told["privileges"]["user"] == "root"
