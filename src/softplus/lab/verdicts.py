"""The rule that decides a comparison: two questions, asked of the same runs.

*On these rows*: trained and tested again on the same
rows, which arm is better on average? Given the rows, the seeds are independent draws (of the
split, the weights, the order), so the plain t interval answers. *On other rows* of the same source:
runs that share a finite data set have overlapping training sets, and what is particular to it does
not average out; Nadeau and Bengio (Inference for the Generalization Error, Machine Learning 52,
2003) widen the variance from s²/n to s²·(1/n + n_test/n_train).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from scipy import stats

from softplus.lab import power
from softplus.lab.statistics import LEVEL, Interval, holm, sign_flip_p

# Metrics of an arm by seed, or by whatever pairs its runs with the reference's.
Scores = Mapping[Any, float]
_Array = np.ndarray[tuple[int, ...], np.dtype[np.float64]]


@dataclass(frozen=True)
class Answer:
    """The answer to one of the two questions.

    `winner` is the name of the arm or of the reference, "equivalent" or "cannot tell". It can be
    read off the `interval` of the difference (arm minus reference): a winner's excludes 0, that of
    equivalents lies within the margin. `level` is that interval's own, which Holm's method raises
    above 0.95 where there are several arms.

    `smallest_difference` is what four of five such studies find, and `limit` what that falls to
    with any number of seeds. `seeds_needed` is the number with which four of five studies tell a
    difference of the margin from none on these rows; None elsewhere, and above 1,000.
    """

    winner: str
    interval: Interval
    level: float
    p: float
    p_holm: float
    p_equivalence_holm: float | None
    smallest_difference: float
    limit: float
    seeds_needed: int | None


@dataclass(frozen=True)
class Verdict:
    """What the comparison of an arm with the reference came to.

    `runs` are the runs of arm and reference that were compared, `failed` those left out because
    they have no finite metric. `other_rows` is None where the size of the test set over that of the
    training set is unknown. `doubt` says why nothing can be told, whatever the intervals.
    """

    arm: str
    reference: str
    paired: bool
    runs: tuple[int, int]
    failed: tuple[int, int]
    these_rows: Answer
    other_rows: Answer | None
    p_sign_flip: float
    doubt: str | None = None


@dataclass(frozen=True)
class _Sample:
    """The metrics of an arm and of the reference that are compared, in the same order if paired."""

    arm: _Array
    reference: _Array
    paired: bool

    @property
    def difference(self) -> float:
        return float(self.arm.mean() - self.reference.mean()) if self.compared else np.nan

    @property
    def compared(self) -> bool:
        """Whether there is anything to compare."""
        return min(len(self.arm), len(self.reference)) > 0

    @property
    def parts(self) -> list[tuple[float, int]]:
        """Variance and number of the values that the mean difference is made of."""
        values = [self.arm - self.reference] if self.paired else [self.arm, self.reference]
        # A metric that takes steps, as an accuracy on thirty rows does, is known to no better than
        # the variance of a rounding: without it three equal differences would be certainty.
        rounding = _step(np.concatenate([self.arm, self.reference])) ** 2 / 12
        floor = 2 * rounding if self.paired else rounding
        return [(max(float(part.var(ddof=1)), floor), len(part)) for part in values]

    def error(self, test_ratio: float) -> float:
        """The standard error of the mean difference, NaN where one run has none."""
        if min(len(self.arm), len(self.reference)) < 2:
            return np.nan
        return float(np.sqrt(sum(variance * (1 / n + test_ratio) for variance, n in self.parts)))

    @property
    def freedom(self) -> float:
        """The degrees of freedom: Welch's where runs are not paired."""
        shares = [(variance / n, n) for variance, n in self.parts]
        total = sum(share for share, _ in shares)
        if self.paired or total == 0:
            return min(n for _, n in shares) - 1.0
        return total**2 / sum(share**2 / (n - 1) for share, n in shares)


def _step(values: _Array) -> float:
    """Return the smallest difference between two values that are not the same, 0 if all are."""
    gaps = np.diff(np.unique(values))
    gaps = gaps[gaps > 1e-9 * np.abs(values).max(initial=0.0)]
    return float(gaps.min()) if len(gaps) else 0.0


def decide(
    scores: Mapping[str, Scores],
    reference: str,
    *,
    test_ratio: float | None,
    margin: float | None,
    higher_is_better: bool,
    paired: bool = True,
) -> list[Verdict]:
    """Return the verdict on every arm against the reference, on these rows and on others.

    An arm is *equivalent* to the reference if the difference lies within ±margin (two one-sided
    tests at 2.5%, so the interval lies inside); otherwise the better one *wins* if the difference
    is not 0 at 5%; otherwise the comparison *cannot tell*. Both tests by Holm across the arms.

    Args:
        scores: The final metric of each run, by arm and then by what pairs it with others, the
            seed. Runs whose metric is no finite number have failed, and are counted.
        reference: The arm that the others are compared with.
        test_ratio: Size of the test set over size of the training set; None if unknown.
        margin: The largest difference that does not matter in practice, in the metric's unit;
            None: equivalence is not asked.
        higher_is_better: Whether a larger metric is the better one.
        paired: Compare runs of the same key. Where arm and reference share less than half of their
            keys, or this is False, all runs of one are compared with all runs of the other.
    """
    samples = {
        name: _sample(scores[name], scores[reference], paired=paired)
        for name in scores
        if name != reference
    }
    answers = partial(_answers, samples, reference, margin, higher_is_better)
    here = answers(test_ratio=0.0)
    elsewhere = {} if test_ratio is None else answers(test_ratio=test_ratio)
    return [
        Verdict(
            arm=name,
            reference=reference,
            paired=sample.paired,
            runs=(len(sample.arm), len(sample.reference)),
            failed=(_failed(scores[name]), _failed(scores[reference])),
            these_rows=here[name],
            other_rows=elsewhere.get(name),
            p_sign_flip=sign_flip_p(
                sample.arm.tolist(), sample.reference.tolist(), paired=sample.paired
            ),
            doubt=_doubt(sample),
        )
        for name, sample in samples.items()
    ]


