"""Intervals over the seeds of a study, Holm's method, and the permutation test."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

LEVEL = 0.05


@dataclass(frozen=True)
class Interval:
    """An estimate with its interval, 95% if nothing else is said; NaN bounds where it has none."""

    center: float
    low: float
    high: float


def mean_interval(values: Sequence[float]) -> Interval:
    """Return the mean with its t interval, one value a seed: an answer on these rows."""
    sample = np.asarray(values, dtype=float)
    mean = float(sample.mean()) if len(sample) else np.nan
    if len(sample) < 2:
        return Interval(mean, np.nan, np.nan)
    error = float(sample.std(ddof=1)) / np.sqrt(len(sample))
    half = float(stats.t.ppf(1 - LEVEL / 2, len(sample) - 1)) * error
    return Interval(mean, mean - half, mean + half)


def share_interval(values: Sequence[float], units: int) -> Interval:
    """Return the mean of shares with its interval, which has width where all are 0, or all 1.

    >>> round(share_interval([0.0, 0.0], units=192).high, 4)
    0.0096

    Args:
        values: One share a seed.
        units: Of how many things each is the share. Where every one of them is on the same side,
            the bound is that of Clopper and Pearson, which takes them for independent.
    """
    interval = mean_interval(values)
    if len(values) and len(set(values)) == 1 and values[0] in (0.0, 1.0):
        unseen = 1 - (LEVEL / 2) ** (1 / (units * len(values)))
        low, high = (0.0, unseen) if values[0] == 0 else (1 - unseen, 1.0)
        return Interval(interval.center, low, high)
    return Interval(interval.center, *np.clip([interval.low, interval.high], 0, 1).tolist())


def median_interval(values: Sequence[float], level: float = 1 - LEVEL) -> Interval:
    """Return the median with its distribution-free interval; values may be infinite.

    The bounds are order statistics, which five values or fewer do not have at 95%.
    """
    sample = np.sort(np.asarray(values, dtype=float))
    if not len(sample):
        return Interval(np.nan, np.nan, np.nan)
    median = float(np.median(sample))
    rank = int(stats.binom.ppf((1 - level) / 2, len(sample), 0.5))
    if rank == 0:
        return Interval(median, np.nan, np.nan)
    return Interval(median, float(sample[rank - 1]), float(sample[-rank]))


def holm(p_values: Sequence[float]) -> list[tuple[float, float]]:
    """Return the p-values adjusted for their number (Holm 1979), and the level each is tested at.

    >>> holm([0.01, 0.04])
    [(0.02, 0.025), (0.04, 0.05)]

    An interval at 1 minus that level excludes 0 exactly where the adjusted p is below 5%.
    """
    p = np.asarray(p_values, dtype=float)
    order = np.argsort(p)
    factors = np.arange(len(p), 0, -1)
    stepped = np.maximum.accumulate(p[order] * factors)
    # The first p that is not below its level ends the test, and all later ones share its level.
    rejected = int(np.argmax(np.append(stepped >= LEVEL, [True])))
    factors[rejected:] = len(p) - rejected
    adjusted, levels = np.empty_like(p), np.empty_like(p)
    adjusted[order], levels[order] = np.minimum(stepped, 1.0), LEVEL / factors
    return list(zip(adjusted.tolist(), levels.tolist(), strict=True))


def sign_flip_p(arm: Sequence[float], reference: Sequence[float], *, paired: bool) -> float:
    """Return the two-sided p of the permutation test: exact where that takes 2^15 at most.

    It exchanges arm and reference within the pairs, which flips the signs of the differences, or
    shuffles all runs where they are not paired.
    """
    if min(len(arm), len(reference)) < 2:
        return 1.0
    result = stats.permutation_test(
        (np.asarray(arm, dtype=float), np.asarray(reference, dtype=float)),
        lambda x, y, axis: np.mean(x, axis=axis) - np.mean(y, axis=axis),
        permutation_type="samples" if paired else "independent",
        vectorized=True,
        n_resamples=2**15,
        batch=2**10,  # a thousand runs would fill half a gigabyte at once
        rng=np.random.default_rng(0),
    )
    return float(result.pvalue)
