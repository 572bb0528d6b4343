"""adit-wireguard as it is at a revision, built beside this tree.

One tree and one build folder serve all revisions, so that a build begins where the last one ended; the programs are
kept by the hash of what they were built from.

    target/compare/tree            the files of the revision built last, with an index of their own
    target/compare/build           cargo's folder
    target/compare/HASH/           adit-wireguard of that tree
    target/compare/udpload         the load generator of this tree, for all of them
"""
import os
import shutil
import signal
import subprocess
from dataclasses import dataclass

from lab.interrupt import deferred
from lab.wireguard import ROOT

FOLDER = f"{ROOT}/target/compare"
TREE, BUILD, GENERATOR = f"{FOLDER}/tree", f"{FOLDER}/build", f"{FOLDER}/udpload"
PACKAGES = f"{ROOT}/netns-tests/packages.sh"
WORK_TREE = "."


class Unknown(Exception):
    """A name that is no revision, as a sentence."""


class NotBuilt(Exception):
    """A revision that cannot be built, as a sentence."""


@dataclass(frozen=True)
class Revision:
    """A name that was asked for, and the hash of the git tree it stands for."""
    name: str
    tree: str
    title: str

    @property
    def folder(self):
        return f"{FOLDER}/{self.tree[:12]}"

    @property
    def program(self):
        return f"{self.folder}/adit-wireguard"


def run(script, *words, folder=ROOT, quiet=False, **environment):
    """Runs a line of bash; (code, stdout). A signal to us ends it with all it started."""
    with deferred():
        child = subprocess.Popen(["bash", "-c", script, *words], cwd=folder, stdin=subprocess.DEVNULL,
                                 stdout=subprocess.PIPE, stderr=subprocess.DEVNULL if quiet else None, text=True,
                                 env={**os.environ, **environment}, process_group=0)
    try:
        output = child.communicate()[0]
        return child.returncode, output.strip()
    except BaseException:
        os.killpg(child.pid, signal.SIGTERM)
        child.wait()
        raise


def as_user(*words, **options):
    """Runs a program, under sudo as who called it; (code, stdout)."""
    return run('. "$0" && as_user "$@"', PACKAGES, *words, **options)


def git(*words, **environment):
    """Its answer, or None where it refuses."""
    # Under sudo the tree belongs to somebody else, which git refuses unless told.
    code, output = as_user("git", "-c", f"safe.directory={ROOT}", *words, quiet=True, **environment)
    return output if code == 0 else None


def revision(name):
    """What a name stands for: of git, or the work tree with all that git does not ignore."""
    make_folder(FOLDER)
    if name == WORK_TREE:
        tree, title = snapshot(), "the work tree"
        title += f", as {git('describe', '--always', 'HEAD')}" * (tree == git("rev-parse", "HEAD^{tree}"))
        return Revision(name, tree, title)
    tree = git("rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{tree}}")
    if not tree:
        raise Unknown(f"{name}: no commit of this repository has that name")
    return Revision(name, tree, git("log", "-1", "--format=%h %s", "--end-of-options", name) or f"tree {tree[:12]}")


def snapshot():
    """The work tree's hash. Its files go into git's store as those of a commit do; no branch and no index changes."""
    index = {"GIT_INDEX_FILE": f"{FOLDER}/snapshot.index"}
    tree = git("read-tree", "HEAD", **index) is not None and git("add", "--all", **index) is not None
    tree = tree and git("write-tree", **index)
    if not tree:
        raise Unknown(f"{ROOT}: git cannot read the work tree")
    return tree


def make_folder(path):
    if as_user("mkdir", "-p", path)[0]:
        raise NotBuilt(f"{path}: cannot be made")


def check_out(tree):
    """Changes the files that differ, and no others: what cargo has built of them stays good."""
    make_folder(TREE)
    index = {"GIT_INDEX_FILE": f"{FOLDER}/tree.index", "GIT_WORK_TREE": TREE}
    if git("read-tree", "--reset", "-u", tree, **index) is None:
        raise NotBuilt(f"{TREE}: git cannot write the files of {tree}")


def build(found):
    """Builds the program of a revision, unless that compiler has built it before."""
    compiler = as_user("rustc", "--version", folder=ROOT)[1] + os.environ.get("RUSTFLAGS", "")
    stamp = f"{found.folder}/built-by"
    if os.path.exists(found.program) and os.path.exists(stamp):
        with open(stamp) as file:
            if file.read() == compiler:
                return
    print(f"building {found.name}: {found.title}", flush=True)
    check_out(found.tree)
    words = ["cargo", "build", "--release", "--locked", "--target-dir", BUILD, "-p", "adit", "--bin", "adit-wireguard"]
    if as_user(*words, folder=TREE)[0]:
        raise NotBuilt(f"{found.name}: adit-wireguard of it cannot be built: cargo says above why")
    os.makedirs(found.folder, exist_ok=True)
    keep(f"{BUILD}/release/adit-wireguard", found.program)
    with open(stamp, "w") as file:
        file.write(compiler)


def set_up():
    """Installs what measuring needs."""
    if run('"$0" setup >&2', f"{ROOT}/netns-tests/run.sh")[0]:
        raise NotBuilt("what measuring needs is not there: netns-tests/run.sh setup says above why")


def build_generator():
    """udpload of this tree, which both are measured with. Its copy stays as it is when the tree is built meanwhile."""
    if as_user("cargo", "build", "--release", "--locked", "-p", "adit-bench", "--bin", "udpload")[0]:
        raise NotBuilt("udpload of this tree cannot be built: cargo says above why")
    keep(f"{ROOT}/target/release/udpload", GENERATOR)


def keep(built, path):
    """Copies a program in one step: what is interrupted leaves the old one."""
    shutil.copy2(built, f"{path}.new")
    os.replace(f"{path}.new", path)
