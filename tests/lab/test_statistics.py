"""The intervals and tests of `softplus.lab.statistics`."""

import math

import pytest
from scipy import stats

from softplus.lab import statistics


def test_the_mean_interval_is_scipys_t_interval():
    values = [1.0, 2.0, 4.0, 8.0]
    interval = statistics.mean_interval(values)
    expected = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert (interval.low, interval.high) == pytest.approx((expected.low, expected.high))
    assert interval.center == 3.75


@pytest.mark.parametrize("values", [[], [3.0]])
def test_one_value_has_no_interval(values):
    interval = statistics.mean_interval(values)
    assert interval.center == 3.0 if values else math.isnan(interval.center)
    assert math.isnan(interval.low)
    assert math.isnan(interval.high)


def test_shares_of_exactly_zero_or_one_have_an_interval_with_width():
    none = statistics.share_interval([0.0] * 10, units=192)
    exact = stats.binomtest(0, 1920).proportion_ci(method="exact")
    assert (none.center, none.low) == (0.0, 0.0)
    assert none.high == pytest.approx(exact.high)
    every = statistics.share_interval([1.0] * 10, units=192)
    assert (every.center, every.high) == (1.0, 1.0)
    assert every.low == pytest.approx(1 - exact.high)


def test_other_shares_have_the_t_interval_cut_at_the_ends_of_their_range():
    values = [0.0, 0.01, 0.2]
    plain = statistics.mean_interval(values)
    assert plain.low < 0
    assert statistics.share_interval(values, units=64) == statistics.Interval(
        plain.center, 0.0, plain.high
    )


@pytest.mark.parametrize("n", [6, 10, 25])
def test_the_median_interval_covers_as_the_binomial_says(n):
    interval = statistics.median_interval(range(1, n + 1))
    # With values 1..n the bounds are the ranks; the median lies outside if too few values fall
    # on one side of it.
    coverage = 1 - 2 * stats.binom.cdf(interval.low - 1, n, 0.5)
    assert coverage >= 0.95
    tighter = 1 - 2 * stats.binom.cdf(interval.low, n, 0.5)
    assert tighter < 0.95


def test_the_median_of_an_even_number_is_the_mean_of_the_two_in_the_middle():
    assert statistics.median_interval([1.0, 2.0, 4.0, 8.0]).center == 3.0


def test_where_half_the_seeds_never_arrive_the_median_is_never():
    never = statistics.median_interval([10.0, 20.0, math.inf, math.inf])
    assert never.center == math.inf
    most = statistics.median_interval([10.0, 20.0, 30.0, 40.0, 50.0, math.inf])
    assert most == statistics.Interval(35.0, 10.0, math.inf)


def test_few_values_have_no_median_interval():
    assert math.isnan(statistics.median_interval([1, 2, 3, 4, 5]).low)
    assert math.isnan(statistics.median_interval([]).center)


def test_holm_agrees_with_its_textbook_definition():
    adjusted, levels = zip(*statistics.holm([0.001, 0.04, 0.03, 0.5]), strict=True)
    assert adjusted == pytest.approx((0.004, 0.09, 0.09, 0.5))
    # The first is rejected at a quarter of 5%; 0.03 is not at a third, and there the test ends.
    assert levels == pytest.approx((0.05 / 4, 0.05 / 3, 0.05 / 3, 0.05 / 3))
    assert statistics.holm([0.2]) == [(0.2, 0.05)]
    assert [p for p, _ in statistics.holm([0.9, 0.8])] == [1.0, 1.0]
    assert [level for _, level in statistics.holm([0.01, 0.02])] == [0.025, 0.05]


def test_the_sign_flip_p_is_exact():
    none = [0.0] * 5
    assert statistics.sign_flip_p([1.0, 2.0, 3.0, 4.0, 5.0], none, paired=True) == pytest.approx(
        2 / 2**5
    )
    assert statistics.sign_flip_p([1.0, -1.0], [0.0, 0.0], paired=True) == 1.0
    # Of the twenty ways to choose three of six, two separate them as far as this.
    assert statistics.sign_flip_p([4.0, 5.0, 6.0], [1.0, 2.0, 3.0], paired=False) == 2 / 20
    assert statistics.sign_flip_p([1.0], [0.0], paired=True) == 1.0
