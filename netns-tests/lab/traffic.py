"""Traffic and what became of it: ping, iperf3, and numbered datagrams."""
import json
import math
import re
import socket
import struct
import threading
import time
from dataclasses import dataclass

from lab.guesthost import GuestHost
from lab.wait import until

PORT = 5201
SO_RCVBUFFORCE = 33
# The number of a datagram that says that none follows.
LAST = 2 ** 64 - 1


def ping(host, address, count=3, size=56, interval=0.02, fragment=True, source=None, wait=5):
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


def reaches(host, address, seconds=10):
    """Whether one echo is answered within the time; asks anew every 0.2 s. The seconds it took, or None."""
    start = time.monotonic()
    # ping ends before its time where there is no route, or where nobody answers for the address.
    while (left := start + seconds - time.monotonic()) > 0:
        words = ["timeout", f"{max(left, 0.1):.1f}", "ping", "-n", "-q", "-c", 1, "-i", 0.2, "-w", math.ceil(left), address]
        code, _ = host.attempt(*words, timeout=left + 10)
        if code == 0:
            return time.monotonic() - start
        time.sleep(min(0.05, left))
    return None


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
    then is not counted. With `size` they are therefore narrow: no more than 512 KiB can be missing. Those of UDP are as wide as
    every kernel lets them be: what has no room in the receiver's was not lost on the way.
    """
    listener = server.start("iperf3", "-s", "-1", "-p", PORT, "--forceflush")
    listener.wait_output("Server listening", 15)
    words = ["iperf3", "-c", address, "-p", PORT, "-J", "--connect-timeout", 10_000]
    words += ["-t", seconds] if seconds else ["-n", size]
    words += ["-u", "-b", rate] if udp else []
    words += ["-w", "400K"] if udp else ["-w", "128K"] if not seconds else []
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
        self.target, self.pace, self.size, self.ended = (address, port), pace, size, False
        self.inlet = receiver.socket(family, socket.SOCK_DGRAM)
        # What has no room there would be taken for lost on the way.
        self.inlet.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 32 << 20)
        self.inlet.bind(("::" if ":" in address else "0.0.0.0", port))
        self.inlet.settimeout(0.1)
        self.outlet = sender.socket(family, socket.SOCK_DGRAM)
        self.sent, self.arrived, self.sending, self.receiving = 0, [], True, True
        self.threads = [threading.Thread(target=work, daemon=True) for work in (self.receive, self.send)]
        for thread in self.threads:
            thread.start()

    def send(self):
        while self.sending:
            self.put(self.sent)
            self.sent += 1
            time.sleep(self.pace)

    def put(self, number):
        try:
            self.outlet.sendto(struct.pack("!Q", number).ljust(self.size, b"."), self.target)
        except OSError:
            pass            # no route or a full queue: that number is lost, which is what is being observed

    def receive(self):
        while self.receiving:
            try:
                data = self.inlet.recv(65536)
            except OSError:
                continue
            number, = struct.unpack_from("!Q", data)
            if number == LAST:
                self.ended = True
            else:
                self.arrived.append((time.monotonic(), number))

    def numbers(self):
        return [number for _, number in self.arrived]

    def caught_up(self, seconds=10):
        """Returns once a datagram has arrived that is sent from now on, and with it all before it that arrive at all."""
        number = self.sent
        until(lambda: self.arrived and self.arrived[-1][1] >= number, seconds, "what was on its way")

    def stop(self, patience=5):
        """Ends sending, waits for what is under way, and returns the numbers in the order they came.

        Nothing is under way once a last datagram has arrived, and what it may have overtaken. It is sent until then, for
        `patience` seconds at the most: where nothing arrives any more they are to be few.
        """
        receiver, sender = self.threads
        self.sending = False
        sender.join(5)
        deadline = time.monotonic() + patience
        while not self.ended and time.monotonic() < deadline:
            self.put(LAST)
            time.sleep(0.02)
        time.sleep(0.1)
        self.receiving = False
        receiver.join(5)
        self.inlet.close()
        self.outlet.close()
        return self.numbers()

    def longest_gap(self):
        """The longest time in seconds in which nothing arrived, between the first and the last arrival."""
        times = [moment for moment, _ in self.arrived]
        return max((later - earlier for earlier, later in zip(times, times[1:])), default=0.0)


def all_arrive(sender, receiver, address, size, count=200, pace=0.0005):
    """Sends at least so many datagrams, each of which has to arrive, once. They are few enough to wait in any queue on the way, so
    a machine that is busy elsewhere for a moment loses none."""
    flow = Sequence(sender, receiver, address, pace=pace, size=size)
    until(lambda: flow.sent >= count, 20, f"{count} datagrams")
    numbers = flow.stop()
    assert sorted(numbers) == list(range(flow.sent)), f"{len(numbers)} of {flow.sent} datagrams of {size} bytes arrived"


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
