"""Profiles that the gateway issues, in the hands of unmodified programs."""
import os

from cases.clients_access import SERVER
from cases.clients_pools import SERVER_V6
from lab.case import case
from lab.clients import Office
from lab.guesthost import GuestHost
from lab.traffic import ping
from lab.wireguard import program

BOTH = {"pool": ["10.9.0.0/24", "fd09::/64"], "routes": ["10.20.0.0/24", "fd20::/64"]}


def profile(office, name, *words):
    """What `aditctl client profile` prints for the device."""
    code, output = office.daemon.ctl("client", "profile", name, *words)
    assert code == 0, output
    return "".join(line for line in output.splitlines(True) if not line.startswith("its lease ends"))


def carries(office, host):
    """Whether a host reaches the server in both families, and the gateway knows it."""
    assert ping(host, SERVER) == 3 and ping(host, SERVER_V6) == 3
    peers = office.daemon.status()["wireguard"][office.tunnel]["peers"]
    assert [peer["name"] for peer in peers if peer["latest_handshake"]] == ["phone"], peers


#   client: wg-quick, wireguard-go ---- gateway: aditd ---- server
@case(limit=60)
def wg_quick(net):
    """A profile is used by unmodified wg-quick with Debian's wireguard-go, both families; removing it cuts the device off."""
    office = Office(net, **BOTH).start()
    path = f"{net.folder}/{net.device('p')}.conf"
    with open(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600), "w") as file:
        file.write(profile(office, "phone", "--generate-key"))
    goes = {"WG_QUICK_USERSPACE_IMPLEMENTATION": program("wireguard-go")[0]}
    output = office.outside.run("wg-quick", "up", path, env=goes)
    assert "wireguard-go" in output, f"wg-quick used the kernel's WireGuard: {output}"
    carries(office, office.outside)
    assert office.daemon.ctl("client", "remove", "phone")[0] == 0
    assert ping(office.outside, SERVER, wait=1) == 0
    office.outside.run("wg-quick", "down", path, env=goes)


#   guest: wg-quick, the kernel's WireGuard ---- gateway: aditd ---- server
@case(limit=90)
def kernel(net):
    """A profile is used by unmodified wg-quick with the kernel's own WireGuard; its private key never leaves the device."""
    office = Office(net, **BOTH).start()
    guest = GuestHost(net, "phone", office.host, "phone")
    office.host.address("phone", "192.0.3.1/24")
    guest.address("eth0", "192.0.3.9/24")
    guest.ip("route add 192.0.2.0/24 via 192.0.3.1")
    guest.shell("umask 077; wg genkey > /run/key")
    text = profile(office, "phone", "--public-key", guest.shell("wg pubkey < /run/key").strip())
    guest.run("sh", "-c", "umask 077; mkdir -p /etc/wireguard; cat > /run/profile", data=text)
    guest.shell("umask 077; sed \"s|^PrivateKey = .*|PrivateKey = $(cat /run/key)|\" /run/profile > /etc/wireguard/wg0.conf")
    guest.shell("wg-quick up wg0")
    carries(office, guest)
    assert office.daemon.ctl("client", "remove", "phone")[0] == 0
    assert ping(guest, SERVER, wait=1) == 0
    guest.shell("wg-quick down wg0")
