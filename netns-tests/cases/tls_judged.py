"""What testssl.sh and sslyze find in a listener of each policy: nothing, or what is explained here."""
import json

from lab.case import SLOW, case
from lab.tls import WWW, terminator
from lab.tls_authority import Authority, installed, pem, public_file
from lab.wireguard import ROOT

SSLYZE = f"{ROOT}/target/tools/sslyze/bin/sslyze"
POLICIES = ("modern", "intermediate")
# Versions, forward secrecy, the server's order, all known attacks.
BRIEF = ("-p", "-f", "-P", "-U")
# What testssl.sh does not like, by its id, under which policies, and why it stays. What is not here fails the case, and so does
# what is here and is not found.
EXPLAINED = {
    "engine_problem": (POLICIES, "told of the openssl that testssl.sh runs, which has no GOST; nothing of ours"),
    "cipher_order": (("intermediate",), "the client's order decides, as Mozilla has it: all that is offered is good, and the "
                                        "client knows whether it has AES in hardware"),
    "HSTS": (POLICIES, "what is inside is not read here: its headers are the backend's, and that of the case has none"),
    "security_headers": (POLICIES, "the same"),
    "cert_revocation": (POLICIES, "the case's own CA gives its certificates no CRL and no OCSP responder"),
}
# What testssl.sh finds or not, as it happens: its first connection ends with its input, often before the ticket came, as it does
# with openssl's own server; and the second, which has no ticket to bring, is not made. `tickets` in tls_terminator asks too.
CHANCE = ("sessionresumption_ticket", "WARN", "check failed because of connect problem")
# Severities that are no complaint.
FINE = ("OK", "INFO", "DEBUG")


def judged(net, policy):
    """A listener with an ECDSA and an RSA certificate of one CA, for every name; the daemon, and the file of the root."""
    a, web = terminator(net, policy=policy)
    root = Authority("root")
    issuing = Authority("issuing", root)
    web["certificates"] = []
    for kind in ("ecdsa", "rsa"):
        leaf, key = issuing.issue([WWW, f"*.{WWW}"], kind, days=(-1, 89))
        web["certificates"].append(installed(a, kind, [leaf, issuing.certificate], key))
    # testssl.sh asks for no name here and there.
    web["route"]["rest"] = {"backend": ["127.0.0.1:8080"]}
    a.reload()
    return a, public_file(a, "root.pem", pem(root.certificate))


def sslyze(a, root, policy):
    """(code, what is said of Mozilla's policy of that name)."""
    code, output = a.host.attempt(SSLYZE, f"--mozilla_config={policy}", "--certinfo_ca_file", root, "--sni", WWW, "127.0.0.1:443",
                                  timeout=60)
    return code, output.rpartition("COMPLIANCE AGAINST TLS CONFIGURATION")[2]


def testssl(a, root, *words):
    """The findings: id, severity, words; without what is fine."""
    path = f"{a.folder}/testssl.json"
    code, output = a.host.attempt("testssl", "--quiet", "--color", "0", "--warnings", "off", "-n", "none", "--ip", "127.0.0.1",
                                  "--add-ca", root, "--jsonfile", path, *words, f"{WWW}:443", timeout=500)
    with open(path) as file:
        findings = json.load(file)
    assert len(findings) > 20 and findings[-1]["id"] == "scanTime", f"exit {code}: {output[-800:]}"
    told = [(one["id"].partition(" ")[0], one["severity"], one["finding"]) for one in findings if one["severity"] not in FINE]
    return [one for one in told if one != CHANCE]


def unexplained(findings, policy):
    return [one for one in findings if policy not in EXPLAINED.get(one[0], ((),))[0]]


#   testssl.sh, sslyze ---- 127.0.0.1:443 aditd ---- a backend that speaks HTTP
@case(policy=POLICIES)
def mozilla(net, policy):
    """sslyze finds a listener to be as Mozilla's policy of that name has it, and tells one from the other."""
    a, root = judged(net, policy)
    code, said = sslyze(a, root, policy)
    assert code == 0 and "OK - Compliant" in said, said
    if policy == "intermediate":
        code, said = sslyze(a, root, "modern")
        assert code == 1 and "tls_versions" in said and "tls_curves" not in said, said


@case(policy=POLICIES, limit=120)
def attacks(net, policy):
    """testssl.sh finds no known attack, no old version and nothing without forward secrecy."""
    a, root = judged(net, policy)
    findings = testssl(a, root, *BRIEF)
    assert not unexplained(findings, policy), unexplained(findings, policy)


@case(policy=POLICIES, limit=600, group=SLOW)
def everything(net, policy):
    """All that testssl.sh knows to test finds what is explained, and nothing else."""
    a, root = judged(net, policy)
    findings = testssl(a, root, "--full")
    assert not unexplained(findings, policy), unexplained(findings, policy)
    expected = {name for name, (policies, _) in EXPLAINED.items() if policy in policies}
    assert {name for name, _, _ in findings} == expected, findings
    web = a.status()["tls"]["web"]
    # Most of its connections are hellos of its own making, and no handshake follows.
    assert web["connections"] > 100 and web["full_handshakes"] > 20, web
