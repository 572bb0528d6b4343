"""What is told of pairs whose ratio is known."""
import random
import unittest

from measure.figures import FIGURES
from measure.pairs import FEWEST, SAME, certain, needed, probabilities, ratio, verdict

BY_KEY = {figure.key: figure for figure in FIGURES}


def noisy(true, rounds, seed, noise=0.03):
    """Pairs of a machine that drifts by half from round to round, which both of a pair meet."""
    chance = random.Random(seed)
    for _ in range(rounds):
        drift = chance.uniform(1, 1.5)
        yield drift * chance.lognormvariate(0, noise), true * drift * chance.lognormvariate(0, noise)


def told(key, true, rounds=16, seed=1):
    found = ratio(list(noisy(true, rounds, seed)))
    return verdict(BY_KEY[key], found, key in certain({key: found}))


class Verdicts(unittest.TestCase):
    def test_equal_commits_show_no_difference(self):
        self.assertEqual(told("tcp1_out", 1.0), SAME)

    def test_a_tenth_more_or_less_is_shown(self):
        self.assertEqual(told("tcp1_out", 1.1), "faster")
        self.assertEqual(told("tcp1_out", 0.9), "slower")

    def test_less_is_faster_where_less_is_better(self):
        self.assertEqual(told("trip_idle_median", 0.9), "faster")
        self.assertEqual(told("trip_idle_median", 1.1), "slower")
        self.assertEqual(told("cpu1", 1.1), "more")

    def test_five_pairs_prove_nothing(self):
        few = ratio(list(noisy(2.0, FEWEST - 1, 1)))
        self.assertEqual((few.low, few.high), (None, None))
        self.assertEqual(told("tcp1_out", 2.0, rounds=FEWEST - 1), "too few rounds")
        self.assertEqual(told("tcp1_out", 2.0, rounds=FEWEST), "faster")

    def test_values_that_never_differ_show_no_difference(self):
        found = ratio([(7.0, 7.0)] * 16)
        self.assertEqual((found.value, found.low, found.high, found.p), (1, 1, 1, 1))

    def test_an_interval_that_chance_explains_has_a_star(self):
        # 1 of 64 orders of signs is as extreme to either side: enough for one figure, not for seven.
        found = ratio(list(noisy(1.5, FEWEST, 1)))
        seven = {"tcp1_out": found, **{str(other): ratio([(1, 1)] * 6) for other in range(6)}}
        self.assertNotIn("tcp1_out", certain(seven))
        self.assertEqual(verdict(BY_KEY["tcp1_out"], found, False), SAME + " *")


    def test_a_certain_figure_makes_its_neighbours_no_more_certain_than_they_are(self):
        weak = ratio(list(noisy(1.5, FEWEST, 1)))
        sure = ratio(list(noisy(1.5, 16, 1)))
        self.assertEqual(certain({"sure": sure, "weak": weak, "other": weak}), {"sure"})
        self.assertEqual(certain({"sure": sure, "weak": weak}), {"sure", "weak"})


class Numbers(unittest.TestCase):
    def test_the_interval_is_wilcoxons(self):
        self.assertEqual(probabilities(3), [share / 8 for share in (1, 1, 1, 2, 1, 1, 1)])
        # Of six pairs it is their range; of ten it leaves out the 8 lowest averages (table of the test: 8).
        logs = [2.0 ** at for at in (1, -2, 3, 4, 5, -6, 7, 8, 9, 10)]
        six = ratio([(1, value) for value in logs[:6]])
        self.assertAlmostEqual(six.low, 2.0 ** -6)
        self.assertAlmostEqual(six.high, 2.0 ** 5)
        ten = ratio([(1, value) for value in logs])
        exponents = (1, -2, 3, 4, 5, -6, 7, 8, 9, 10)
        averages = sorted((exponents[i] + exponents[j]) / 2 for i in range(10) for j in range(i + 1))
        self.assertAlmostEqual(ten.low, 2.0 ** averages[8])
        self.assertAlmostEqual(ten.high, 2.0 ** averages[-9])

    def test_it_leaves_one_out_as_often_as_the_test_refuses(self):
        for seed in range(300):
            found = ratio(list(noisy(1.02, 6 + seed % 14, seed)))
            self.assertEqual(found.leaves_one_out(), found.p <= 0.05, f"seed {seed}: {found}")

    def test_it_covers_the_true_ratio_19_times_in_20(self):
        found = [ratio(list(noisy(1.1, 12, seed))) for seed in range(1000)]
        inside = sum(each.low <= 1.1 <= each.high for each in found)
        self.assertGreater(inside, 930)
        self.assertLess(inside, 975)

    def test_of_equal_commits_one_in_20_is_accused(self):
        def accused(seed):
            return certain({figure: ratio(list(noisy(1.0, 12, f"{seed} {figure}"))) for figure in range(7)})
        self.assertLess(sum(bool(accused(seed)) for seed in range(300)), 24)

    def test_more_figures_need_more_rounds(self):
        self.assertEqual(needed(1), FEWEST)
        self.assertEqual(needed(7), 9)


if __name__ == "__main__":
    unittest.main()
