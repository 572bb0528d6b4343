"""A system bus of a host's own, and on it what stands for systemd-resolved."""
import json
import os

from lab.etc import own

STUB = "nameserver 127.0.0.53\n"
# Whoever is on this bus may do everything: there is nobody else.
BUS = """<busconfig><type>system</type><listen>{address}</listen><auth>EXTERNAL</auth>
<policy context="default"><allow send_destination="*" eavesdrop="true"/><allow eavesdrop="true"/><allow own="*"/></policy>
</busconfig>
"""


class Resolved:
    """Names of this host are kept by systemd-resolved: by what writes down what it is told. `env` leads to its bus."""

    def __init__(self, host, folder, refuses=None):
        own(host, "resolv.conf", STUB)
        self.host, self.folder, self.log = host, folder, f"{folder}/told"
        self.address = f"unix:path={folder}/bus"
        self.env = {"DBUS_SYSTEM_BUS_ADDRESS": self.address}
        with open(f"{folder}/bus.conf", "w") as file:
            file.write(BUS.format(address=self.address))
        bus = host.start("dbus-daemon", f"--config-file={folder}/bus.conf", "--nofork", "--print-address=1")
        bus.wait_output(r"unix:path", 10)
        here = os.path.dirname(os.path.realpath(__file__))
        words = [self.address, self.log, *([refuses] if refuses else [])]
        # Debian's own Python has Debian's libraries.
        host.start("/usr/bin/python3", "-B", f"{here}/resolved_mock.py", *words).wait_output("ready", 10)

    def told(self):
        """Everything so far: lists of a method, its signature, and what was said."""
        if not os.path.exists(self.log):
            return []
        with open(self.log) as file:
            return [json.loads(line) for line in file]
