"""What a design can find: the differences that four of five studies of its size decide."""

import math
from collections.abc import Callable
from functools import lru_cache

import numpy as np
from scipy import stats

# A difference can be found if a study finds it at least this often.
POWER = 0.8
_MOST_SEEDS = 1000


def smallest_difference(error: float, freedom: float, level: float) -> float:
    """Return the difference that the t test finds; freedom may be infinite.

    >>> round(smallest_difference(error=1.0, freedom=math.inf, level=0.05), 2)
    2.8

    Args:
        error: The standard error of the mean difference, as it was estimated.
        freedom: Its degrees of freedom.
        level: The level of the test.
    """
    return _errors_found(freedom, level) * error


def seeds_needed(
    variance: float, freedom: float, margin: float, level: float, *, paired: bool
) -> int | None:
    """Return how many seeds find a difference of the margin and show that one of 0 is inside it.

    It counts with the upper 80% limit of the spread: with the estimate itself every second study
    of that size would be too small.

    Args:
        variance: That of a difference, or of the two sides together, as a few seeds show it.
        freedom: The degrees of freedom of that estimate.
        margin: The difference that matters.
        level: The level of the tests.
        paired: Whether the runs will be pairs.
    """
    spread = np.sqrt(variance * freedom / stats.chi2.ppf(1 - POWER, freedom))

    def enough(seeds: int) -> bool:
        later = float(seeds - 1) * (1 if paired else 2)
        return bool(_errors_equivalent(later, level) * spread <= margin * np.sqrt(seeds))

    if not enough(_MOST_SEEDS):
        return None
    low, high = 1, _MOST_SEEDS  # too few, enough
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


@lru_cache(maxsize=1024)
def _errors_found(freedom: float, level: float) -> float:
    """Return the difference that is found, in standard errors as one study estimates them.

    Another study finds it with its own estimate: the chance is the mean over both.
    """
    estimates = _estimates(freedom)
    needed = _critical(freedom, level) * estimates
    return _solve(lambda shift: stats.norm.cdf(shift * estimates[:, None] - needed))


@lru_cache(maxsize=1024)
def _errors_equivalent(freedom: float, level: float) -> float:
    """Return the margin, in true standard errors, in which a difference of 0 is shown to lie."""
    needed = _critical(freedom, level) * _estimates(freedom)
    return _solve(lambda margin: np.maximum(0, 2 * stats.norm.cdf(margin - needed) - 1))


def _critical(freedom: float, level: float) -> float:
    return float(stats.t.ppf(1 - level / 2, freedom))


def _estimates(freedom: float) -> np.ndarray:
    """Return the quantiles of an estimated standard error over the true one."""
    if math.isinf(freedom):
        return np.ones(1)
    quantiles = (np.arange(100) + 0.5) / 100
    ratios: np.ndarray = np.sqrt(stats.chi2.ppf(quantiles, freedom) / freedom)
    return ratios


def _solve(chances: Callable[[float], np.ndarray]) -> float:
    """Return the size at which the mean of the chances, which grow with it, is POWER."""
    low, high = 0.0, 1.0
    while chances(high).mean() < POWER:
        high *= 2
    while high - low > 1e-6 * high:
        middle = (low + high) / 2
        low, high = (middle, high) if chances(middle).mean() < POWER else (low, middle)
    return high
