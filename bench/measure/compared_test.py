"""What is told of the records of a comparison."""
import unittest

from measure.chosen import measurable, measurements
from measure.compared import paired, report
from measure.revisions import Revision

RUN = {"cpu": "a processor", "cpus": 2, "kernel": "6.1", "time": "2026-01-01T00:00:00Z", "load_before": 0.1}


def record(number, side, value, figure="tcp1_out"):
    return {"kind": "figure", "round": number, "implementation": side, "figure": figure, "value": value}


def told(revisions, records, keys=("tcp1_out",)):
    return report(RUN, [Revision(name, name * 40, f"commit {name}") for name in revisions], list(keys), paired(records))


class Comparison(unittest.TestCase):
    def test_only_rounds_with_both_make_pairs(self):
        records = [record(1, "A", 2.0), record(1, "B", 3.0), record(2, "B", 5.0), record(3, "A", 7.0),
                   record(3, "B", 0.0)]
        self.assertEqual(paired(records), {"tcp1_out": [(2.0, 3.0)]})

    def test_a_slower_commit_is_named_so(self):
        records = [record(at, side, value + at / 9) for at in range(8) for side, value in (("A", 5), ("B", 4))]
        self.assertIn("slower", told("ab", records))
        self.assertIn("commit b", told("ab", records))

    def test_a_commit_and_itself_are_said_to_be_the_same(self):
        records = [record(at, side, 5 + high / 9) for at in range(8)
                   for side, high in (("A", at % 2), ("B", at % 4 // 2))]
        text = told("aa", records)
        self.assertIn("no difference shown", text)
        self.assertIn("Both are the same", text)

    def test_what_was_not_measured_is_said(self):
        self.assertIn("not measured in both", told("ab", [record(1, "A", 1.0)]))

    def test_too_few_rounds_for_so_many_figures_are_said(self):
        records = [record(at, side, value, key) for at in range(6) for side, value in (("A", 1.0), ("B", 2.0 + at))
                   for key in ("tcp1_out", "tcp4_out")]
        text = told("ab", records, ("tcp1_out", "tcp4_out"))
        self.assertIn("no difference shown *", text)
        self.assertIn("--rounds 7 or more", text)


class Measurements(unittest.TestCase):
    def test_each_figure_is_measured_by_what_yields_it(self):
        self.assertEqual(measurements(["cpu1", "udp64_single", "tcp1_out", "trip_idle_p99", "tcp4_both"]),
                         [("trips_idle", ()), ("streams", (1, "out")), ("streams", (4, "both")), ("udp", (64, False))])

    def test_every_figure_that_can_be_asked_for_can_be_measured(self):
        for key in measurable():
            self.assertEqual(len(measurements([key])), 2 if key == "memory" else 1)

    def test_memory_is_that_of_full_load(self):
        self.assertEqual(measurements(["memory"]), [("streams", (4, "both")), ("memory", ())])


if __name__ == "__main__":
    unittest.main()
