"""A verdict for each purpose that an activation may serve: accuracy is one of them.

Each is an answer on these rows. Means are compared as the metric is (`verdicts.decide`), times and
drifts, which have no mean where some seeds never arrive, by the median of their ratio to the
reference, seed by seed, with its distribution-free interval. Holm's method goes across the arms.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from scipy import stats

from softplus.lab import verdicts, wording
from softplus.lab.results import Arm, Results
from softplus.lab.statistics import Interval, holm, median_interval
from softplus.lab.trials import Outcome
from softplus.lab.verdicts import Verdict

# A step that takes less than this much more or less time costs the same for all purposes.
_SAME_TIME = 0.05


@dataclass(frozen=True)
class Finding:
    """What a purpose comes to for an arm: the winner as in a verdict, in words, and figures."""

    arm: str
    winner: str
    says: str
    figures: str


@dataclass(frozen=True)
class Purpose:
    """What is asked, how that is judged, and the finding on each arm but the reference."""

    name: str
    how: str
    findings: tuple[Finding, ...]


def purposes(results: Results) -> list[Purpose]:
    """Return the verdicts for every purpose that was measured."""
    target = results.problem.metric.target
    found = [_metric(results)]
    looked = any(outcome.curve for arm in results.arms for outcome in arm.outcomes)
    if target and looked:
        found += [
            _by_ratio(
                results,
                f"Steps to {target}",
                "steps until the validation metric is there; the median ratio of the seeds",
                lambda outcome: _or_never(outcome.steps_to_goal),
                "faster",
            ),
            _by_ratio(
                results,
                f"Seconds to {target}",
                "CPU time until then; the median ratio of the seeds",
                lambda outcome: _or_never(outcome.seconds_to_goal, outcome.steps_to_goal),
                "faster",
            ),
        ]
    found += [
        _step_time(results),
        _memory(results),
        _by_mean(results, "Sparsity", "outputs that are exactly 0", "sparsity", "sparser"),
        _by_mean(
            results,
            "Living units",
            "dead units: the fewer, the better",
            "dead",
            "livelier",
            lower=True,
        ),
        _by_mean(
            results,
            "Smooth training",
            "mean cosine between the gradients of successive steps",
            "smoothness",
            "smoother",
        ),
        _by_ratio(
            results,
            "Surviving a rerun",
            "how far the outputs end apart after one weight started one ULP (its last bit) "
            "higher; the median ratio of the seeds",
            lambda outcome: outcome.drift.output if outcome.drift else math.nan,
            "steadier",
        ),
    ]
    return [purpose for purpose in found if purpose.findings]


def _metric(results: Results) -> Purpose:
    """Return the purpose that the whole study is about."""
    metric = results.problem.metric
    return Purpose(
        f"Test {metric.name}",
        f"what the study asks; {'higher' if metric.higher_is_better else 'lower'} is better",
        tuple(
            _of_verdict(verdict, "better", metric.difference_unit) for verdict in results.verdicts
        ),
    )


def _says(arm: str, winner: str, adjective: str) -> str:
    """Return the finding on an arm in words: "faster", "relu is faster", "cannot tell"."""
    if winner in {"equivalent", "cannot tell"}:
        return winner
    return adjective if winner == arm else f"{winner} is {adjective}"


def _of_verdict(verdict: Verdict, adjective: str, unit: str) -> Finding:
    answer = verdict.these_rows
    figures = verdict.doubt or wording.difference(answer.interval, unit)
    return Finding(
        verdict.arm, answer.winner, _says(verdict.arm, answer.winner, adjective), figures
    )


def _by_mean(
    results: Results, name: str, how: str, measure: str, adjective: str, *, lower: bool = False
) -> Purpose:
    """Compare the mean of a measure; shares are in percent."""
    factor, unit = (1.0, "") if measure == "smoothness" else (100.0, "points")
    values = {
        arm.name: {
            seed: factor * getattr(outcome.measures, measure)
            for seed, outcome in enumerate(arm.outcomes)
            if outcome.measures
        }
        for arm in results.arms
    }
    if not any(values.values()):
        return Purpose(name, how, ())
    found = verdicts.decide(
        values,
        results.settings.reference,
        test_ratio=None,
        margin=None,
        higher_is_better=not lower,
    )
    return Purpose(name, how, tuple(_compared(verdict, adjective, unit) for verdict in found))


def _compared(verdict: Verdict, adjective: str, unit: str) -> Finding:
    if verdict.doubt and min(verdict.runs) > 1 and verdict.these_rows.interval.center == 0:
        return Finding(verdict.arm, "equivalent", "equivalent", "the same in every run")
    return _of_verdict(verdict, adjective, unit)


def _or_never(value: float | None, reached: float | None = None) -> float:
    """Return the value, infinity where the target was never reached, NaN where nobody looked."""
    if value is None:
        return math.inf if reached is None else math.nan
    return float(value)


def _by_ratio(
    results: Results, name: str, how: str, value: Callable[[Outcome], float], adjective: str
) -> Purpose:
    """Compare a positive quantity, of which less is better and infinity means never."""
    arms = {arm.name: arm for arm in results.arms}
    reference = arms.pop(results.settings.reference)
    ratios = {other: _ratios(arm, reference, value) for other, arm in arms.items()}
    if not any(ratios.values()):
        return Purpose(name, how, ())
    levels = [level for _, level in holm([_sign_test(sample) for sample in ratios.values()])]
    return Purpose(
        name,
        how,
        tuple(
            _faster(arms[other], reference, median_interval(sample, 1 - level), value, adjective)
            for (other, sample), level in zip(ratios.items(), levels, strict=True)
        ),
    )


def _ratios(arm: Arm, reference: Arm, value: Callable[[Outcome], float]) -> list[float]:
    """Return the ratios seed by seed; where neither arrives there is no difference."""
    ratios = []
    for ours, theirs in zip(arm.outcomes, reference.outcomes, strict=False):
        a, b = value(ours), value(theirs)
        if not (math.isnan(a) or math.isnan(b) or ours.failure or theirs.failure):
            ratios.append(1.0 if a == b else math.inf if b == 0 else a / b)
    return ratios


def _sign_test(ratios: Sequence[float]) -> float:
    """Return the two-sided p of a median ratio of 1; ties count against either side."""
    fewer = min(sum(ratio <= 1 for ratio in ratios), sum(ratio >= 1 for ratio in ratios))
    return min(1.0, 2 * float(stats.binom.cdf(fewer, len(ratios), 0.5)))


def _faster(
    arm: Arm,
    reference: Arm,
    ratio: Interval,
    value: Callable[[Outcome], float],
    adjective: str,
) -> Finding:
    reached = ""
    never = [
        sum(math.isinf(value(outcome)) for outcome in side.outcomes) for side in (arm, reference)
    ]
    if any(never):
        reached = (
            f"; never on {never[0]} of {len(arm.outcomes)} seeds, {reference.name} on "
            f"{never[1]} of {len(reference.outcomes)}"
        )
    if math.isnan(ratio.low):
        reached += "; too few seeds for an interval"
    winner = "cannot tell"
    if ratio.low > 1 or ratio.high < 1:
        winner = arm.name if ratio.high < 1 else reference.name
    return Finding(
        arm.name, winner, _says(arm.name, winner, adjective), f"{_times(ratio)}{reached}"
    )


def _times(ratio: Interval) -> str:
    """Return a ratio with its interval."""
    if math.isnan(ratio.center):
        return "no seed of both"
    if math.isinf(ratio.center) or math.isinf(ratio.high):
        ends = ("never" if math.isinf(end) else f"{end:.3g}" for end in (ratio.low, ratio.high))
        center = "never" if math.isinf(ratio.center) else f"{ratio.center:.3g}"
        return f"ratio {center} ({' to '.join(ends)})"
    return f"ratio {wording.estimate(ratio)}"


def _others(results: Results) -> list[Arm]:
    return [arm for arm in results.arms if arm.name != results.settings.reference]


def _step_time(results: Results) -> Purpose:
    findings = []
    reference = results.settings.reference
    for arm in _others(results):
        if arm.cost is None:
            continue
        ratio = arm.cost.ratio
        winner = "cannot tell"
        if ratio.low > 1 - _SAME_TIME and ratio.high < 1 + _SAME_TIME:
            winner = "equivalent"
        elif ratio.low > 1 or ratio.high < 1:
            winner = arm.name if ratio.high < 1 else reference
        figures = arm.cost.busy or _times(ratio)
        findings.append(Finding(arm.name, winner, _says(arm.name, winner, "faster"), figures))
    how = f"a training step on one thread; within {_SAME_TIME:.0%} counts as equivalent"
    return Purpose("Cost of a step", how, tuple(findings))


def _memory(results: Results) -> Purpose:
    kept = {arm.name: arm.cost.bytes_kept for arm in results.arms if arm.cost}
    theirs = kept.get(results.settings.reference)
    findings = []
    for arm in _others(results):
        if theirs is None or arm.name not in kept:
            continue
        ours = kept[arm.name]
        winner = "equivalent"
        if ours != theirs:
            winner = arm.name if ours < theirs else results.settings.reference
        figures = f"{ours:,} bytes, {results.settings.reference} {theirs:,}"
        findings.append(Finding(arm.name, winner, _says(arm.name, winner, "smaller"), figures))
    return Purpose("Memory", "bytes that a forward pass keeps for backward", tuple(findings))
