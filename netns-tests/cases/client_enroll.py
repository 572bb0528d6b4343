"""adit enroll against aditd: by a link or a certificate, renewed, removed; and every refusal in words."""
import json
import os
import re
import time

from lab import etc
from lab.case import case
from lab.client import ADIT, Client
from lab.clients import API, NAME, Office
from lab.daemon import ADITCTL
from lab.process import run
from lab.site import PORT
from lab.traffic import reaches
from lab.wait import until

SERVER = "10.20.0.7"
URL = f"https://{NAME}:{API}"


def scene(net, started=True, **clients):
    """An office whose name the client's machine knows, and adit on that machine."""
    office = Office(net, endpoints=[f"{NAME}:{PORT}"], **clients)
    etc.own(office.outside, "hosts", f"127.0.0.1 localhost\n192.0.2.1 {NAME}\n")
    client = Client(office.outside)
    client.name = net.device("c")
    return office.start() if started else office, client


def link(office, name, *words):
    """What an operator passes on."""
    code, output = office.daemon.ctl("client", "invite", name, *words)
    first = output.splitlines()[0]
    assert code == 0 and "    adit enroll\n" in output and first.startswith(f"{URL}/#adit-"), output
    assert output.count("#adit-") == 1, "a command line that holds it would stay in the shell's history"
    return first


def enroll(client, *words, data=None, env=None):
    return client.ctl("enroll", *words, "--name", client.name, data=data, env=env)


def refused(client, code, says, *words, env=None):
    """A command that has to fail with this code and these words, and without a profile."""
    got, output = enroll(client, *words, env=env)
    assert got == code and says in output and len(output.splitlines()) == 1, f"exit {got}: {output}"
    assert not os.path.exists(f"{client.profiles}/{client.name}.toml"), "a profile of nothing"


def profile(client):
    with open(f"{client.profiles}/{client.name}.toml") as file:
        return file.read()


def ends(client):
    return int(re.search(r"^until = (\d+)$", profile(client), re.M)[1])


def age(client, due):
    """Makes the lease of a tunnel that is down so old that it is to be renewed in `due` seconds."""
    now = int(time.time())
    text = re.sub(r"^begin = .*$", f"begin = {now + due - 200}", profile(client), flags=re.M)
    text = re.sub(r"^until = .*$", f"until = {now + due + 100}", text, flags=re.M)
    with open(f"{client.profiles}/{client.name}.toml", "w") as file:
        file.write(text)
    return now + due + 100


#   client: adit ---- gateway: aditd ---- server
@case(limit=60)
def by_invitation(net):
    """One line of the operator's lets somebody in; the lease is renewed; who is removed is told so, and has no tunnel."""
    office, client = scene(net)
    invitation = link(office, "alice")
    code, output = enroll(client, data=invitation + "\n")
    assert code == 0 and "alice has a lease of" in output, output
    assert os.stat(f"{client.profiles}/{client.name}.toml").st_mode & 0o777 == 0o600
    assert "#" not in re.search(r"^url = (.*)$", profile(client), re.M)[1] and "adit-" + invitation[-64:] not in profile(client)
    private = re.search(r'^private_key = "(.*)"$', profile(client), re.M)[1]
    code, output = office.daemon.ctl("client", "list")
    assert private not in output and run(["wg", "pubkey"], data=private)[1].strip() in output, output
    client.up()
    assert reaches(office.outside, SERVER)
    client.ctl("down")
    # It is due at once, and again in five seconds.
    before = age(client, -1)
    client.up()
    until(lambda: ends(client) > before, 15, "a renewal")
    assert reaches(office.outside, SERVER) and client.status()["problems"] == [], client.status()
    client.ctl("down")
    age(client, 3)
    client.up()
    assert office.daemon.ctl("client", "remove", "alice")[0] == 0
    until(lambda: client.state() == "removed", 20, "the word of the gateway")
    code, output = client.ctl("status", client.name)
    assert code == 1 and "not connected" in output and "was removed from the gateway" in output, output
    assert "enrol again" in output and not reaches(office.outside, SERVER, 1), output
    # The same is known soon where nothing is due: the gateway does not answer, and is asked by HTTPS.
    client.ctl("down")
    age(client, 50)
    code, output = client.ctl("up")
    assert code == 1 and "was removed from the gateway" in output, output


