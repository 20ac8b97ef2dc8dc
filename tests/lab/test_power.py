"""The designs of `softplus.lab.power`; tests/lab/test_calibration.py tries them out."""

import math

import numpy as np
import pytest
from scipy import stats

from softplus.lab import power


def test_with_a_known_spread_it_is_the_textbooks_formula():
    expected = stats.norm.ppf(0.975) + stats.norm.ppf(0.8)
    found = power.smallest_difference(2.0, math.inf, 0.05)
    assert found == pytest.approx(2 * expected, rel=1e-4)


@pytest.mark.parametrize("freedom", [1.0, 2.0, 5.0, 9.5])
def test_few_seeds_find_larger_differences_only(freedom):
    few, more = (power.smallest_difference(1.0, n, 0.05) for n in (freedom, freedom + 1))
    assert few > more > power.smallest_difference(1.0, math.inf, 0.05)
    assert power.smallest_difference(1.0, freedom, 0.01) > few


@pytest.mark.parametrize("paired", [True, False])
def test_the_seeds_needed_show_equivalence_in_four_of_five_studies(paired):
    """With the upper limit of the spread as the truth: there it is exact."""
    seeds = power.seeds_needed(1.0, 8.0, margin=1.0, level=0.05, paired=paired)
    spread = math.sqrt(8 / stats.chi2.ppf(0.2, 8))
    generator = np.random.default_rng(0)
    # The two sides of runs that are no pairs have half of that variance each.
    if paired:
        samples = generator.normal(0, spread, (4000, seeds))
        intervals = stats.ttest_1samp(samples, 0, axis=1).confidence_interval(0.95)
    else:
        sides = generator.normal(0, spread / math.sqrt(2), (2, 4000, seeds))
        intervals = stats.ttest_ind(*sides, axis=1).confidence_interval(0.95)
    shown = np.mean((intervals.low > -1) & (intervals.high < 1))
    assert 0.78 < shown < 0.86


def test_more_than_a_thousand_seeds_are_none():
    assert power.seeds_needed(1.0, 9.0, margin=0.01, level=0.05, paired=True) is None
