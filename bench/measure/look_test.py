"""What is seen in packets that are known to the byte."""
import unittest

from measure.figures import FIGURES
from measure.look import TCP, UDP, parse
from measure.table import cell, ratio, share, typical

BY_KEY = {figure.key: figure for figure in FIGURES}


def v4(payload, protocol, tos=0, offset=0):
    head = bytes([0x45, tos]) + (20 + len(payload)).to_bytes(2, "big") + b"\0\0" + offset.to_bytes(2, "big")
    return head + bytes([64, protocol]) + bytes(10) + payload


def v6(payload, following, traffic_class=0):
    return (6 << 28 | traffic_class << 20).to_bytes(4, "big") + len(payload).to_bytes(2, "big") + bytes(
        [following, 64]) + bytes(32) + payload


def udp(port):
    return bytes(2) + port.to_bytes(2, "big") + bytes(12)


def tcp(flags, options):
    return bytes(12) + bytes([(20 + len(options)) // 4 << 4, flags]) + bytes(6) + options


class Look(unittest.TestCase):
    def test_a_datagram_shows_its_port_length_and_mark(self):
        for mark in range(4):
            packet = parse(v4(udp(7100), UDP, tos=0xB8 | mark))
            self.assertEqual((packet.protocol, packet.target_port, packet.length, packet.ecn), (UDP, 7100, 36, mark))
            self.assertEqual(parse(v6(udp(9), UDP, traffic_class=0xB8 | mark)).ecn, mark)

    def test_an_extension_header_is_seen_and_what_is_behind_it(self):
        packet = parse(v6(bytes([UDP, 0, 1, 4, 0, 0, 0, 0]) + udp(53), 60))
        self.assertTrue(packet.option)
        self.assertEqual((packet.protocol, packet.target_port), (UDP, 53))
        self.assertFalse(parse(v6(udp(53), UDP)).option)

    def test_the_options_of_a_syn_are_told(self):
        options = bytes([2, 4, 5, 0x8C, 4, 2, 8, 10]) + bytes(8) + bytes([1, 3, 3, 7])
        syn = parse(v4(tcp(2, options), TCP))
        self.assertTrue(syn.syn)
        self.assertEqual(syn.tcp_options(), [2, 4, 8, 1, 3])
        self.assertFalse(parse(v4(tcp(16, b""), TCP)).syn)

    def test_what_is_no_first_part_of_tcp_or_udp_is_nothing(self):
        for data in (b"", v4(udp(1), UDP, offset=1), v4(bytes(30), 1), v4(b"short", TCP), bytes(60)):
            self.assertIsNone(parse(data))


class Told(unittest.TestCase):
    def test_the_worst_round_counts_where_a_figure_says_so(self):
        self.assertEqual(typical(BY_KEY["order_udp_2"], [0, 0, 12345]), 12345)
        self.assertEqual(cell(BY_KEY["order_udp_2"], [0, 0, 12345]), "12 345")
        self.assertEqual(typical(BY_KEY["tcp1_out"], [1, 2, 9]), 2)

    def test_a_share_is_of_the_ceiling_whichever_way_a_figure_counts(self):
        self.assertEqual(share(BY_KEY["tcp1_out"], [4.0], [10.0]), "40%")
        self.assertEqual(share(BY_KEY["trip_idle_median"], [50.0], [20.0]), "40%")
        self.assertEqual(ratio(BY_KEY["tcp1_out"], [4.0], [10.0]), "2.50x worse")
        self.assertEqual(ratio(BY_KEY["order_udp_2"], [0], [5]), "-")

    def test_no_two_figures_have_one_key(self):
        self.assertEqual(len(BY_KEY), len(FIGURES))


if __name__ == "__main__":
    unittest.main()
