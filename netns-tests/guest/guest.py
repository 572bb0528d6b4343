#!/usr/bin/env python3
"""A stock Debian kernel in QEMU as the other side of a test, and commands run in it.

    with Guest(folder, ["tap:t0"]) as guest:
        code, output = guest.run("ip macsec show", timeout=10)

By hand, to look around:  guest.py --nic tap:t0 'ip link; wg --version'
A nic is tap:NAME, a tap of the current network namespace (made when absent, then removed at the end), or
dgram:LOCAL,REMOTE: raw frames over two unix socket paths, which needs no privilege.
Emulation only (no KVM): a boot takes 2 s. Every wait is bounded, and QEMU itself ends after `life` seconds.
"""
import argparse
import base64
import ctypes
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
CACHE = os.environ.get("ADIT_GUEST_CACHE") or os.path.join(HERE, "../../target/guest")
LIBC = ctypes.CDLL(None)
PR_SET_PDEATHSIG = 1
# q35 with the TSC called reliable: microvm is faster, but hangs at boot now and then when the host is busy. The check of the timer
# counts ticks in a short time: where the host is busy it finds the timer broken, and the clock of what it takes instead jumps.
COMMAND_LINE = ("quiet console=ttyS0 panic=-1 cryptomgr.notests=1 mitigations=off nokaslr tsc=reliable no_timer_check "
                "net.ifnames=0")
# Real checksums and wire sizes in captures, so all offloads of virtio-net are off.
NO_OFFLOADS = "".join(f",{flag}=off" for flag in (
    "csum gso guest_csum guest_tso4 guest_tso6 guest_ufo guest_ecn host_tso4 host_tso6 host_ufo host_ecn".split()))


class GuestError(Exception):
    """The guest did not start, did not answer in time, or a command in it failed."""


