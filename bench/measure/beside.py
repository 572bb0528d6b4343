"""More namespaces for a turn that has two topologies, at once or in turn."""
import os

from lab import process
from lab.namespace import Net


class Beside(Net):
    """Namespaces of the same test under names that are free. What is left of them when they are left, the test removes."""

    def __init__(self, net, tag):
        super().__init__(f"{net.folder}/{tag}")
        self.prefix, self.tag = f"adit{os.getpid()}-{tag}-", tag

    def __exit__(self, *_):
        self.stack.close()
        for host in self.hosts.values():
            process.run(["ip", "netns", "del", host.netns], check=False)

    def device(self, tag):
        return super().device(f"{self.tag}{tag}")
