"""What is told of the raw results of bench/flame."""
import unittest

from measure.nanoseconds import THREADS, Measured, page

RUN = {"cpu": "a processor", "cpus": 2, "kernel": "6.1", "commit": "abc", "time": "2026-01-01T00:00:00Z", "load_before": 0.1,
       "settings": {"tcp": 4}}


def figure(number, name, key, value, **detail):
    return {"kind": "figure", "round": number, "implementation": name, "figure": key, "value": value, "detail": detail}


def rate(number, name, gigabits, nanos):
    """A round in which each of the four threads ran so many nanoseconds for each of 1000 packets."""
    ran = [{"outward": 1000 * nanos, "inward": 1000 * nanos, "other": 0}] * 2
    return figure(number, name, "flame_rate", gigabits * 1e9, seconds=1.0, packets=1000, ran=ran, idle=0.1, stolen=0)


def parts(number, name, **counts):
    each = {"outward": counts, "inward": counts}
    return figure(number, name, "flame_parts", 1e9, parts=[each, each], machine={"a": 5, "b": 4, "idle": 1}, rests={"novel": 3})


RECORDS = [
    figure(1, "veth", "flame_rate", 40e9, seconds=1.0, packets=1000, ran=[], idle=0.1, stolen=0),
    figure(2, "veth", "flame_rate", 50e9, seconds=1.0, packets=1000, ran=[], idle=0.1, stolen=0),
    rate(1, "adit-null", 16, 100), rate(2, "adit-null", 15, 120),
    rate(1, "adit", 8, 250), rate(2, "adit", 8, 290),
    parts(1, "adit-null", send=30, kernel=10), parts(2, "adit-null", send=40),
    parts(1, "adit", cipher=10, send=10), parts(2, "adit", cipher=15, send=5),
    figure(1, "adit", "flame_cipher", 500, seal=240, open=260), figure(2, "adit", "flame_cipher", 400, seal=200, open=200),
]


class Tables(unittest.TestCase):
    measured = Measured(RECORDS)

    def test_the_parts_of_a_thread_sum_up_to_what_was_measured_of_it(self):
        for name, nanos in (("adit", 270), ("adit-null", 110)):
            for end, direction, _ in THREADS:
                self.assertAlmostEqual(sum(self.measured.split(name, end, direction).values()), nanos)

    def test_samples_of_all_rounds_are_shared_out_together(self):
        self.assertAlmostEqual(self.measured.split("adit", 0, "outward")["cipher"], 270 * 25 / 40)

    def test_the_price_of_a_cipher_is_the_difference_in_each_round(self):
        self.assertEqual(self.measured.above("adit"), [4 * 150, 4 * 170])

    def test_a_round_that_one_of_the_two_lacks_makes_no_difference(self):
        self.assertEqual(Measured([record for record in RECORDS if record is not RECORDS[2]]).above("adit"), [4 * 170])

    def test_the_page_names_share_ratio_and_rests(self):
        text = "\n".join(page(RUN, RECORDS))
        self.assertIn("35 (30–40) % of veth's TCP", text)
        self.assertIn("| ChaCha20-Poly1305 | 640 (600–680) | 220 (200–240) | 230 (200–260) | 450 | 1.42 (1.33–1.51) |",
                      text)
        self.assertIn("`novel` 12", text)
        self.assertEqual(text.count("| kernel: rest"), 5)
        self.assertEqual(text.count("| user: rest"), 5)


if __name__ == "__main__":
    unittest.main()
