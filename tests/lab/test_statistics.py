"""The intervals, tests and verdicts of `softplus.lab.statistics`."""

import math

import numpy as np
import pytest
from scipy import stats

from softplus.lab import statistics


def decide(differences, *, margin, test_ratio=1 / 3, higher_is_better=True):
    """Return the verdict on one arm that differs from its reference by these amounts."""
    (verdict,) = statistics.decide(
        {"arm": list(differences)},
        "reference",
        [0.0] * len(differences),
        test_ratio=test_ratio,
        margin=margin,
        higher_is_better=higher_is_better,
    )
    return verdict


def test_the_mean_interval_is_scipys_t_interval_widened_by_the_test_ratio():
    values = [1.0, 2.0, 4.0, 8.0]
    plain = statistics.mean_interval(values, test_ratio=0.0)
    expected = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert (plain.low, plain.high) == pytest.approx((expected.low, expected.high))

    corrected = statistics.mean_interval(values, test_ratio=0.5)
    widening = math.sqrt((1 / 4 + 0.5) / (1 / 4))
    assert corrected.high - corrected.center == pytest.approx(
        widening * (plain.high - plain.center)
    )


def test_one_value_has_no_interval():
    interval = statistics.mean_interval([3.0], test_ratio=0.5)
    assert interval.center == 3.0
    assert math.isnan(interval.low)
    assert math.isnan(interval.high)


@pytest.mark.parametrize("n", [6, 10, 25])
def test_the_median_interval_covers_as_the_binomial_says(n):
    interval = statistics.median_interval(range(1, n + 1))
    # With values 1..n the bounds are the ranks; the median lies outside if too few values fall
    # on one side of it.
    coverage = 1 - 2 * stats.binom.cdf(interval.low - 1, n, 0.5)
    assert coverage >= 0.95
    tighter = 1 - 2 * stats.binom.cdf(interval.low, n, 0.5)
    assert tighter < 0.95


def test_five_values_have_no_median_interval_and_infinity_is_a_value():
    assert math.isnan(statistics.median_interval([1, 2, 3, 4, 5]).low)
    interval = statistics.median_interval([10.0, 20.0, 30.0, 40.0, math.inf, math.inf])
    assert interval == statistics.Interval(30.0, 10.0, math.inf)


def test_holm_agrees_with_its_textbook_definition():
    p = [0.001, 0.04, 0.03, 0.5]
    assert statistics.holm(p) == pytest.approx([0.004, 0.09, 0.09, 0.5])
    assert statistics.holm([0.2]) == [0.2]
    assert statistics.holm([0.9, 0.8]) == [1.0, 1.0]


def test_the_sign_flip_p_is_exact():
    assert statistics.sign_flip_p([1.0, 2.0, 3.0, 4.0, 5.0]) == pytest.approx(2 / 2**5)
    assert statistics.sign_flip_p([1.0, -1.0]) == 1.0


def test_the_better_arm_wins_whatever_better_means():
    gains = [2.0, 2.1, 1.9, 2.2, 1.8, 2.0]
    assert decide(gains, margin=0.5).winner == "arm"
    assert decide(gains, margin=0.5, higher_is_better=False).winner == "reference"
    assert decide([-g for g in gains], margin=0.5, higher_is_better=False).winner == "arm"


def test_a_difference_inside_the_margin_is_equivalence_even_where_it_is_certain():
    verdict = decide([0.10, 0.11, 0.09, 0.10, 0.10, 0.10], margin=1.0)
    assert verdict.p_holm < 0.05
    assert verdict.winner == "equivalent"


def test_equivalence_is_read_off_the_95_percent_interval():
    sample = np.array([0.3, -0.2, 0.1, 0.4, -0.3, 0.2])
    interval = statistics.mean_interval(sample, 1 / 3)
    reach = max(-interval.low, interval.high)
    assert decide(sample, margin=1.001 * reach).winner == "equivalent"
    assert decide(sample, margin=0.999 * reach).winner == "cannot tell"


def test_what_cannot_be_told_names_the_seeds_that_would_decide():
    sample = np.array([1.5, -0.5, 1.0, 0.2, 1.4, -0.6])
    verdict = decide(sample, margin=0.1, test_ratio=0.05)
    assert verdict.winner == "cannot tell"
    n = verdict.seeds_needed

    def half_width(seeds):
        return stats.t.ppf(0.975, seeds - 1) * sample.std(ddof=1) * math.sqrt(1 / seeds + 0.05)

    assert half_width(n) < sample.mean() <= half_width(n - 1)
    # With a larger test ratio the interval never gets that narrow.
    assert decide(sample, margin=0.1, test_ratio=1.0).seeds_needed is None


def test_degenerate_samples_are_decided_without_nan():
    assert decide([0.0] * 6, margin=0.1).winner == "equivalent"
    assert decide([1.0] * 6, margin=0.1).winner == "arm"
    one = decide([5.0], margin=0.1)
    assert (one.winner, one.p, one.p_sign_flip) == ("cannot tell", 1.0, 1.0)


def test_holm_raises_the_bar_with_the_number_of_arms():
    sample = np.array([0.6, 0.9, 0.5, 1.0, 0.6, 0.7])
    alone = decide(sample, margin=0.01)
    assert alone.winner == "arm"
    noise = np.array([3.0, -3.0, 2.0, -2.0, 1.0, -1.0])
    crowd = statistics.decide(
        {"arm": list(sample), **{f"noise {i}": list(noise) for i in range(9)}},
        "reference",
        [0.0] * 6,
        test_ratio=1 / 3,
        margin=0.01,
        higher_is_better=True,
    )
    assert crowd[0].p == alone.p
    assert crowd[0].p_holm == pytest.approx(10 * alone.p)


def test_no_false_wins_from_one_finite_data_set():
    """Two arms equally good on the problem, but not on the one data set that is split anew.

    y = a + b + noise; one arm regresses y on a, the other on b. Which of them looks better on 300
    rows is chance, shared by all splits: the plain paired t takes it for a difference.
    """
    generator = np.random.default_rng(0)
    rows, test, seeds, repetitions = 300, 60, 10, 400
    false_wins = {0.0: 0, test / (rows - 2 * test): 0}
    for _ in range(repetitions):
        a, b, noise = generator.standard_normal((3, rows))
        y = a + b + noise
        differences = []
        for _ in range(seeds):
            order = generator.permutation(rows)
            train, held_out = order[2 * test :], order[:test]
            errors = [
                np.mean((y - x * (x[train] @ y[train] / (x[train] @ x[train])))[held_out] ** 2)
                for x in (a, b)
            ]
            differences.append(errors[0] - errors[1])
        for ratio in false_wins:
            verdict = decide(differences, margin=1e-9, test_ratio=ratio)
            false_wins[ratio] += verdict.winner in ("arm", "reference")
    plain, corrected = (wins / repetitions for wins in false_wins.values())
    assert plain > 0.15
    assert corrected < 0.07
