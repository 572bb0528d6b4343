#!/usr/bin/env python3
"""Makes the guest's initramfs from unpacked packages: mkinitramfs.py STAGE ROOT OUTPUT.

STAGE is a tree of unpacked packages with one kernel, ROOT is made, OUTPUT is the cpio archive. Written without
initramfs-tools so that nothing of the host's own configuration gets in, and so that no root is needed.
"""
import os
import re
import shutil
import stat
import struct
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
LIBRARIES = ("lib/x86_64-linux-gnu", "usr/lib/x86_64-linux-gnu", "lib", "usr/lib", "lib64")
KMOD_NAMES = ("modprobe", "depmod", "lsmod", "insmod", "rmmod", "modinfo")
FILES = {
    "etc/passwd": "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534::/:/bin/false\n",
    "etc/group": "root:x:0:\nnogroup:x:65534:\n",
    "etc/hosts": "127.0.0.1 localhost\n::1 localhost\n",
    "etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files\n",
    "etc/protocols": "ip 0 IP\nicmp 1 ICMP\ntcp 6 TCP\nudp 17 UDP\nipv6-icmp 58 IPv6-ICMP\n",
}


def listed(name):
    """The entries of one of the plain lists beside this file."""
    with open(f"{HERE}/{name}") as lines:
        return [line.strip() for line in lines if line.strip() and not line.startswith("#")]


def needed(path):
    """Names of the loader and the libraries an ELF file asks for (PT_INTERP, DT_NEEDED)."""
    with open(path, "rb") as file:
        data = file.read()
    if data[:4] != b"\x7fELF":
        return []
    table, = struct.unpack_from("<Q", data, 32)
    size, count = struct.unpack_from("<HH", data, 54)
    segments = [struct.unpack_from("<IIQQQQQQ", data, table + n * size) for n in range(count)]
    names, strings, wanted = [], None, []
    for kind, _, offset, _, _, length, _, _ in segments:
        if kind == 3:
            names.append(os.path.basename(data[offset:offset + length].rstrip(b"\0").decode()))
        if kind == 2:
            for at in range(offset, offset + length, 16):
                tag, value = struct.unpack_from("<QQ", data, at)
                if tag == 1:
                    wanted.append(value)
                if tag == 5:
                    strings = value
    for kind, _, offset, address, _, length, _, _ in segments:
        if strings is not None and kind == 1 and address <= strings < address + length:
            base = strings - address + offset
            names += [data[base + at:data.index(b"\0", base + at)].decode() for at in wanted]
    return names


