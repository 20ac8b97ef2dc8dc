"""The rows of the Softplus-vs-ReLU table, which terminal, page and Markdown print alike."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from statistics import median

from softplus.lab.measures import DEAD_BELOW, DORMANT_AT
from softplus.lab.problems import Problem
from softplus.lab.results import Arm, Results
from softplus.lab.statistics import Interval, mean_interval, median_interval, share_interval
from softplus.lab.trials import Outcome

NOT_MEASURED = "not measured"


@dataclass(frozen=True)
class Row:
    """One property of the table: its label, how it is measured, and one text for each arm."""

    label: str
    how: str
    cells: list[str]


def sections(results: Results) -> dict[str, list[Row]]:
    """Return the rows of the table under their headings; the cells follow `results.arms`.

    A cell is an estimate over the seeds with its 95% interval in brackets: the mean with its t
    interval, or, where it says so, the median with its own. Rows of which no arm has anything are
    left out.
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
    found = {}
    for section, members in lines.items():
        rows = [
            Row(label, how, [cell(arm) for arm in results.arms]) for label, how, cell in members
        ]
        told = [row for row in rows if set(row.cells) != {NOT_MEASURED}]
        if told:
            found[section] = told
    return found


# Label, how it is measured, and what stands under an arm.

_Cell = Callable[[Arm], str]
_Line = tuple[str, str, _Cell]


def _with_interval(interval: Interval, form: Callable[[float], str]) -> str:
    if math.isnan(interval.center):
        return NOT_MEASURED
    if math.isnan(interval.low):
        return form(interval.center)
    return f"{form(interval.center)} [{form(interval.low)}, {form(interval.high)}]"


def _percent(value: float) -> str:
    # Of a share that is next to nothing the digits matter.
    return f"{100 * value:.1f}%" if value == 0 or value >= 1e-3 else f"{100 * value:.2g}%"


def _number(value: float) -> str:
    return f"{value:.3g}" if abs(value) < 100 else f"{value:.0f}"


def _count(value: float) -> str:
    return "never" if math.isinf(value) else f"{value:,.4g}"


def _share(measure: str) -> _Cell:
    """Return the cell with a share of all units, or of all pairs of a unit and an example."""

    def cell(arm: Arm) -> str:
        values = [getattr(measures, measure) for measures in arm.measures]
        units = [sum(layer.units for layer in measures.layers) for measures in arm.measures]
        return _with_interval(share_interval(values, max([1, *units])), _percent)

    return cell


def _figure(measure: str, lowest: float = -math.inf, highest: float = math.inf) -> _Cell:
    """Return the cell with the mean of a measure; its interval is cut at the ends of its range."""

    def cell(arm: Arm) -> str:
        interval = mean_interval([getattr(measures, measure) for measures in arm.measures])
        low, high = (min(max(end, lowest), highest) for end in (interval.low, interval.high))
        return _with_interval(Interval(interval.center, low, high), _number)

    return cell


def _definition(arm: Arm) -> str:
    parameters = ", ".join(f"{name} = {v:g}" for name, v in arm.activation.parameters.items())
    return arm.activation.formula + (f" ({parameters})" if parameters else "")


def _learning_rate(arm: Arm) -> str:
    if arm.learning_rate is None:
        return "the problem's own"
    return f"{arm.learning_rate:g}{' (edge of the grid)' if arm.at_edge else ''}"


def _to_goal(value: Callable[[Outcome], float | None]) -> _Cell:
    """Return the cell with the median of a time to the target, and how many seeds got there."""

    def cell(arm: Arm) -> str:
        finished = [outcome for outcome in arm.outcomes if not outcome.failure]
        reached = [outcome for outcome in finished if outcome.steps_to_goal is not None]
        times = [value(outcome) for outcome in reached]
        if not finished or None in times:
            return NOT_MEASURED
        never = [math.inf] * (len(finished) - len(reached))
        interval = median_interval([float(time or 0) for time in times] + never)
        return f"{_with_interval(interval, _count)}, reached by {len(reached)} of {len(finished)}"

    return cell


def _test_metric(percent: bool) -> _Cell:
    def cell(arm: Arm) -> str:
        interval = mean_interval([o.test for o in arm.outcomes if math.isfinite(o.test)])
        low, high = interval.low, interval.high
        if percent:
            low, high = max(low, 0.0), min(high, 100.0)
        return _with_interval(Interval(interval.center, low, high), lambda value: f"{value:.4g}")

    return cell


def _unfinished(arm: Arm) -> str:
    failed = sum(outcome.failure is not None for outcome in arm.outcomes)
    diverged = sum(outcome.diverged_at is not None for outcome in arm.outcomes)
    return f"{failed} failed, {diverged} diverged, of {len(arm.outcomes)}"


