"""The implementations that take turns, and what they are exactly."""
import os
import shutil

from lab import process
from lab.wireguard import PROGRAMS, ROOT, Missing, program

VETH = "veth"
UDPLOAD = f"{ROOT}/target/release/udpload"
# adit without a cipher: built for this alone, into a folder of its own.
PROGRAMS["adit-null"] = [f"{ROOT}/target/null/release/adit-wireguard", "-f"]
TUNNELS = ("adit", "wireguard-go", "boringtun-cli", "gotatun-cli", "adit-null")
# The cable alone is the ceiling that no tunnel can pass.
ALL = (VETH, *TUNNELS)


def encrypts(implementation):
    return implementation in TUNNELS and implementation != "adit-null"


def require(implementations):
    """Raises Missing, with a sentence that says what to do, if anything is not there."""
    for name in implementations:
        if name == VETH:
            continue
        if name.startswith("adit") and not shutil.which(PROGRAMS[name][0]):
            raise Missing(f"{name}: no program {PROGRAMS[name][0]} (bench/run builds it)")
        program(name)
    if not shutil.which(UDPLOAD):
        raise Missing(f"no program {UDPLOAD} (bench/run builds it)")


def first_line(*command):
    return (process.run(list(command), check=False)[1].strip().splitlines() or ["unknown"])[0]


def versions(implementations):
    """What each program calls itself."""
    found = {name: first_line(program(name)[0], "--version") for name in implementations if name != VETH}
    return {**found, "iperf3": first_line("iperf3", "--version")}


def commit():
    """The commit that is measured; with "-dirty" if the tree differs from it, None if the binary is not of this tree."""
    if os.environ.get("ADIT_WIREGUARD"):
        return None
    # Under sudo the tree belongs to somebody else, which git refuses unless told.
    words = ["git", "-c", f"safe.directory={ROOT}", "-C", ROOT, "describe", "--always", "--dirty", "--abbrev=12"]
    code, output = process.run(words, check=False)
    return output.strip() if code == 0 else None