class Root:
    """The guest's root folder while it is put together."""

    def __init__(self, stage, root):
        self.stage, self.root, self.have, self.modules = stage, root, set(), set()
        for folder in "bin sbin usr/bin usr/sbin lib lib64 proc sys dev run tmp etc var/run root".split():
            os.makedirs(f"{root}/{folder}", exist_ok=True)

    def add(self, path, place=None):
        """Copies a program or library, then the libraries it needs."""
        place = place or path
        if place in self.have:
            return
        self.have.add(place)
        source = os.path.realpath(f"{self.stage}/{path}")
        if not os.path.exists(source):
            sys.exit(f"guest: no {path} in the packages")
        self.copy(source, place, 0o755)
        for name in needed(source):
            folder = next((f for f in LIBRARIES if os.path.exists(f"{self.stage}/{f}/{name}")), None)
            if folder is None:
                sys.exit(f"guest: {path} needs {name}, which no package has")
            home = "lib64" if name.startswith("ld-linux") else "lib/x86_64-linux-gnu"
            self.add(f"{folder}/{name}", f"{home}/{name}")

    def copy(self, source, place, mode):
        target = f"{self.root}/{place}"
        os.makedirs(os.path.dirname(target), exist_ok=True)
        shutil.copyfile(source, target)
        os.chmod(target, mode)

    def add_names(self):
        """Busybox under every name that no real program has, and kmod under its own names."""
        listing = subprocess.run([f"{self.root}/bin/busybox", "--list"], stdout=subprocess.PIPE, check=True, text=True)
        taken = {os.path.basename(path) for path in self.have} | {"sh", *KMOD_NAMES}
        for applet in set(listing.stdout.split()) - taken:
            os.symlink("/bin/busybox", f"{self.root}/bin/{applet}")
        os.symlink("/bin/dash", f"{self.root}/bin/sh")
        for name in KMOD_NAMES:
            os.symlink("/bin/kmod", f"{self.root}/sbin/{name}")

    def add_modules(self):
        """The listed kernel modules with all they depend on, and the index modprobe reads."""
        release, = os.listdir(f"{self.stage}/lib/modules")
        folder = f"lib/modules/{release}"
        files = {}
        for place, _, names in os.walk(f"{self.stage}/{folder}"):
            for name in names:
                if ".ko" in name:
                    files[name.split(".ko")[0].replace("-", "_")] = os.path.relpath(f"{place}/{name}", self.stage)
        with open(f"{self.stage}/{folder}/modules.builtin") as lines:
            builtin = {os.path.basename(line.strip())[:-3].replace("-", "_") for line in lines}

        def take(name, must):
            name = name.replace("-", "_")
            if name in self.modules or name in builtin:
                return
            if name not in files:
                if must:
                    sys.exit(f"guest: the kernel has no module {name}")
                return
            self.modules.add(name)
            self.copy(f"{self.stage}/{files[name]}", files[name], 0o644)
            with open(f"{self.stage}/{files[name]}", "rb") as file:
                data = file.read()
            for found in re.findall(rb"\0depends=([^\0]*)\0", data):
                for name in filter(None, found.decode().split(",")):
                    take(name, True)
            for found in re.findall(rb"\0softdep=(?:pre|post): ([^\0]*)\0", data):
                for name in found.decode().replace("post:", " ").replace("pre:", " ").split():
                    take(name, False)

        for name in listed("modules"):
            take(name, True)
        # Ciphers are asked for by name at run time, which no dependency shows.
        for name, path in files.items():
            if re.search(r"kernel/(crypto|arch/x86/crypto)/[^/]*$", path):
                take(name, False)
        for name in ("modules.builtin", "modules.builtin.modinfo", "modules.order"):
            self.copy(f"{self.stage}/{folder}/{name}", f"{folder}/{name}", 0o644)
        self.depmod(release)

    def depmod(self, release):
        # kmod decides by its argv[0]; it is run by the packages' own loader, the host may have another libc.
        loader = os.path.realpath(f"{self.stage}/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2")
        libraries = ":".join(f"{self.stage}/{folder}" for folder in LIBRARIES[:2])
        subprocess.run([loader, "--argv0", "depmod", "--library-path", libraries, f"{self.stage}/bin/kmod",
                        "-b", self.root, release], check=True)

    def add_files(self):
        self.copy(f"{HERE}/init", "init", 0o755)
        self.copy(f"{HERE}/agent", "sbin/agent", 0o755)
        for path, text in FILES.items():
            with open(f"{self.root}/{path}", "w") as file:
                file.write(text)


def cpio(root, output):
    """Writes the tree as a newc archive, uncompressed: unpacking is then a copy. Device nodes need no root this way."""
    number = 0
    with open(output, "wb") as archive:
        def put(name, mode, data=b"", device=(0, 0)):
            nonlocal number
            number += 1
            text = name.encode() + b"\0"
            fields = (number, mode, 0, 0, 1, 0, len(data), 0, 0, *device, len(text), 0)
            head = b"070701" + "".join(f"{field:08X}" for field in fields).encode() + text
            archive.write(head + b"\0" * (-len(head) % 4) + data + b"\0" * (-len(data) % 4))

        for place, folders, names in os.walk(root):
            folders.sort()
            if place != root:
                put(os.path.relpath(place, root), stat.S_IFDIR | 0o755)
            for name in sorted(names + [f for f in folders if os.path.islink(f"{place}/{f}")]):
                path = f"{place}/{name}"
                inside = os.path.relpath(path, root)
                if os.path.islink(path):
                    put(inside, stat.S_IFLNK | 0o777, os.readlink(path).encode())
                    continue
                with open(path, "rb") as file:
                    put(inside, stat.S_IFREG | stat.S_IMODE(os.stat(path).st_mode), file.read())
        put("dev/console", stat.S_IFCHR | 0o600, device=(5, 1))
        put("dev/null", stat.S_IFCHR | 0o666, device=(1, 3))
        put("TRAILER!!!", 0)


def main():
    stage, folder, output = sys.argv[1:4]
    root = Root(stage, folder)
    for path in listed("binaries"):
        root.add(path)
    root.add_names()
    root.add_modules()
    root.add_files()
    cpio(folder, output)
    print(f"guest: {len(root.modules)} modules, {len(root.have)} programs and libraries")


if __name__ == "__main__":
    main()
