"""Files of /etc that one host alone sees: `ip netns exec` lays them over the machine's."""
import os
import shutil


def own(host, name, text):
    """Gives a host an /etc/NAME of its own; the path of what it is written in."""
    folder = f"/etc/netns/{host.netns}"
    if not os.path.isdir(folder):
        os.makedirs(folder)
        host.net.stack.callback(shutil.rmtree, folder, ignore_errors=True)
    with open(f"{folder}/{name}", "w") as file:
        file.write(text)
    return f"{folder}/{name}"
