"""Intervals, tests and the one rule by which a comparison is decided.

Runs that share a finite data set have overlapping training sets, so their results are correlated
and a plain t interval is too narrow. Nadeau and Bengio (Inference for the Generalization Error,
Machine Learning 52, 2003) widen its variance from s²/n to s²·(1/n + n_test/n_train).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

_LEVEL = 0.05
_MOST_SEEDS = 1000


@dataclass(frozen=True)
class Interval:
    """An estimate with its 95% interval; NaN bounds where there is too little to say."""

    center: float
    low: float
    high: float


@dataclass(frozen=True)
class Verdict:
    """What a comparison of an arm with its reference came to.

    Differences are arm minus reference, in the metric's unit. `winner` is the name of the arm or
    of the reference, "equivalent" or "cannot tell"; where it cannot tell, `seeds_needed` is about
    how many seeds would decide at the present spread, None if no number would.
    """

    arm: str
    reference: str
    difference: Interval
    p: float
    p_holm: float
    p_equivalence_holm: float
    p_sign_flip: float
    winner: str
    seeds_needed: int | None


def _standard_error(values: np.ndarray, test_ratio: float) -> float:
    return float(values.std(ddof=1) * np.sqrt(1 / len(values) + test_ratio))


def mean_interval(values: Sequence[float], test_ratio: float) -> Interval:
    """Return the mean with its Nadeau-Bengio corrected t interval.

    Args:
        values: One value a seed.
        test_ratio: Size of the test set over size of the training set.
    """
    sample = np.asarray(values, dtype=float)
    mean = float(sample.mean())
    if len(sample) < 2:
        return Interval(mean, np.nan, np.nan)
    error = _standard_error(sample, test_ratio)
    half = float(stats.t.ppf(1 - _LEVEL / 2, len(sample) - 1)) * error
    return Interval(mean, mean - half, mean + half)


def median_interval(values: Sequence[float]) -> Interval:
    """Return the median with its distribution-free 95% interval; values may be infinite.

    The bounds are order statistics, which five values or fewer do not have at this level.
    """
    sample = np.sort(np.asarray(values, dtype=float))
    median = float(np.quantile(sample, 0.5, method="closest_observation"))
    rank = int(stats.binom.ppf(_LEVEL / 2, len(sample), 0.5))
    if rank == 0:
        return Interval(median, np.nan, np.nan)
    return Interval(median, float(sample[rank - 1]), float(sample[-rank]))


def holm(p_values: Sequence[float]) -> list[float]:
    """Return the p-values adjusted for their number (Holm 1979).

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    p = np.asarray(p_values, dtype=float)
    order = np.argsort(p)
    stepped = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(stepped, 1.0)
    return [float(value) for value in adjusted]


def sign_flip_p(differences: Sequence[float]) -> float:
    """Return the two-sided p of the sign-flip test of mean 0: exact to 15 values, then sampled."""
    if len(differences) < 2:
        return 1.0
    result = stats.permutation_test(
        (np.asarray(differences, dtype=float),),
        lambda sample, axis: np.mean(sample, axis=axis),
        permutation_type="samples",
        n_resamples=2**15,
        rng=np.random.default_rng(0),
    )
    return float(result.pvalue)


def decide(
    arms: dict[str, Sequence[float]],
    reference: str,
    reference_values: Sequence[float],
    *,
    test_ratio: float,
    margin: float,
    higher_is_better: bool,
) -> list[Verdict]:
    """Return the verdict on every arm against the reference, by the one rule.

    With the paired, corrected t interval of the difference, and Holm across the arms: an arm is
    *equivalent* to the reference if the difference lies within ±margin (two one-sided tests at
    2.5%, so the 95% interval lies inside); otherwise the better one *wins* if the difference is
    not 0 at 5%; otherwise the comparison *cannot tell*.

    Args:
        arms: The final metric of each arm, one value a seed.
        reference: The name of the reference.
        reference_values: Its final metrics, on the same seeds in the same order.
        test_ratio: Size of the test set over size of the training set.
        margin: The largest difference that does not matter in practice, in the metric's unit.
        higher_is_better: Whether a larger metric is the better one.
    """
    base = np.asarray(reference_values, dtype=float)
    differences = {name: np.asarray(values, dtype=float) - base for name, values in arms.items()}
    different = [_t_p(sample, test_ratio) for sample in differences.values()]
    same = [_equivalence_p(sample, test_ratio, margin) for sample in differences.values()]
    verdicts = []
    for (name, sample), p, p_holm, p_same in zip(
        differences.items(), different, holm(different), holm(same), strict=True
    ):
        better = name if (sample.mean() > 0) == higher_is_better else reference
        winner = _winner(better, p_holm, p_same)
        needed = _seeds_needed(sample, test_ratio, margin, len(arms))
        verdicts.append(
            Verdict(
                arm=name,
                reference=reference,
                difference=mean_interval(list(sample), test_ratio),
                p=p,
                p_holm=p_holm,
                p_equivalence_holm=p_same,
                p_sign_flip=sign_flip_p(list(sample)),
                winner=winner,
                seeds_needed=needed if winner == "cannot tell" else None,
            )
        )
    return verdicts


def _winner(better: str, p: float, p_equivalence: float) -> str:
    if p_equivalence < _LEVEL:
        return "equivalent"
    return better if p < _LEVEL else "cannot tell"


def _t_p(differences: np.ndarray, test_ratio: float) -> float:
    if len(differences) < 2:
        return 1.0
    error = _standard_error(differences, test_ratio)
    if error == 0:
        return 1.0 if differences[0] == 0 else 0.0
    return float(2 * stats.t.sf(abs(differences.mean()) / error, len(differences) - 1))


def _equivalence_p(differences: np.ndarray, test_ratio: float, margin: float) -> float:
    """Return twice the larger p of the two one-sided tests against ±margin."""
    if len(differences) < 2:
        return 1.0
    error = _standard_error(differences, test_ratio)
    inside = margin - abs(differences.mean())
    if error == 0:
        return 0.0 if inside > 0 else 1.0
    return float(min(1.0, 2 * stats.t.sf(inside / error, len(differences) - 1)))


def _seeds_needed(
    differences: np.ndarray, test_ratio: float, margin: float, arms: int
) -> int | None:
    """Return how many seeds make the interval exclude 0 or fit into the margin, if any do."""
    if len(differences) < 2:
        return None
    mean, spread = abs(differences.mean()), differences.std(ddof=1)
    seeds = np.arange(2, _MOST_SEEDS + 1)
    half = stats.t.ppf(1 - _LEVEL / arms / 2, seeds - 1) * spread * np.sqrt(1 / seeds + test_ratio)
    enough = seeds[half < max(mean, margin - mean)]
    return int(enough[0]) if len(enough) else None
