"""The QEMU guest, with the same verbs as a Host, so that a kernel device is one more peer."""
import base64
import shlex

from guest.guest import Guest
from lab.process import Failed
from lab.wait import until


class GuestProcess:
    """A program in the background of the guest."""

    def __init__(self, host, command):
        self.host, self.log = host, f"/run/program{host.next()}.log"
        self.pid = int(host.shell(f"setsid {shlex.join(command)} > {self.log} 2>&1 & echo $!"))

    def alive(self):
        return self.host.guest.run(f"kill -0 {self.pid}")[0] == 0

    def output(self):
        return self.host.shell(f"cat {self.log}")

    def wait_output(self, pattern, seconds):
        until(lambda: self.host.guest.run(f"grep -qE {shlex.quote(pattern)} {self.log}")[0] == 0, seconds, pattern)

    def stop(self):
        self.host.guest.run(f"kill {self.pid}")


class GuestHost:
    """A machine with the stock kernel, wired to a tap in the namespace of `host`. Its link is eth0."""

    def __init__(self, net, name, host, tap):
        self.net, self.name, self.count = net, name, 0
        self.guest = Guest(f"{net.folder}/{name}", [f"tap:{tap}"], prefix=host.argv())
        net.stack.callback(self.guest.stop)
        self.guest.start()

    def next(self):
        self.count += 1
        return self.count

    def shell(self, text, timeout=20):
        code, output = self.guest.run(text, timeout)
        if code:
            raise Failed(f"guest: {text}: exit {code}: {output.strip()[-800:]}")
        return output

    def attempt(self, *command, data=None, timeout=20, env=None):
        text = shlex.join(map(str, command))
        if data is not None:
            text = f"echo {base64.b64encode(data.encode()).decode()} | base64 -d | {text}"
        return self.guest.run(text, timeout)

    def run(self, *command, data=None, timeout=20, env=None):
        code, output = self.attempt(*command, data=data, timeout=timeout)
        if code:
            raise Failed(f"guest: {' '.join(map(str, command))}: exit {code}: {output.strip()[-800:]}")
        return output

    def start(self, *command, env=None):
        return GuestProcess(self, list(map(str, command)))

    def ip(self, words):
        return self.run("ip", *words.split())

    def address(self, link, *addresses):
        for address in addresses:
            self.ip(f"address add {address} dev {link}" + (" nodad" if ":" in address else ""))
