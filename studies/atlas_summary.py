"""What the atlas adds up to: every difference from ReLU, and random effects by kind of problem."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import numpy as np
from atlas_datasets import DATASETS, KINDS, SMOOTH
from scipy import stats

from softplus.lab import verdicts
from softplus.lab.verdicts import Answer, Verdict

REFERENCE = "relu"
TABLES, ANY = "all tables", "any"
KIND_OF = {dataset.name: dataset.kind for dataset in DATASETS}


@dataclass(frozen=True)
class Difference:
    """An arm against ReLU on one problem with one network, as the lab decides it."""

    problem: str
    network: str
    unit: str
    higher_is_better: bool
    margin: float
    verdict: Verdict

    @property
    def arm(self) -> str:
        """The arm's name."""
        return self.verdict.arm

    @property
    def kind(self) -> str:
        """The kind of problem."""
        return KIND_OF[self.problem]

    def in_margins(self, value: float) -> float:
        """Return a difference in margins, positive where the arm is better."""
        return (value if self.higher_is_better else -value) / self.margin

    @property
    def effect(self) -> float:
        """The mean difference in margins."""
        return self.in_margins(self.verdict.these_rows.interval.center)

    @property
    def error(self) -> float:
        """The standard error of that about other rows, NaN where nothing could be told."""
        answer = self.verdict.other_rows
        assert answer is not None  # noqa: S101  # every problem of the atlas splits at random
        freedom = self.verdict.runs[0] - 1
        half = (answer.interval.high - answer.interval.low) / 2
        return float(half / stats.t.ppf((1 + answer.level) / 2, freedom) / self.margin)

    def outcome(self, answer: Answer | None) -> str:
        """Return "better", "worse", "equivalent" or "cannot tell", of the arm."""
        assert answer is not None  # noqa: S101
        named = {self.arm: "better", REFERENCE: "worse"}
        return named.get(answer.winner, answer.winner)


@dataclass(frozen=True)
class Pooled:
    """What several problems say together of an arm, in margins; positive: better than ReLU.

    `low` and `high` are the 95% interval of the mean over problems of the kind, `predicted_low` and
    `predicted_high` that of one more problem; `spread` is the standard deviation between problems.
    The counts are of verdicts on the rows at hand.
    """

    kind: str
    network: str
    arm: str
    problems: int
    mean: float
    low: float
    high: float
    predicted_low: float
    predicted_high: float
    spread: float
    better: int
    worse: int
    equivalent: int
    cannot_tell: int

    @property
    def conclusion(self) -> str:
        """What the interval of the mean says, by the rule that the lab has for one problem."""
        if self.low > -1 and self.high < 1:
            return "equivalent"
        if self.low > 0:
            return "better"
        return "worse" if self.high < 0 else "cannot tell"


def differences(results: dict[str, Any]) -> list[Difference]:
    """Return every difference from ReLU, decided by the lab's rule from the scores."""
    found = []
    for study in results["studies"]:
        scores = {
            name: {seed: np.nan if s is None else s for seed, s in enumerate(arm["test"])}
            for name, arm in study["arms"].items()
        }
        decided = verdicts.decide(
            scores,
            REFERENCE,
            test_ratio=study["test_ratio"],
            margin=study["margin"],
            higher_is_better=study["higher_is_better"],
        )
        common = (study["problem"], study["network"], study["unit"])
        found += [
            Difference(*common, study["higher_is_better"], study["margin"], verdict)
            for verdict in decided
        ]
    return found


def pooled(found: Sequence[Difference]) -> list[Pooled]:
    """Return random-effects means of every arm, by kind of problem and by network."""
    networks = list(dict.fromkeys(each.network for each in found))
    summaries = []
    for kind in (*KINDS, TABLES):
        for network in (*networks, ANY):
            for arm in dict.fromkeys(each.arm for each in found):
                chosen = [
                    each
                    for each in found
                    if each.arm == arm
                    and network in {each.network, ANY}
                    and (each.kind == kind or (kind == TABLES and each.kind != SMOOTH))
                ]
                summaries.append(_pooled(kind, network, arm, chosen))
    return summaries


def _pooled(kind: str, network: str, arm: str, chosen: list[Difference]) -> Pooled:
    effects, errors = zip(*_by_problem(chosen), strict=True)
    outcomes = [each.outcome(each.verdict.these_rows) for each in chosen]
    mean, error, spread = combine(effects, errors)
    problems = len(effects)
    half = float(stats.t.ppf(0.975, problems - 1)) * error
    new = float(stats.t.ppf(0.975, problems - 2)) * float(np.hypot(spread, error))
    return Pooled(
        kind,
        network,
        arm,
        problems,
        mean,
        mean - half,
        mean + half,
        mean - new,
        mean + new,
        spread,
        *(outcomes.count(each) for each in ("better", "worse", "equivalent", "cannot tell")),
    )


def _by_problem(chosen: Iterable[Difference]) -> list[tuple[float, float]]:
    """Return effect and standard error of each problem, its networks taken together.

    They share the rows, so their errors are taken to be the same: the mean has their mean error.
    """
    by_problem: dict[str, list[Difference]] = {}
    for each in chosen:
        if np.isfinite(each.error):
            by_problem.setdefault(each.problem, []).append(each)
    return [
        (fmean(each.effect for each in of), fmean(each.error for each in of))
        for of in by_problem.values()
    ]


def combine(effects: Sequence[float], errors: Sequence[float]) -> tuple[float, float, float]:
    """Return the mean of random effects, its standard error and the spread between problems.

    The spread is Paule and Mandel's. The error is Hartung and Knapp's, and never smaller than the
    usual one, which theirs is where problems agree better than their errors say.
    """
    from statsmodels.stats.meta_analysis import combine_effects  # noqa: PLC0415  # an extra's

    found = combine_effects(np.array(effects), np.array(errors) ** 2, method_re="pm")
    error = max(float(found.sd_eff_w_re), float(found.sd_eff_w_re_hksj))
    return float(found.mean_effect_re), error, float(np.sqrt(max(found.tau2, 0.0)))
