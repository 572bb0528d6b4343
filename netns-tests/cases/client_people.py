"""adit for people who are not root: `adit serve`, the socket of the group adit, and who may not."""
import json
import os
import shutil
import socket

from cases.client_tunnel import scene
from lab import etc
from lab.case import case
from lab.client import ADIT, profile
from lab.daemon import NOBODY
from lab.traffic import ping
from lab.wait import until

GROUP = 42424
# As systemd does it with StandardInput=socket.
ACTIVATE = """import os, socket, sys
listener = socket.socket(socket.AF_UNIX)
os.makedirs(os.path.dirname(sys.argv[1]), exist_ok=True)
listener.bind(sys.argv[1])
os.chown(sys.argv[1], 0, int(sys.argv[2]))
os.chmod(sys.argv[1], 0o660)
listener.listen()
os.dup2(listener.fileno(), 0)
os.execv(sys.argv[3], sys.argv[3:])
"""


def people(net, member=True):
    """A machine with a client's profile, on which nobody is in the group adit; how a user there calls adit."""
    pair, client = scene(net)
    host = pair.left.host
    with open("/etc/group") as file:
        groups = [line for line in file if not line.startswith("adit:")]
    etc.own(host, "group", "".join(groups) + f"adit:x:{GROUP}:{NOBODY.pw_name if member else ''}\n")
    os.chmod(client.folder, 0o711)
    client.take_in(profile(pair))

    def by(user, *words):
        run = ("setpriv", f"--reuid={user}", f"--regid={user if user != NOBODY.pw_name else NOBODY.pw_gid}", "--init-groups")
        return host.attempt(*run, *client.command(*words))
    return pair, client, by


def serve(client, activated=False, program=ADIT):
    path = f"{client.run}/orders"
    command = (program, *client.command("serve")[1:])
    if activated:
        command = ("/usr/bin/python3", "-c", ACTIVATE, path, GROUP, *command)
    client.host.start(*command)
    until(lambda: listens(path), 15, "adit serve")
    return path


def listens(path):
    """Whether somebody takes connections: the socket is there before its owner and mode are right."""
    with socket.socket(socket.AF_UNIX) as stream:
        return stream.connect_ex(path) == 0


def order(path, line):
    """What a line that no adit sends is answered."""
    with socket.socket(socket.AF_UNIX) as stream:
        stream.connect(path)
        stream.settimeout(15)
        stream.sendall(line)
        stream.shutdown(socket.SHUT_WR)
        return json.loads(b"".join(iter(lambda: stream.recv(65536), b"")))


#   a: nobody's adit up, by the socket of adit serve ---- wire ---- b: wireguard-go
@case(activated=(False, True))
def in_the_group(net, activated):
    """Somebody of the group adit sets a tunnel up, sees how it is, and takes it away, without being root."""
    pair, client, by = people(net)
    serve(client, activated)
    name = client.name
    assert by("nobody", "status")[:2] == (1, f"{name}: down\n")
    assert by("nobody", "up", name) == (0, f"{name}: connected\n")
    assert ping(pair.left.host, pair.right.inner()) == 3
    code, output = by("nobody", "status")
    assert code == 0 and output.startswith(f"{name}: connected\n"), output
    assert json.loads(by("nobody", "status", "--json")[1])[0]["state"] == "connected"
    assert by("nobody", "up", "none")[0] == 2 and "there is no profile none" in by("nobody", "up", "none")[1]
    assert by("nobody", "down") == (0, f"{name}: down\n")
    # The profile itself, with its key, is root's.
    code, output = by("nobody", "qr")
    assert code == 1 and "Permission denied" in output, output


#   a: others' adit up
@case()
def not_in_the_group(net):
    """Who is not in the group is refused in words, even where the socket's mode lets everybody in; nothing is set up."""
    _, client, by = people(net)
    path = serve(client)
    words = "only root and the people of the group adit may"
    for mode in (0o660, 0o666):
        os.chmod(path, mode)
        for command in ("up", "status", "down"):
            code, output = by("daemon", command)
            assert code == 1 and words in output, output
    assert client.state() == "down"
    # nobody is in the group by the user database alone: its process has not the group, so the mode refuses.
    os.chmod(path, 0o600)
    code, output = by("nobody", "up")
    assert code == 1 and words in output, output


@case()
def rude_orders(net):
    """What is no order is refused; no order becomes another command or option."""
    _, client, _ = people(net)
    path = serve(client)
    good = {"word": "status", "profile": None, "flags": [], "wait": None}
    for wrong in (b"\n", b"{}\n", b"x" * 5000, json.dumps({**good, "word": "import"}).encode() + b"\n",
                  json.dumps({**good, "profile": "../x"}).encode() + b"\n", json.dumps({**good, "more": 1}).encode() + b"\n"):
        answer = order(path, wrong)
        assert answer["code"] == 2 and "no order" in answer["errors"], answer
    answer = order(path, json.dumps({**good, "profile": "--help"}).encode() + b"\n")
    assert answer["code"] == 2 and "there is no profile --help" in answer["errors"], answer
    assert order(path, json.dumps(good).encode() + b"\n")["output"].endswith(": down\n")


@case()
def replaced(net):
    """A package that puts another file in the place of the program that serves ends no service."""
    _, client, by = people(net)
    program = f"{client.folder}/adit"
    shutil.copy(ADIT, program)
    serve(client, program=program)
    shutil.copy(ADIT, f"{program}.new")
    os.replace(f"{program}.new", program)
    assert by("nobody", "status")[:2] == (1, f"{client.name}: down\n"), by("nobody", "status")


@case()
def nobody_serves(net):
    """Where nothing serves, who is not root is told what it takes."""
    _, client, by = people(net)
    assert os.path.exists(ADIT) and not os.path.exists(f"{client.run}/orders")
    for command in ("up", "status"):
        code, output = by("nobody", command)
        assert code == 1 and "it takes root, or the group adit where `adit serve` runs" in output, output
