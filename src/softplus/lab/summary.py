"""The summary of a study: the Softplus-vs-ReLU table, row by row, and the verdict in words.

Terminal, HTML and Markdown print the same rows.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

from softplus.lab import wording
from softplus.lab.measures import DEAD_BELOW, DORMANT_AT
from softplus.lab.problems import Metric, Problem
from softplus.lab.results import Arm, Results
from softplus.lab.statistics import Interval, mean_interval, median_interval
from softplus.lab.verdicts import Answer, Verdict


@dataclass(frozen=True)
class Row:
    """One property of the table: its label, how it is measured, and one text for each arm."""

    label: str
    how: str
    cells: list[str]


def sections(results: Results) -> dict[str, list[Row]]:
    """Return the rows of the table under their headings; the cells follow `results.arms`.

    A cell is an estimate over the seeds with its 95% interval in brackets: the mean with its t
    interval, or, where it says so, the median with its own.
    """
    lines = {
        "The function": _FUNCTION,
        "x < 0": _side("negative"),
        "x > 0": _side("positive"),
        "Gradient": _GRADIENT,
        "Units": _UNITS,
        "Training": _training(results.problem),
        "Cost": _COST,
    }
    return {
        section: [
            Row(label, how, [cell(arm, results.problem) for arm in results.arms])
            for label, how, cell in members
        ]
        for section, members in lines.items()
    }


def subject(results: Results) -> wording.Subject:
    """Return what the verdicts of a study are about, in words."""
    problem = results.problem
    return wording.Subject(
        higher_is_better=problem.metric.higher_is_better,
        margin=results.settings.margin,
        unit=problem.metric.difference_unit,
        rows=problem.rows,
        things=problem.things,
    )


def notes(results: Results) -> list[str]:
    """Return what a reader should know before trusting the table."""
    settings = results.settings
    found = [
        f"{arm.name}: the chosen learning rate {arm.learning_rate:g} is at the edge of the "
        "grid; a wider --lr might serve it better"
        for arm in results.arms
        if _at_edge(arm)
    ]
    found += [
        f"{arm.name}: training diverged on {count} of {settings.seeds} seeds; the best state "
        "before it was judged"
        for arm in results.arms
        if (count := sum(outcome.diverged_at is not None for outcome in arm.outcomes))
    ]
    if settings.seeds < 6:
        found.append(
            f"with {settings.seeds} seeds a median has no 95% interval, and the sign-flip test "
            f"cannot go below {2 / 2**settings.seeds:.2g}"
        )
    found += results.problem.remarks({arm.name: arm.outcomes for arm in results.arms})
    return found


TEST_HEADINGS = [
    "question",
    "answer",
    "difference, interval",
    "of level",
    "p (t)",
    "p (Holm)",
    "p of equivalence (Holm)",
    "p (sign flip)",
    "found from",
]


def tests(results: Results) -> list[tuple[str, list[str]]]:
    """Return, for each arm and question, the texts that stand under TEST_HEADINGS."""
    return [
        (verdict.arm, [question, *_test(answer), *_extras(verdict, answer)])
        for verdict in results.verdicts
        for question, answer in (
            ("these rows", verdict.these_rows),
            ("other rows", verdict.other_rows),
        )
        if answer is not None
    ]


def _test(answer: Answer) -> list[str]:
    same = answer.p_equivalence_holm
    return [
        answer.winner,
        wording.difference(answer.interval),
        f"{100 * answer.level:.3g}%",
        f"{answer.p:.2g}",
        f"{answer.p_holm:.2g}",
        "not asked" if same is None else f"{same:.2g}",
    ]


def _extras(verdict: Verdict, answer: Answer) -> list[str]:
    # The sign-flip test, as every permutation of the seeds, knows nothing of other rows.
    flip = f"{verdict.p_sign_flip:.2g}" if answer is verdict.these_rows else ""
    found = answer.smallest_difference
    return [flip, "" if math.isnan(found) else wording.amount(found)]


def _at_edge(arm: Arm) -> bool:
    """Whether the best learning rate is the lowest or the highest that was tried."""
    return len(arm.tuning) > 1 and arm.learning_rate in (min(arm.tuning), max(arm.tuning))


def _clip(interval: Interval, lowest: float, highest: float) -> Interval:
    """Keep the bounds of a bounded quantity where it can be; NaN stays NaN."""
    if math.isnan(interval.low):
        return interval
    return Interval(interval.center, max(interval.low, lowest), min(interval.high, highest))


def _with_interval(interval: Interval, form: Callable[[float], str]) -> str:
    if math.isnan(interval.low):
        return form(interval.center)
    return f"{form(interval.center)} [{form(interval.low)}, {form(interval.high)}]"


def _percent(value: float) -> str:
    return f"{100 * value:.1f}%"


def _number(value: float) -> str:
    return f"{value:.3g}" if abs(value) < 100 else f"{value:.0f}"


def _goal(metric: Metric) -> str:
    if metric.goal is None:
        return "a target"
    return f"{metric.goal:g} {metric.unit} {metric.name}"


def _steps(value: float) -> str:
    return "never" if math.isinf(value) else f"{value:.0f}"


# What a row puts under an arm.
_Cell = Callable[[Arm, Problem], str]
# Label, how it is measured, cell.
_Line = tuple[str, str, _Cell]


def _mean(measure: str, form: Callable[[float], str], lowest: float, highest: float) -> _Cell:
    """Return the cell with the mean of a measure over the seeds."""

    def cell(arm: Arm, _: Problem) -> str:
        values = [getattr(measures, measure) for measures in arm.measures]
        return _with_interval(_clip(mean_interval(values), lowest, highest), form)

    return cell


def _share(measure: str) -> _Cell:
    return _mean(measure, _percent, 0.0, 1.0)


def _figure(measure: str, lowest: float = -math.inf, highest: float = math.inf) -> _Cell:
    return _mean(measure, _number, lowest, highest)


def _definition(arm: Arm, _: Problem) -> str:
    parameters = ", ".join(f"{name} = {v:g}" for name, v in arm.activation.parameters.items())
    return arm.activation.formula + (f" ({parameters})" if parameters else "")


def _learning_rate(arm: Arm, _: Problem) -> str:
    if arm.learning_rate is None:
        return "the problem's own"
    return f"{arm.learning_rate:g}{' (edge of the grid)' if _at_edge(arm) else ''}"


def _steps_to_goal(arm: Arm, _: Problem) -> str:
    steps = [outcome.steps_to_goal for outcome in arm.outcomes]
    reached = [step for step in steps if step is not None]
    interval = median_interval([math.inf if step is None else step for step in steps])
    return f"{_with_interval(interval, _steps)}, reached by {len(reached)} of {len(steps)}"


def _test_metric(arm: Arm, problem: Problem) -> str:
    interval = mean_interval([outcome.test for outcome in arm.outcomes])
    bounds = (0.0, 100.0) if problem.metric.unit == "%" else (-math.inf, math.inf)
    return _with_interval(_clip(interval, *bounds), _number)


def _step_time(arm: Arm, _: Problem) -> str:
    if arm.cost is None:
        return "not measured"
    ratio = _with_interval(arm.cost.ratio, _number)
    return f"{arm.cost.milliseconds.center:.3g}, ratio {ratio}"


_FUNCTION: list[_Line] = [
    ("Definition", "", _definition),
    ("Shape", "on [-20, 20], by autograd", lambda arm, _: arm.activation.shape()),
    (
        "f(-2), f(0), f(5)",
        "in float64",
        lambda arm, _: ", ".join(f"{value:.4f}" for value in arm.activation.values()),
    ),
]
_GRADIENT: list[_Line] = [
    (
        "Smallest gradient seen",
        "smallest |f'(x)| of all seeds and pairs",
        lambda arm, _: f"{min(measures.smallest_gradient for measures in arm.measures):.2g}",
    ),
    ("Gradients zero or subnormal", "share of |f'(x)| below 1.2e-38", _share("underflow")),
]
_UNITS: list[_Line] = [
    (
        "Dead units",
        f"|f'(x)| < {DEAD_BELOW:g} on every example of the whole data set",
        _share("dead"),
    ),
    (
        "Dormant units",
        f"mean |output| at most {DORMANT_AT:.1%} of the layer's mean",
        _share("dormant"),
    ),
    ("Sparsity", "share of outputs that are exactly 0", _share("sparsity")),
]


def _side(sign: str) -> list[_Line]:
    pairs = "over all hidden units and examples"
    probe = "R² of the best line from output to pre-activation"
    return [
        ("Share of pre-activations", pairs, _share(f"share_{sign}")),
        ("Mean output", pairs, _figure(f"output_{sign}")),
        ("Recovered by a linear probe", probe, _figure(f"recovered_{sign}", 0, 1)),
    ]


def _training(problem: Problem) -> list[_Line]:
    return [
        (
            "Smoothness of the updates",
            "mean cosine between successive gradients",
            _figure("smoothness", -1, 1),
        ),
        (
            "Gradient norm at the first layer",
            "median over the steps",
            _figure("first_layer_gradient", 0),
        ),
        (
            "Learning rate",
            "the best of the same budget, on separate seeds",
            _learning_rate,
        ),
        (
            f"Steps to {_goal(problem.metric)}",
            "on the validation split; median over the seeds",
            _steps_to_goal,
        ),
        (
            f"Test {problem.metric.name} ({problem.metric.unit})",
            f"{'higher' if problem.metric.higher_is_better else 'lower'} is better",
            _test_metric,
        ),
    ]


_COST: list[_Line] = [
    ("Step time (ms)", "one thread, interleaved, median; ratio to the reference", _step_time),
    (
        "Kept for backward",
        "bytes, one batch",
        lambda arm, _: f"{arm.cost.bytes_kept:,}" if arm.cost else "not measured",
    ),
]
