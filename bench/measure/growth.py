"""More peers that send at once, more flows of one peer, and what a second worker adds."""
from measure.beside import Beside
from measure.figures import FLOWS, PEERS
from measure.hub import NOWHERE, Hub
from measure.implementation import STANDARD, WORKERS
from measure.tcp import many
from measure.turn import Ends, Turn

# UDP payload, and the bytes of headers ahead of it in a packet.
SIZE, HEADERS = 1392, 28


class Growth(Turn):
    """A device of its own for each number of workers."""

    def measure(self):
        for workers in (1, 2) if self.implementation in WORKERS else (0,):
            if self.implementation in STANDARD:
                with Beside(self.net, f"h{workers}") as net:
                    self.hub = Hub(net, self.implementation, workers or None).start()
                    for peers in PEERS:
                        self.figure(self.peers, peers, workers)
                    for flows in FLOWS[1:]:
                        self.figure(self.datagram_flows, flows, workers)
            with Beside(self.net, f"f{workers}") as net:
                self.ends = Ends(net, self.implementation, workers or None).start()
                for flows in FLOWS:
                    self.figure(self.tcp_flows, flows, workers)

    def search(self, peers, *words):
        seconds, steps = self.settings.throng, self.settings.throng_steps
        return self.hub.crowd(peers, "--size", SIZE, "--seconds", seconds, "--steps", steps, *words,
                              seconds=steps * (seconds + 5) + 10)

    def peers(self, peers, workers):
        self.hub.configure(peers)
        handshakes, found, used = self.search(peers)
        best = found["best"]
        self.note(f"growth_through_{peers}_{workers}", best["delivered"] if best else 0.0, handshakes=handshakes, **found)
        self.note(f"growth_order_{peers}_{workers}", sum(one["reordered"] for one in found["tried"]))
        assert used["rx_bytes"] > 1e6, "nothing came out of the tunnel"
        self.note(f"growth_cpu_{peers}_{workers}", used["cpu"] / used["rx_bytes"] * 1e9, **used)
        seconds = 2 * self.settings.throng
        _, sent, used = self.hub.crowd(peers, "--size", SIZE, "--seconds", seconds, "--rate", "max", "--behind", NOWHERE,
                                       seconds=seconds + 20)
        # Each packet of the device may be many of the peer's, joined under one header.
        arrived = (used["rx_bytes"] - HEADERS * used["rx_packets"]) / SIZE
        self.note(f"growth_in_{peers}_{workers}", arrived / seconds, arrived=arrived, sent=sent["sent"], **used)

    def datagram_flows(self, flows, workers):
        self.hub.configure(1)
        _, found, _ = self.search(1, "--flows", flows)
        best = found["best"]
        self.note(f"growth_udp_{flows}_{workers}", best["delivered"] if best else 0.0, **found)

    def tcp_flows(self, flows, workers):
        ends = self.ends
        found = many(ends.a, ends.b, ends.address(), flows, self.settings.tcp, self.settings.omit)
        self.note(f"growth_tcp_{flows}_{workers}", found["bits_per_second"], **found)
