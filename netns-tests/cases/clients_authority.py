"""Whose certificates let clients in: our authority under root's hands, and one that a company has already."""
import os

from cases.clients_access import SERVER, cut_off, word
from lab.case import case
from lab.clients import Client, Office
from lab.corporate import Corporate
from lab.traffic import reaches
from lab.wait import until


UNREADABLE = "no certificate of a client lets anybody in"


def is_warned(office):
    """Whether the status says that certificates let nobody in."""
    return UNREADABLE in "\n".join(office.daemon.status()["clients"][office.tunnel]["warnings"])


#   client, by curl and wg ---- gateway: aditd as nobody, its folder kept by root
@case(limit=60)
def list_that_cannot_be_read(net):
    """What root revokes, the daemon can read; a list that it cannot lets no certificate in, and the status says so."""
    office = Office(net)
    office.issue("bob")
    office.issue("eve")
    office.start()
    client, crl = Client(office), f"{office.pki}/crl.pem"
    assert client.enrol(certificate="bob")[0] == 200
    client.up()
    before = os.stat(crl)
    office.aditctl("revoke", "eve")
    after = os.stat(crl)
    assert before.st_ino != after.st_ino and (before.st_uid, before.st_mode) == (after.st_uid, after.st_mode), after
    eve = Client(office, "d")
    until(lambda: eve.enrol(certificate="eve")[0] == 403, 10, "the revocation of eve")
    assert word(eve.enrol(certificate="eve")) == (403, "certificate_revoked")
    os.chown(crl, 0, 0)
    until(lambda: is_warned(office), 10, "the warning")
    assert word(client.enrol(certificate="bob")) == (503, "revocation_unknown")
    assert reaches(office.outside, SERVER), "whoever has a lease has it until it ends"
    assert Client(office, "e").enrol(office.invite("guest"))[0] == 200, "a token needs no list"
    os.chown(crl, before.st_uid, before.st_gid)
    until(lambda: not is_warned(office), 10, "the end of the warning")
    assert client.enrol(certificate="bob")[0] == 200


#   client, by curl and wg ---- gateway: aditd with the company's root and lists
@case(limit=60, kind=("rsa", "ec"))
def corporate(net, kind):
    """A company's authority, by openssl: people are known by their addresses; its lists, and its intermediate's, end leases."""
    office = Office(net)
    company = Corporate(office.secret_folder(), kind)
    del office.table["pki"]
    office.table.update(authorities_file=f"{company.folder}/root.pem", revocation_files=company.files, identity="email")
    for name, names in (("bob", "email:bob@example.org"), ("carol", "email:carol@example.org"),
                        ("two", "email:a@example.org, email:b@example.org"), ("none", "DNS:host.example.org")):
        company.person(f"{office.folder}/{name}", f"{name.title()} Example", names)
    office.start()
    bob, carol = Client(office), Client(office, "d")
    for client, name in ((bob, "bob"), (carol, "carol")):
        status, answer = client.enrol(certificate=name)
        assert (status, answer.get("identity")) == (200, f"{name}@example.org"), answer
    for name in ("two", "none"):
        status, answer = Client(office, "e").enrol(certificate=name)
        assert (status, answer["error"]) == (403, "certificate_name") and "e-mail address" in answer["message"], answer
    bob.up()
    assert reaches(office.outside, SERVER)
    # Both authorities gave the number 1000: the root to the intermediate, that to bob.
    company.below.revoke(f"{office.folder}/carol")
    company.lists()
    cut_off(office, carol)
    assert word(carol.enrol(certificate="carol")) == (403, "certificate_revoked")
    assert reaches(office.outside, SERVER)
    company.above.revoke(f"{company.below.folder}/ca")
    company.lists()
    cut_off(office, bob)
    assert word(bob.enrol(certificate="bob")) == (403, "certificate_revoked")
    refused = [line["detail"] for line in office.daemon.audit() if line["what"] == "client_refused"]
    assert any("certificate of bob@example.org: certificate_revoked" in line for line in refused), refused