#   client: adit with a certificate ---- gateway: aditd ---- server
@case(limit=60)
def by_certificate(net):
    """A certificate of the site lets somebody in and renews the lease; one that ended, is revoked or foreign does not."""
    office, client = scene(net, started=False)
    office.issue("bob")
    office.issue("late", "--lifetime", "1s")
    over = time.time() + 2
    office.issue("gone")
    office.aditctl("revoke", "gone")
    foreign = f"{office.folder}/foreign"
    words = ["--dir", foreign, "--passphrase-file", office.passphrase]
    run([ADITCTL, "pki", "init", "--name", "Another CA", *words])
    run([ADITCTL, "pki", "issue", "eve", "--out", office.folder, *words])
    office.start()

    def by(name, *more):
        return URL, "--cert", f"{office.folder}/{name}.pem", "--key", f"{office.folder}/{name}.key", *more
    ca = ("--ca", f"{office.pki}/ca.pem")
    refused(client, 1, "give that by --ca FILE", *by("bob"))
    time.sleep(max(0, over - time.time()))
    refused(client, 1, "the certificate has run out", *by("late", *ca))
    refused(client, 1, "the certificate was revoked", *by("gone", *ca))
    refused(client, 1, "does not take our certificate", *by("eve", *ca))
    refused(client, 2, "bob.key: No such file", URL, "--cert", f"{office.folder}/bob.pem", "--key", "/none/bob.key")
    code, output = enroll(client, *by("bob", *ca))
    assert code == 0 and "bob has a lease of" in output, output
    before = age(client, -1)
    client.up()
    assert reaches(office.outside, SERVER)
    until(lambda: ends(client) > before, 15, "a renewal by the certificate")
    client.ctl("down")
    office.aditctl("revoke", "bob")
    until(lambda: "bob" not in office.daemon.ctl("client", "list")[1], 10, "the end of the lease")
    age(client, 50)
    code, output = client.ctl("up")
    assert code == 1 and "the certificate was revoked" in output, output


#   client: adit ---- gateway: aditd
@case(limit=60)
def refusals(net):
    """Whatever is wrong with an invitation or with whom it is shown to is one sentence, and the invitation still counts."""
    office, client = scene(net)
    good = link(office, "alice")
    token, pin = good.partition("#")[2].split(".")
    short = link(office, "carol", "--expires", "1s")
    begin = time.monotonic()
    refused(client, 2, "no invitation, or not all of it", good[:-1])
    refused(client, 2, "https://HOST", f"http://{NAME}:{API}/#{token}.{pin}")
    refused(client, 2, "an invitation (a link with #", URL)
    refused(client, 1, "give that by --ca FILE", URL, "--token", token)
    refused(client, 1, "somebody may be in between", URL, "--token", token, "--pin", "00" * 32)
    refused(client, 1, "is for other names: ", f"https://192.0.2.1:{API}/#{token}.{pin}")
    refused(client, 1, "Connection refused", f"https://{NAME}:9/#{token}.{pin}")
    refused(client, 1, "none.test cannot be looked up", f"https://none.test/#{token}.{pin}")
    refused(client, 1, "the token is not known", f"{URL}/#adit-{'0' * 64}.{pin}")
    os.makedirs(client.profiles, exist_ok=True)
    code, output = office.outside.attempt(ADIT, "--profiles", "/proc/none", "enroll", good)
    assert code == 1 and "cannot make /proc/none" in output, output
    code, output = enroll(client, good)
    assert code == 0, f"it was spent by a failure: {output}"
    code, output = enroll(client, good)
    assert code == 2 and "--replace takes its place" in output, output
    client.name = net.device("d")
    refused(client, 1, "the token was used before", good)
    time.sleep(max(0, begin + 2.1 - time.monotonic()))
    refused(client, 1, "the token has run out", short)
    # A file takes it too, with a line's end.
    code, output = client.ctl("enroll", URL, "--name", client.name, "--token-file", "-",
                              data=link(office, "dora").partition("#")[2] + "\n")
    assert code == 0, output


