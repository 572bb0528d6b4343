"""`[macsec.NAME]` of a daemon's configuration, as a dict: the one place that knows its spelling."""
import glob

from lab import link_secy as secy
from lab.wireguard import keys, preshared_key

PORT = 4790
# The counters of IEEE 802.1AE-2018, clauses 10.5 to 10.7.
NAMES = """OutPktsUntagged OutPktsTooLong InPktsUntagged InPktsNoTag InPktsBadTag InPktsUnknownSCI InPktsNoSCI InPktsOverrun
InPktsUnchecked InPktsDelayed InPktsOK InPktsInvalid InPktsLate InPktsNotValid InPktsNotUsingSA InPktsUnusedSA
InOctetsValidated InOctetsDecrypted OutPktsProtected OutPktsEncrypted OutOctetsProtected OutOctetsEncrypted""".split()


def association(daemon, name, one):
    """The table of one association; its key goes to a file."""
    table = {"key_file": daemon.secret(f"{name}.key", one.key.hex())}
    if one.salt is not None:
        table.update(ssci=one.ssci, salt=one.salt.hex())
    return table


def static(daemon, name, suite, transmit, peer_sci, peer):
    """Static keys: what is sent under `transmit`, and the associations of `peer_sci` by their ANs."""
    return {
        "cipher": suite, "keys": "static", "allow_static": True,
        "transmit": {"an": transmit.an, **association(daemon, f"{name}-transmit", transmit)},
        "receive": {"other": {"sci": secy.sci_text(peer_sci), "sa": {
            str(an): association(daemon, f"{name}-receive-{an}", one) for an, one in peer.items()}}},
    }


def noise(daemons, name, suite=None, psk=True):
    """Keys that two daemons agree on: a table for each."""
    pairs, shared = [keys() for _ in daemons], preshared_key()
    tables = []
    for daemon, own, other in zip(daemons, pairs, reversed(pairs)):
        table = {"keys": "noise", "private_key_file": daemon.secret(f"{name}.key", own.private),
                 "peer_public_key": other.public}
        table.update({"cipher": suite} if suite else {})
        table.update({"preshared_key_file": daemon.secret(f"{name}.psk", shared)} if psk else {})
        tables.append(table)
    return tables


def put(daemon, name, table):
    """Puts a link to the daemon's configuration."""
    daemon.config.setdefault("macsec", {})[name] = table
    return table


def set_numbers(daemon, number):
    """Has a daemon that is stopped begin at this packet number under every static key that it has used."""
    paths = [path for path in glob.glob(f"{daemon.state}/**/packet-numbers/*", recursive=True)
             if not path.endswith(".received")]
    assert paths, f"no packet numbers are kept in {daemon.state}"
    for path in paths:
        with open(path, "w") as file:
            file.write(f"{number}\n")


def told(daemon, name):
    """What the status has of a link."""
    return daemon.status()["macsec"][name]


def counters(daemon, name):
    """All counters of a link by the standard's names: those of the SecY, and of each channel, summed."""
    link, found = told(daemon, name), Counted()
    for part in (link, link["transmit"], *link["receive"]):
        for counter, value in part["counters"].items():
            found[counter] = found[counter] + value
    return found


class Counted(dict):
    """Counters by the standard's names. One that was never told of is 0, but it has to be one of the standard's."""

    def __missing__(self, name):
        assert name in NAMES, f"{name} is no counter of IEEE 802.1AE"
        return 0