class Guest:
    """One QEMU. `prefix` goes in front of its command line, e.g. to enter a network namespace."""

    def __init__(self, folder, nics, prefix=(), cache=CACHE, memory=256, life=600):
        self.folder, self.nics, self.prefix, self.cache = folder, list(nics), list(prefix), cache
        self.memory, self.life = memory, life
        self.process, self.port, self.buffer, self.count, self.taps = None, None, b"", 0, []

    def start(self, tries=3, limit=25):
        """Boots; `limit` is seconds for each try. A boot that hangs is tried again."""
        if not os.path.exists(f"{self.cache}/kernel"):
            raise GuestError(f"no kernel in {self.cache}: run netns-tests/guest/build.sh")
        while True:
            tries -= 1
            try:
                self.launch()
                self.connect(time.monotonic() + limit)
                return self
            except BaseException as error:
                self.stop()
                if not isinstance(error, GuestError) or tries == 0 or "in time" not in str(error):
                    raise

    def launch(self):
        os.makedirs(self.folder, exist_ok=True)
        command = [*self.prefix, "timeout", "-k", "5", str(self.life), "qemu-system-x86_64", "-M", "q35",
                   "-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "1", "-m", str(self.memory), "-nodefaults",
                   "-no-user-config", "-display", "none", "-no-reboot", "-append", COMMAND_LINE,
                   "-kernel", f"{self.cache}/kernel", "-initrd", f"{self.cache}/initramfs",
                   "-serial", f"file:{self.folder}/console",
                   "-chardev", f"socket,id=agent,path={self.folder}/agent,server=on,wait=off",
                   "-device", "virtio-serial-pci", "-device", "virtserialport,chardev=agent,name=agent"]
        for number, nic in enumerate(self.nics):
            command += self.nic(number, nic)
        parent = os.getpid()

        def dies_with_us():
            LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
            if os.getppid() != parent:
                os._exit(1)

        with open(f"{self.folder}/qemu.log", "wb") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                            start_new_session=True, preexec_fn=dies_with_us)

    def nic(self, number, nic):
        kind, _, name = nic.partition(":")
        if kind == "tap":
            here = [*self.prefix, "ip"]
            if subprocess.run([*here, "link", "show", name], capture_output=True, timeout=10).returncode:
                subprocess.run([*here, "tuntap", "add", "dev", name, "mode", "tap"], check=True, timeout=10)
                self.taps.append(name)
            subprocess.run([*here, "link", "set", name, "up"], check=True, timeout=10)
            backend = f"tap,id=n{number},ifname={name},script=no,downscript=no"
        elif kind == "dgram":
            local, remote = name.split(",")
            backend = f"dgram,id=n{number},local.type=unix,local.path={local},remote.type=unix,remote.path={remote}"
        else:
            raise GuestError(f"nic {nic}: neither tap:NAME nor dgram:LOCAL,REMOTE")
        mac = f"52:54:00:00:00:{number + 1:02x}"
        return ["-netdev", backend, "-device",
                f"virtio-net-pci,netdev=n{number},mac={mac},status=off,romfile={NO_OFFLOADS}"]

    def connect(self, deadline):
        while self.port is None:
            port = socket.socket(socket.AF_UNIX)
            try:
                port.connect(f"{self.folder}/agent")
                self.port = port
            except OSError:
                port.close()
                self.check(deadline)
                time.sleep(0.02)
        self.answer(b"ready", deadline)

    def check(self, deadline):
        if self.process.poll() is not None:
            raise GuestError(f"QEMU ended: {self.read('qemu.log')[-600:]} {self.read('console')[-400:]}")
        if time.monotonic() > deadline:
            raise GuestError(f"the guest gave no answer in time; console: {self.read('console')[-400:]}")

    def answer(self, ident, deadline):
        """(code, output) of the answer with this id; answers to requests given up on are passed over."""
        while True:
            while b"\n" in self.buffer:
                line, self.buffer = self.buffer.split(b"\n", 1)
                words = line.split()
                if len(words) >= 2 and words[0] == ident:
                    return int(words[1]), base64.b64decode(words[2] if len(words) > 2 else b"")
            self.check(deadline)
            self.port.settimeout(0.5)
            try:
                data = self.port.recv(1 << 16)
            except TimeoutError:
                continue
            if not data:
                raise GuestError(f"the agent is gone; console: {self.read('console')[-400:]}")
            self.buffer += data

    def read(self, name):
        try:
            with open(f"{self.folder}/{name}", errors="replace") as file:
                return file.read()
        except OSError:
            return ""

    def run(self, command, timeout=20):
        """Runs a shell command; (exit code, output). 137: it ran past `timeout` seconds."""
        self.count += 1
        ident = b"%d" % self.count
        self.port.settimeout(10)
        self.port.sendall(b"%s %d %s\n" % (ident, max(1, int(timeout)), base64.b64encode(command.encode())))
        code, output = self.answer(ident, time.monotonic() + timeout + 10)
        return code, output.decode(errors="replace")

    def sh(self, command, timeout=20):
        """Like run, but a code other than 0 is an error; returns the output."""
        code, output = self.run(command, timeout)
        if code:
            raise GuestError(f"in the guest: {command}: exit {code}: {output[-800:]}")
        return output

    def stop(self):
        """Ends QEMU, by its pid, and takes back what was made for it."""
        if self.port:
            self.port.close()
            self.port, self.buffer = None, b""
        if self.process:
            for step in (self.process.terminate, self.process.kill):
                step()
                try:
                    self.process.wait(5)
                    break
                except subprocess.TimeoutExpired:
                    continue
            self.process = None
        for name in self.taps:
            subprocess.run([*self.prefix, "ip", "link", "del", name], timeout=10, stderr=subprocess.DEVNULL)
        self.taps = []

    __enter__ = start

    def __exit__(self, *_):
        self.stop()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nic", action="append", default=[], help="tap:NAME or dgram:LOCAL,REMOTE; may be repeated")
    parser.add_argument("--timeout", type=int, default=60, help="seconds for the command")
    parser.add_argument("command", nargs="+")
    wanted = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="adit-guest.") as folder:
        try:
            with Guest(folder, wanted.nic) as guest:
                code, output = guest.run(" ".join(wanted.command), wanted.timeout)
        except GuestError as error:
            print("guest.py:", error, file=sys.stderr)
            return 125
    sys.stdout.write(output)
    return code


if __name__ == "__main__":
    sys.exit(main())
