"""Traffic and what became of it: ping, iperf3, and numbered datagrams."""
import json
import re
import socket
import struct
import threading
import time
from dataclasses import dataclass

from lab.guesthost import GuestHost

PORT = 5201


def ping(host, address, count=3, size=56, interval=0.02, fragment=True, source=None, wait=2):
    """Sends echo requests; how many were answered, each within `wait` seconds. `source` is an address or a device.

    Of fping: ping itself waits no longer than two round trips for the last answer once it has had one, which beside other
    cases is too short.
    """
    words = ["fping", "-q", "-c", count, "-p", max(1, round(interval * 1000)), "-t", round(wait * 1000), "-b", size]
    words += [] if fragment else ["-M"]
    words += ["-S" if "." in source or ":" in source else "-I", source] if source else []
    limit = count * interval + wait + 10
    _, output = host.attempt(*words, address, timeout=limit)
    found = re.search(r"xmt/rcv/%loss = \d+/(\d+)/", output)
    return int(found[1]) if found else 0


def reaches(host, address, seconds=5):
    """Whether one echo is answered within the time; asks anew every 0.2 s. The seconds it took, or None."""
    start = time.monotonic()
    words = ["ping", "-n", "-q", "-c", 1, "-i", 0.2, "-w", max(1, round(seconds)), address]
    code, _ = host.attempt(*words, timeout=seconds + 10)
    return time.monotonic() - start if code == 0 else None


@dataclass
class Flow:
    """What iperf3 measured at the receiver. `least` is the bytes of the stream that got least."""
    bytes: int
    bits_per_second: float
    seconds: float
    lost: int
    packets: int
    retransmits: int
    least: int


def iperf3(client, server, address, udp=False, reverse=False, seconds=None, size="8M", rate="50M", length=None,
           both=False, streams=1):
    """One flow from client to server (or back with `reverse`), for `seconds` or until `size` bytes are sent.

    With `both` one in each direction at once, counted together.

    iperf3 stops its receiver when the sender has given the last byte to its socket, so what is in both sockets' buffers
    then is not counted. With `size` they are therefore narrow: no more than 512 KiB can be missing.
    """
    listener = server.start("iperf3", "-s", "-1", "-p", PORT, "--forceflush")
    listener.wait_output("Server listening", 10)
    words = ["iperf3", "-c", address, "-p", PORT, "-J", "--connect-timeout", 4000]
    words += ["-t", seconds] if seconds else ["-n", size]
    words += ["-u", "-b", rate] if udp else []
    words += ["-w", "128K"] if not udp and not seconds else []
    words += ["-l", length] if length else []
    words += ["-R"] if reverse else []
    words += ["--bidir"] if both else []
    words += ["-P", streams] if streams > 1 else []
    try:
        code, output = client.attempt(*words, timeout=(seconds or 0) + 25)
    finally:
        listener.stop()
    try:
        report = json.loads(output[output.index("{"):])
    except ValueError:
        raise AssertionError(f"iperf3 to {address}: exit {code}: {output[-300:]}") from None
    assert "error" not in report, f"iperf3 to {address}: {report['error']}"
    end = report["end"]
    got, counted = end["sum_received"], end["sum"] if udp else {}
    back = end["sum_received_bidir_reverse"] if both else {"bytes": 0, "bits_per_second": 0}
    least = 0 if udp else min(stream["receiver"]["bytes"] for stream in end["streams"])
    return Flow(got["bytes"] + back["bytes"], got["bits_per_second"] + back["bits_per_second"], got["seconds"],
                counted.get("lost_packets", 0), counted.get("packets", 0), end["sum_sent"].get("retransmits", 0), least)


class Sequence:
    """Numbered UDP datagrams from one host to another, sent at a steady pace until stopped.

    The receiver keeps every number in the order it came, so loss, copies, order and gaps in time can be told.
    """

    def __init__(self, sender, receiver, address, port=7000, pace=0.005, size=100):
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self.target, self.pace, self.size = (address, port), pace, size
        self.inlet = receiver.socket(family, socket.SOCK_DGRAM)
        self.inlet.bind(("::" if ":" in address else "0.0.0.0", port))
        self.inlet.settimeout(0.1)
        self.outlet = sender.socket(family, socket.SOCK_DGRAM)
        self.sent, self.arrived, self.sending, self.receiving = 0, [], True, True
        self.threads = [threading.Thread(target=work, daemon=True) for work in (self.receive, self.send)]
        for thread in self.threads:
            thread.start()

    def send(self):
        while self.sending:
            try:
                self.outlet.sendto(struct.pack("!Q", self.sent).ljust(self.size, b"."), self.target)
            except OSError:
                pass        # no route or a full queue: that number is lost, which is what is being observed
            self.sent += 1
            time.sleep(self.pace)

    def receive(self):
        while self.receiving:
            try:
                data = self.inlet.recv(65536)
            except OSError:
                continue
            self.arrived.append((time.monotonic(), struct.unpack_from("!Q", data)[0]))

    def numbers(self):
        return [number for _, number in self.arrived]

    def stop(self, settle=0.3):
        """Ends sending, waits for what is under way, and returns the numbers in the order they came."""
        receiver, sender = self.threads
        self.sending = False
        sender.join(2)
        time.sleep(settle)
        self.receiving = False
        receiver.join(2)
        return self.numbers()

    def longest_gap(self):
        """The longest time in seconds in which nothing arrived, between the first and the last arrival."""
        times = [moment for moment, _ in self.arrived]
        return max((later - earlier for earlier, later in zip(times, times[1:])), default=0.0)


def heard(host):
    """How many echo requests and datagrams for nobody have reached a host's IPv4 so far: pings and markers."""
    lines = [line.split() for line in host.run("cat", "/proc/net/snmp").splitlines()]
    counts = {(names[0], name): int(count) for names, values in zip(lines[::2], lines[1::2])
              for name, count in zip(names[1:], values[1:])}
    return counts["Icmp:", "InEchos"] + counts["Udp:", "NoPorts"]


class Marker:
    """A datagram whose payload nothing else in the world contains, to look for on a wire."""

    def __init__(self, text):
        self.bytes = f"<<{text}>>".encode() * 4

    def send(self, host, address, count=20, port=9):
        """Sends it as UDP. Nobody needs to listen: what matters is what the wire shows."""
        if isinstance(host, GuestHost):
            # No sockets there: echo requests carry the pattern, 16 bytes over and over.
            words = ["ping", "-n", "-q", "-c", count, "-i", 0.02, "-W", 0.2, "-p", self.bytes[:16].hex(), address]
            host.attempt(*words)
            return
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        outlet = host.socket(family, socket.SOCK_DGRAM)
        for _ in range(count):
            try:
                outlet.sendto(self.bytes, (address, port))
            except ConnectionRefusedError:
                pass        # the other end said that nobody listens
            time.sleep(0.002)
