"""How often the verdicts are wrong, and how often they find what is there: each in simulations.

The learners are exchangeable: y is the sum of several features and noise, and learner j regresses
y on feature j alone. They are trained and tested again and again on one finite data set, split anew
by every seed, as a study does. On other rows the learners are equally good. On the rows of one data
set one of them is better by chance, by what its mean over hundreds of other splits shows: that is
the truth of the first question, so its null is that difference and not 0.

`pytest tests/lab/test_calibration.py -s` prints the rates and the power.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import pytest
from scipy import stats

from softplus.lab import power, verdicts

ROWS = 300
TEST = ROWS // 5  # as many for validation, which these learners do not need
RATIO = TEST / (ROWS - 2 * TEST)
LEARNERS = 3
# Splits by which the truth is known: with so many its own error adds half a percent to the
# variance of a study's mean, and less than 0.1% to the rate of wrong wins.
MANY_A_SEED = 200


def errors(generator, features, target, seeds):
    """Return the test errors of every learner, seeds by learners, each seed on its own split."""
    order = generator.permuted(np.tile(np.arange(ROWS), (seeds, 1)), axis=1)
    train, test = order[:, 2 * TEST :], order[:, :TEST]
    x, y = features[:, train], target[train]
    slopes = (x * y).sum(axis=-1) / (x * x).sum(axis=-1)
    residuals = target[test] - features[:, test] * slopes[..., None]
    return (residuals**2).mean(axis=-1).T


@dataclass(frozen=True)
class DataSet:
    """One finite data set: the errors of a study, what is true of it, and more seeds to draw.

    `truth` is the mean difference of every learner from the first, `spread` the deviation of a
    difference, both over many splits.
    """

    study: np.ndarray
    truth: np.ndarray
    spread: float
    more: Callable[[int], np.ndarray]


def data_sets(seeds, repetitions):
    """Yield independent data sets, each with a study of so many seeds."""
    generator = np.random.default_rng(seeds)
    for _ in range(repetitions):
        features = generator.standard_normal((LEARNERS, ROWS))
        target = features.sum(axis=0) + generator.standard_normal(ROWS)
        reference = errors(generator, features, target, MANY_A_SEED * seeds)
        differences = reference - reference[:, :1]
        yield DataSet(
            study=errors(generator, features, target, seeds),
            truth=differences.mean(axis=0),
            spread=float(differences[:, 1:].std(axis=0).mean()),
            more=partial(errors, generator, features, target),
        )


def decide(metrics, *, shift=0.0, margin=None, test_ratio=RATIO):
    """Return the verdicts on learners 1 and up against 0, of which shift is taken off."""
    shifted = metrics - shift
    scores = {f"learner {j}": dict(enumerate(shifted[:, j])) for j in range(shifted.shape[1])}
    return verdicts.decide(
        scores, "learner 0", test_ratio=test_ratio, margin=margin, higher_is_better=False
    )


def won(answers):
    """Whether any of the answers names a winner."""
    return any(answer.winner not in {"equivalent", "cannot tell"} for answer in answers)


def above(count, repetitions, rate):
    """Whether so many of so many are more than the rate allows, at one in a thousand."""
    return stats.binomtest(count, repetitions, rate, alternative="greater").pvalue < 1e-3


@pytest.fixture(autouse=True)
def no_permutations(monkeypatch):
    """Leave the permutation test out: it decides nothing, and takes most of the time."""
    monkeypatch.setattr(verdicts, "sign_flip_p", lambda *_, **__: 1.0)


@pytest.mark.parametrize(
    ("seeds", "repetitions"),
    [(10, 60), *(pytest.param(n, 1000, marks=pytest.mark.slow) for n in (3, 6, 10, 20))],
)
def test_wrong_wins_stay_below_5_percent_for_either_question(seeds, repetitions):
    wrong = Counter()
    for data in data_sets(seeds, repetitions):
        here = decide(data.study, shift=data.truth)
        elsewhere = decide(data.study)
        wrong["these rows"] += won([verdict.these_rows for verdict in here])
        wrong["other rows"] += won([verdict.other_rows for verdict in elsewhere])
        # What a plain t interval says about other rows is what this package used to say.
        wrong["other rows, uncorrected"] += won([verdict.these_rows for verdict in elsewhere])
        # Two learners that differ by just the margin are not equivalent.
        step = np.array([0.0, *[2 * data.spread] * (LEARNERS - 1)])
        edge = decide(data.study, shift=data.truth - step, margin=2 * data.spread)
        wrong["equivalent, these rows"] += any(v.these_rows.winner == "equivalent" for v in edge)
    rates = {question: count / repetitions for question, count in wrong.items()}
    print(f"\n{seeds} seeds, {LEARNERS} learners: wrong {rates}")  # noqa: T201
    for question in ("these rows", "other rows", "equivalent, these rows"):
        assert not above(wrong[question], repetitions, 0.05), rates
    if seeds > 3:  # the t interval of three is wide enough to hide most of it
        assert above(wrong["other rows, uncorrected"], repetitions, 0.05), rates


@pytest.mark.parametrize(
    ("seeds", "repetitions"),
    [(6, 60), *(pytest.param(n, 1000, marks=pytest.mark.slow) for n in (3, 6, 10, 20))],
)
def test_what_the_design_can_find_and_the_seeds_needed_come_true(seeds, repetitions):
    found = Counter()
    asked = 0
    for data in data_sets(seeds, repetitions):
        pair, truth = data.study[:, :2], data.truth[:2]
        (verdict,) = decide(pair, margin=data.spread)
        for question in ("these_rows", "other_rows"):
            smallest = getattr(verdict, question).smallest_difference
            # About other rows the truth is 0, and what these rows add to it is part of the game.
            null = truth if question == "these_rows" else 0.0
            again = decide(data.more(seeds)[:, :2], shift=null - np.array([0.0, smallest]))
            found[question] += won([getattr(again[0], question)])
        needed = verdict.these_rows.seeds_needed
        if needed is None:
            continue
        asked += 1
        larger = data.more(needed)[:, :2]
        step = np.array([0.0, data.spread])
        (real,) = decide(larger, shift=truth - step, margin=data.spread)
        (none,) = decide(larger, shift=truth, margin=data.spread)
        found["margin"] += won([real.these_rows])
        found["none"] += none.these_rows.winner == "equivalent"
    rates = {q: n / (asked if q in {"margin", "none"} else repetitions) for q, n in found.items()}
    print(f"\n{seeds} seeds: found {rates}, seeds needed asked {asked} times")  # noqa: T201
    assert asked > 0.9 * repetitions
    tries = {"these_rows": repetitions, "other_rows": repetitions, "margin": asked, "none": asked}
    for question, count in found.items():
        test = stats.binomtest(count, tries[question], power.POWER, alternative="less")
        assert test.pvalue > 1e-3, rates
