"""adit enroll with a certificate whose key is in a token: SoftHSM, by PKCS#11."""
import glob
import os

from cases.client_enroll import SERVER, TYPE, URL, age, ends, enroll, profile, refused, scene
from lab.case import case
from lab.client_token import MODULE, PIN, Token
from lab.process import run
from lab.traffic import reaches
from lab.wait import until

# One that is no module.
LIBRARY = glob.glob("/usr/lib/*/libssl.so.3")[0]
# What `openssl req` is told of each kind of key.
KINDS = {"p256": ("ec", "ec_paramgen_curve:P-256"), "p384": ("ec", "ec_paramgen_curve:P-384"), "rsa": ("rsa", "rsa_keygen_bits:2048")}


def furnished(net, *kinds):
    """An office, a client, and the token that holds a key and a certificate of each kind."""
    office, client = scene(net, started=False)
    folder = f"{client.folder}/token"
    token = Token(folder, "alice")
    for number, kind in enumerate(kinds, 1):
        algorithm, option = KINDS[kind]
        run(["openssl", "req", "-new", "-newkey", algorithm, "-pkeyopt", option, "-nodes", "-subj", "/CN=x",
             "-keyout", f"{folder}/{kind}.key", "-out", f"{folder}/{kind}.csr"])
        office.aditctl("issue", kind, "--csr", f"{folder}/{kind}.csr", "--out", folder)
        token.put(kind, f"{number:02}", f"{folder}/{kind}.key", f"{folder}/{kind}.pem")
    office.start()
    return office, client, token, ("--ca", f"{office.pki}/ca.pem")


#   client: adit, token ---- gateway: aditd ---- server
@case(limit=60)
def by_token(net):
    """Keys of each kind in a token let somebody in, asked by a file or at the terminal; the lease is renewed by the file."""
    office, client, token, ca = furnished(net, *KINDS)
    pin = token.pin_file()
    for kind in KINDS:
        key = token.uri(kind, f";type=private?pin-source=file:{pin}&module-path={MODULE}")
        code, output = enroll(client, URL, "--cert", token.uri(kind, ";type=cert"), "--key", key, *ca, "--replace", env=token.env)
        assert code == 0 and f"{kind} has a lease of" in output and "prolonged while" in output, output
    assert f'certificate = "{token.uri("rsa")}' in profile(client) and PIN not in profile(client), profile(client)
    before = age(client, -1)
    code, output = client.ctl("up", env=token.env)
    assert code == 0 and reaches(office.outside, SERVER), output
    until(lambda: ends(client) > before, 15, "a renewal by the token")
    client.ctl("down")
    # At a terminal the PIN is asked for and not shown; the module is that of the environment.
    words = ["--name", client.name, "--replace", *ca]
    command = client.command("enroll", URL, "--cert", token.uri("p256"), "--key", token.uri("p256"), *words)
    code, output = office.outside.attempt("/usr/bin/python3", "-c", TYPE, PIN, *command, env=token.env)
    assert code == 0 and output.startswith("PIN of the token alice: ") and PIN not in output, output
    assert "not prolonged if the token wants its PIN" in output and token.tries() == 1, output
    age(client, -1)
    client.ctl("up", env=token.env)
    until(lambda: "nobody is here to be asked for the PIN" in str(client.status()["problems"]), 15, "the status")


#   client: adit, token ---- gateway: aditd
@case(limit=60)
def refusals(net):
    """Whatever is wrong with a token is one sentence, and a PIN that is wrong is tried once."""
    _, client, token, ca = furnished(net, "p256", "rsa")
    folder, pin = token.folder, token.pin_file()
    source = f"?pin-source=file:{pin}"

    def by(code, says, key, cert=f"{folder}/p256.pem"):
        refused(client, code, says, URL, "--cert", cert, "--key", key, *ca, env=token.env)
    by(1, "no PKCS#11 module: /none.so: ", token.uri("p256", f"{source}&module-path=/none.so"))
    by(1, "no PKCS#11 module: ", token.uri("p256", f"{source}&module-path={LIBRARY}"))
    by(1, 'there is no token "bob"; there are: alice', f"pkcs11:token=bob;object=p256{source}")
    by(1, "there is no private key pkcs11:token=alice;object=none", token.uri("none", source))
    by(1, "there are: p256, rsa", token.uri("none", source))
    by(1, "the URI fits 2 objects", f"pkcs11:token=alice{source}")
    by(1, "type= in the URI: private is expected", token.uri("p256", f";type=cert{source}"))
    by(1, "do not match", token.uri("rsa", source))
    by(1, "do not match", token.uri("p256", source), token.uri("rsa"))
    by(1, "there is no certificate pkcs11:token=alice;object=none", token.uri("p256", source), token.uri("none"))
    by(2, "others can see a PIN", token.uri("p256", f"?pin-value={PIN}"))
    by(1, "nobody is here to be asked for the PIN of the token alice; give pin-source=", token.uri("p256"))
    by(1, "nobody is here to be asked for the PIN of the token alice", token.uri("p256", "?pin-source=/none/pin"))
    before = token.tries()
    os.chmod(pin, 0o640)
    by(1, f"chmod 600 {pin}", token.uri("p256", source))
    os.chmod(pin, 0o600)
    token.pin_file("1")
    by(1, "it was not tried", token.uri("p256", source))
    assert token.tries() == before
    token.pin_file("111111")
    by(1, "the PIN of the token alice is wrong", token.uri("p256", source))
    assert token.tries() == before + 1


#   client: adit, token whose PIN was changed ---- gateway: aditd
@case(limit=60)
def refused_once(net):
    """A renewal gives the token a wrong PIN once, also when the client is started again; once the file is right, it goes on."""
    _, client, token, ca = furnished(net, "p256")
    pin = token.pin_file()
    key = token.uri("p256", f"?pin-source=file:{pin}")
    code, output = enroll(client, URL, "--cert", f"{token.folder}/p256.pem", "--key", key, *ca, env=token.env)
    assert code == 0, output
    token.pin_file("111111")
    before, tries = age(client, -1), token.tries()

    def told(words):
        return words in str(client.status()["problems"])
    client.ctl("up", env=token.env)
    until(lambda: told("the PIN of the token alice is wrong"), 15, "the word of the token")
    for _ in range(2):
        client.ctl("down")
        client.ctl("up", env=token.env)
        until(lambda: told("once that file is written anew"), 15, "the word of the client")
    assert token.tries() == tries + 1, "it is locked after a few"
    token.pin_file()
    until(lambda: ends(client) > before, 15, "a renewal")
    assert token.tries() == tries + 2 and client.status()["problems"] == [], client.status()