def _sample(arm: Scores, reference: Scores, *, paired: bool) -> _Sample:
    finite = [
        {key: value for key, value in scores.items() if np.isfinite(value)}
        for scores in (arm, reference)
    ]
    # Whether runs are pairs does not depend on which of them failed. A few keys that two lists of
    # runs share by chance would leave too little.
    shared = len(arm.keys() & reference.keys())
    if paired and shared and 2 * shared >= min(len(arm), len(reference)):
        common = [key for key in finite[0] if key in finite[1]]
        values = [np.array([scores[key] for key in common]) for scores in finite]
        return _Sample(values[0], values[1], paired=True)
    values = [np.array(list(scores.values())) for scores in finite]
    return _Sample(values[0], values[1], paired=False)


def _failed(scores: Scores) -> int:
    return sum(not np.isfinite(value) for value in scores.values())


def _doubt(sample: _Sample) -> str | None:
    """Return why these runs can decide nothing, None if they can."""
    runs = min(len(sample.arm), len(sample.reference))
    if runs == 0:
        return "no run of both finished" if sample.paired else "no run of one of them finished"
    if runs == 1:
        return "one run has no spread, so at least two are needed"
    if np.ptp(sample.arm) == 0 and np.ptp(sample.reference) == 0:
        return (
            "all runs of either came out the same: the seed does not reach them, or the metric "
            "is at its limit"
        )
    return None


def _answers(
    samples: Mapping[str, _Sample],
    reference: str,
    margin: float | None,
    higher_is_better: bool,
    *,
    test_ratio: float,
) -> dict[str, Answer]:
    """Return the answers to one question, by arm."""
    tests = [_t_p(sample, test_ratio) for sample in samples.values()]
    same = [_equivalence_p(sample, test_ratio, margin) for sample in samples.values()]
    answers = {}
    for name, sample, p, (p_holm, level), (p_equal, equal_level) in zip(
        samples, samples.values(), tests, holm(tests), holm(same), strict=True
    ):
        better = name if (sample.difference > 0) == higher_is_better else reference
        if p_equal < LEVEL:
            winner, shown = "equivalent", equal_level
        elif p_holm < LEVEL:
            winner, shown = better, level
        else:  # the wider one includes 0 and reaches beyond the margin
            winner, shown = "cannot tell", level if margin is None else min(level, equal_level)
        answers[name] = Answer(
            winner=winner,
            interval=_interval(sample, test_ratio, shown),
            level=1 - shown,
            p=p,
            p_holm=p_holm,
            p_equivalence_holm=None if margin is None else p_equal,
            **_power(sample, test_ratio, margin, LEVEL / len(samples)),
        )
    return answers


def _interval(sample: _Sample, test_ratio: float, level: float) -> Interval:
    if _doubt(sample):
        return Interval(sample.difference, np.nan, np.nan)
    half = float(stats.t.ppf(1 - level / 2, sample.freedom)) * sample.error(test_ratio)
    return Interval(sample.difference, sample.difference - half, sample.difference + half)


def _t_p(sample: _Sample, test_ratio: float) -> float:
    if _doubt(sample):
        return 1.0
    error = sample.error(test_ratio)
    if error == 0:
        return 1.0 if sample.difference == 0 else 0.0
    return float(2 * stats.t.sf(abs(sample.difference) / error, sample.freedom))


def _equivalence_p(sample: _Sample, test_ratio: float, margin: float | None) -> float:
    """Return twice the larger p of the two one-sided tests against ±margin."""
    if margin is None or _doubt(sample):
        return 1.0
    error = sample.error(test_ratio)
    inside = margin - abs(sample.difference)
    if error == 0:
        return 0.0 if inside > 0 else 1.0
    return float(min(1.0, 2 * stats.t.sf(inside / error, sample.freedom)))


def _power(
    sample: _Sample, test_ratio: float, margin: float | None, level: float
) -> dict[str, Any]:
    """Return what the design can find, at the strictest level of Holm's."""
    if _doubt(sample):
        return {"smallest_difference": np.nan, "limit": np.nan, "seeds_needed": None}
    variance = sum(variance for variance, _ in sample.parts)
    error = sample.error(test_ratio)
    needed = None
    if margin is not None and test_ratio == 0:  # about other rows more seeds say less and less
        needed = power.seeds_needed(variance, sample.freedom, margin, level, paired=sample.paired)
    return {
        "smallest_difference": power.smallest_difference(error, sample.freedom, level),
        "limit": power.smallest_difference(float(np.sqrt(variance * test_ratio)), np.inf, level),
        "seeds_needed": needed,
    }