def _drift(arm: Arm) -> str:
    drifts = [outcome.drift for outcome in arm.outcomes if outcome.drift]
    if not drifts:
        return NOT_MEASURED
    interval = median_interval([drift.output for drift in drifts])
    changed = sum(drift.test != 0 for drift in drifts)
    return f"{_with_interval(interval, _number)}; {changed} of {len(drifts)} end at another metric"


def _step_time(arm: Arm) -> str:
    if arm.cost is None:
        return NOT_MEASURED
    if arm.cost.busy:
        return arm.cost.busy
    ratio = _with_interval(arm.cost.ratio, _number)
    return f"{arm.cost.milliseconds.center:.3g} ms, ratio {ratio}"


def _run_time(arm: Arm) -> str:
    seconds = [o.seconds for o in arm.outcomes if o.seconds is not None and not o.failure]
    return f"{median(seconds):.3g} s" if seconds else NOT_MEASURED


def _smallest(values: Iterable[float]) -> str:
    return f"{min(values, default=math.nan):.2g}".replace("nan", NOT_MEASURED)


_FUNCTION: list[_Line] = [
    ("Definition", "", _definition),
    ("Shape", "on [-20, 20], by autograd", lambda arm: arm.activation.shape()),
    (
        "f(-2), f(0), f(5)",
        "in float64",
        lambda arm: ", ".join(f"{value:.4f}" for value in arm.activation.values()),
    ),
]
_GRADIENT: list[_Line] = [
    (
        "Smallest gradient seen",
        "the smallest |f'(x)| of all seeds, units and rows",
        lambda arm: _smallest(measures.smallest_gradient for measures in arm.measures),
    ),
    (
        "Gradients zero or subnormal",
        "share of |f'(x)| below 1.2e-38, float32's smallest normal number",
        _share("underflow"),
    ),
]
_UNITS: list[_Line] = [
    (
        "Dead units",
        f"|f'(x)| < {DEAD_BELOW:g} on every row of the whole data set: one rule for every arm",
        _share("dead"),
    ),
    (
        "Dormant units",
        f"mean |output| at most {DORMANT_AT:.1%} of the layer's mean (Sokar et al. 2023)",
        _share("dormant"),
    ),
    ("Sparsity", "share of outputs that are exactly 0", _share("sparsity")),
]


def _side(sign: str) -> list[_Line]:
    pairs = "over all hidden units and all rows"
    return [
        ("Share of pre-activations", pairs, _share(f"share_{sign}")),
        ("Mean output", pairs, _figure(f"output_{sign}")),
        (
            "Recovered by a linear probe",
            "R² of the best line from a unit's output back to its input; 0: all is cut off",
            _figure(f"recovered_{sign}", 0, 1),
        ),
    ]


def _training(problem: Problem) -> list[_Line]:
    metric = problem.metric
    budget = "the best of the same budget, on separate seeds" if problem.learning_rates else ""
    lines: list[_Line] = [
        (
            f"Test {metric.name}" + (f" ({metric.unit})" if metric.unit else ""),
            f"{'higher' if metric.higher_is_better else 'lower'} is better",
            _test_metric(metric.unit == "%"),
        ),
        ("Learning rate", budget, _learning_rate),
        ("Unfinished runs", "what diverged is judged at its best state before", _unfinished),
    ]
    if metric.goal is not None:
        target = metric.target
        lines += [
            (
                f"Steps to {target}",
                f"validation {metric.name}; median over the seeds",
                _to_goal(lambda outcome: outcome.steps_to_goal),
            ),
            (
                f"Seconds to {target}",
                "CPU time until then; median over the seeds",
                _to_goal(lambda outcome: outcome.seconds_to_goal),
            ),
        ]
    return [
        *lines,
        (
            "Smoothness of the updates",
            "mean cosine between the gradients of successive steps",
            _figure("smoothness", -1, 1),
        ),
        (
            "Gradient norm at the first layer",
            "median over the steps, mean over the seeds",
            _figure("first_layer_gradient", 0),
        ),
        (
            "Drift",
            "an output's distance from a twin whose first weight started one ULP higher; median",
            _drift,
        ),
    ]


_COST: list[_Line] = [
    (
        "Step time",
        "one thread, arms in turn; medians, and the ratio to the reference, round by round",
        _step_time,
    ),
    ("Time of a run", "median over the seeds", _run_time),
    (
        "Kept for backward",
        "bytes that a forward pass of one batch saves",
        lambda arm: f"{arm.cost.bytes_kept:,}" if arm.cost else NOT_MEASURED,
    ),
]
