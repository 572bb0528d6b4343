"""The implementations that take turns, and what they are exactly."""
import mmap
import os
import shutil

from lab import process
from lab.wireguard import PROGRAMS, ROOT, Missing, program
from measure import ethernet, tls_ends
from measure.ethernet import LINKS
from measure.tls_ends import ENDS

VETH = "veth"
UDPLOAD, CROWD = f"{ROOT}/target/release/udpload", f"{ROOT}/target/release/crowd"
# adit without a cipher: built for this alone, into a folder of its own.
PROGRAMS["adit-null"] = [f"{ROOT}/target/null/release/adit-wireguard", "-f"]
# The released binary, told by its environment to be another: all offloads but the wide cipher, or another cipher.
VARIANTS = {"adit-library": {"ADIT_OFFLOADS": "tun_tso,tun_uso,tun_steering,udp_gso,udp_gro"},
            "adit-gcm": {"ADIT_CIPHER": "aes-256-gcm"}}
# A word that a program has in it which understands that.
UNDERSTOOD = {"adit-library": "wide_cipher", "adit-gcm": "ADIT_CIPHER"}
PROGRAMS.update({name: PROGRAMS["adit"] for name in VARIANTS})
PEERS = ("wireguard-go", "boringtun-cli", "gotatun-cli")
TUNNELS = ("adit", "adit-library", "adit-gcm", *PEERS, "adit-null")
# The cable alone is the ceiling that no tunnel can pass.
ALL = (VETH, *TUNNELS, *LINKS, *ENDS)
# What WireGuard's own handshake and cipher can talk to.
STANDARD = ("adit", "adit-library", *PEERS)
# How each is told its number of threads that carry packets; where there is no word for it, it is as it comes.
WORKERS = {**{name: "ADIT_WORKERS" for name in TUNNELS if name.startswith("adit")}, "wireguard-go": "GOMAXPROCS",
           "boringtun-cli": "WG_THREADS"}


def encrypts(implementation):
    return implementation in TUNNELS and implementation != "adit-null"


def environment(implementation, workers=None):
    """What a device's process has in its environment."""
    words = dict(VARIANTS.get(implementation, {}))
    if workers:
        words[WORKERS[implementation]] = str(workers)
    return words


def knows(binary, word):
    """Whether a program has this word in it. One that does not would be measured under a wrong name."""
    with open(shutil.which(binary), "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        return data.find(word.encode()) >= 0


def require(implementations):
    """Raises Missing, with a sentence that says what to do, if anything is not there."""
    for name in implementations:
        if name == VETH:
            continue
        if name in LINKS:
            ethernet.require(name)
            continue
        if name in ENDS:
            tls_ends.require(name)
            continue
        if name.startswith("adit") and not shutil.which(PROGRAMS[name][0]):
            raise Missing(f"{name}: no program {PROGRAMS[name][0]} (bench/run builds it)")
        binary = program(name)[0]
        if name in UNDERSTOOD and not knows(binary, UNDERSTOOD[name]):
            raise Missing(f"{name}: {binary} does not know {UNDERSTOOD[name]} (leave it out with --only)")
    for tool in (UDPLOAD, CROWD):
        if not shutil.which(tool):
            raise Missing(f"no program {tool} (bench/run builds it)")


def first_line(*command):
    return (process.run(list(command), check=False)[1].strip().splitlines() or ["unknown"])[0]


def versions(implementations):
    """What each program calls itself."""
    found = {name: first_line(program(name)[0], "--version") for name in implementations if name != VETH and name not in (*LINKS, *ENDS)}
    found |= {name: tls_ends.version(name) for name in implementations if name in ENDS}
    return {**found, "iperf3": first_line("iperf3", "--version")}


def commit():
    """The commit that is measured; with "-dirty" if the tree differs from it, None if the binary is not of this tree."""
    if os.environ.get("ADIT_WIREGUARD"):
        return None
    # Under sudo the tree belongs to somebody else, which git refuses unless told.
    words = ["git", "-c", f"safe.directory={ROOT}", "-C", ROOT, "describe", "--always", "--dirty", "--abbrev=12"]
    code, output = process.run(words, check=False)
    return output.strip() if code == 0 else None