# Types a line once it is asked for, and prints all that the terminal shows.
TYPE = """import os, pty, sys
child, terminal = pty.fork()
if child == 0:
    os.execv(sys.argv[2], sys.argv[2:])
shown = b""
while not shown.endswith(b": "):
    shown += os.read(terminal, 4096)
os.write(terminal, sys.argv[1].encode() + b"\\n")
try:
    while more := os.read(terminal, 4096):
        shown += more
except OSError:
    pass
sys.stdout.write(shown.decode())
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


#   client: adit at a terminal ---- gateway: aditd
@case()
def typed(net):
    """At a terminal the invitation is asked for and not shown."""
    office, client = scene(net)
    invitation = link(office, "alice")
    command = client.command("enroll", "--name", client.name)
    code, output = office.outside.attempt("/usr/bin/python3", "-c", TYPE, invitation, *command)
    assert code == 0 and "alice has a lease of" in output, output
    assert output.startswith("invitation (the whole link): ") and "#adit-" not in output, output


#   client: adit, whose clock is wrong ---- gateway: aditd
@case(limit=60)
def clocks(net):
    """A clock that is years off is told; one that is an hour off does not matter, and is told too."""
    office, client = scene(net)
    invitation = link(office, "alice")

    def at(offset):
        return office.outside.attempt("faketime", "-f", offset, *client.command("enroll", invitation, "--name", client.name))
    for offset, says in (("-400d", "its certificate begins at"), ("+400d", "its certificate ended at")):
        code, output = at(offset)
        assert code == 1 and says in output and "is the clock of this machine right?" in output, output
    code, output = at("+1h")
    assert code == 0 and "the clock of this machine is 1 h ahead of the gateway's" in output, output
    client.up()
    assert reaches(office.outside, SERVER)


#   client: adit ---- gateway: aditd with a certificate that has signed itself
@case(limit=60)
def signed_by_itself(net):
    """A gateway whose certificate has signed itself is known by that one; another with the same name is not."""
    office, client = scene(net, started=False)

    def certificate(name):
        run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
             "-subj", f"/CN={NAME}", "-addext", f"subjectAltName=DNS:{NAME}", "-addext", "basicConstraints=critical,CA:FALSE",
             "-keyout", f"{office.folder}/{name}.key", "-out", f"{office.folder}/{name}.pem"])
        os.chmod(f"{office.folder}/{name}.key", 0o600)
        for ending in ("pem", "key"):
            office.own(f"{office.folder}/{name}.{ending}")
    certificate("own")
    certificate("other")
    office.table.update(certificate_file=f"{office.folder}/own.pem", private_key_file=f"{office.folder}/own.key")
    office.start()
    invitation, second = link(office, "alice"), link(office, "bob")
    code, output = enroll(client, invitation)
    assert code == 0, output
    office.table.update(certificate_file=f"{office.folder}/other.pem", private_key_file=f"{office.folder}/other.key")
    office.daemon.reload()
    client.name = net.device("d")
    refused(client, 1, "somebody may be in between", second)


@case()
def told_to_programs(net):
    """The invitation as JSON has the parts of the link: the address, the token, and the authority's fingerprint."""
    office, _ = scene(net)
    code, output = office.daemon.ctl("client", "invite", "alice", "--json")
    told = json.loads(output)
    shown = run(["openssl", "x509", "-in", f"{office.pki}/ca.pem", "-noout", "-fingerprint", "-sha256"])[1]
    assert code == 0 and told["url"] == URL and told["token"].startswith("adit-"), told
    assert told["authority"] == shown.strip().partition("=")[2].replace(":", "").lower(), (told, shown)
