"""The summary of a study: the Softplus-vs-ReLU table, row by row, and the verdict in words.

Everything here reads the results that `softplus.lab.study` returns; terminal, HTML and Markdown
print the same rows.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from softplus.lab.statistics import Interval, mean_interval, median_interval

Arm = dict[str, Any]
Results = dict[str, Any]


@dataclass(frozen=True)
class Row:
    """One property of the table: its label, how it is measured, and one text for each arm."""

    section: str
    label: str
    how: str
    cells: list[str]


def rows(results: Results) -> list[Row]:
    """Return the table; the cells follow `results["arms"]`.

    A cell is an estimate over the seeds with its 95% interval in brackets: the mean with the
    Nadeau-Bengio corrected t interval, or, where it says so, the median with its own.
    """
    task, ratio = results["task"], results["task"]["test_ratio"]
    bounds = (0.0, 100.0) if task["unit"] == "%" else (-math.inf, math.inf)

    def mean(measure: str, form: Callable[[float], str], lowest: float, highest: float) -> _Cell:
        def cell(arm: Arm) -> str:
            values = [trial["measures"][measure] for trial in arm["trials"]]
            return _with_interval(_clip(mean_interval(values, ratio), lowest, highest), form)

        return cell

    def share(measure: str) -> _Cell:
        return mean(measure, _percent, 0.0, 1.0)

    def number(measure: str, lowest: float = -math.inf, highest: float = math.inf) -> _Cell:
        return mean(measure, _number, lowest, highest)

    def test_metric(arm: Arm) -> str:
        interval = mean_interval([trial["test"] for trial in arm["trials"]], ratio)
        return _with_interval(_clip(interval, *bounds), _number)

    table: list[tuple[str, str, str, _Cell]] = [
        ("The function", "Definition", "", _definition),
        ("The function", "Shape", "on [-20, 20], by autograd", lambda arm: str(arm["shape"])),
        (
            "The function",
            "f(-2), f(0), f(5)",
            "in float64",
            lambda arm: ", ".join(f"{value:.4f}" for value in arm["values"]),
        ),
        ("x < 0", "Share of pre-activations", _PAIRS, share("share_negative")),
        ("x < 0", "Mean output", _PAIRS, number("output_negative")),
        ("x < 0", "Recovered by a linear probe", _PROBE, number("recovered_negative", 0, 1)),
        ("x > 0", "Share of pre-activations", _PAIRS, share("share_positive")),
        ("x > 0", "Mean output", _PAIRS, number("output_positive")),
        ("x > 0", "Recovered by a linear probe", _PROBE, number("recovered_positive", 0, 1)),
        (
            "Gradient",
            "Smallest gradient seen",
            "smallest |f'(x)| of all seeds and pairs",
            lambda arm: f"{min(t['measures']['smallest_gradient'] for t in arm['trials']):.2g}",
        ),
        (
            "Gradient",
            "Gradients zero or subnormal",
            "share of |f'(x)| below 1.2e-38",
            share("underflow"),
        ),
        (
            "Units",
            "Dead units",
            "|f'(x)| < 0.001 on every example of the whole data set",
            share("dead"),
        ),
        (
            "Units",
            "Dormant units",
            "mean |output| at most 2.5% of the layer's mean",
            share("dormant"),
        ),
        ("Units", "Sparsity", "share of outputs that are exactly 0", share("sparsity")),
        (
            "Training",
            "Smoothness of the updates",
            "mean cosine between successive gradients",
            number("smoothness", -1, 1),
        ),
        (
            "Training",
            "Gradient norm at the first layer",
            "median over the steps",
            number("first_layer_gradient", 0),
        ),
        (
            "Training",
            "Learning rate",
            "the best of the same budget, on separate seeds",
            lambda arm: f"{arm['learning_rate']:g}{_edge(arm)}",
        ),
        (
            "Training",
            f"Steps to {task['goal']:g} {task['unit']} {task['metric']}",
            "on the validation split; median over the seeds",
            _steps_to_goal,
        ),
        (
            "Training",
            f"Test {task['metric']} ({task['unit']})",
            f"{'higher' if task['higher_is_better'] else 'lower'} is better",
            test_metric,
        ),
        (
            "Cost",
            "Step time (ms)",
            "one thread, interleaved, median; ratio to the reference",
            _step_time,
        ),
        (
            "Cost",
            "Kept for backward",
            f"bytes, a batch of {results['task']['batch_size']}",
            lambda arm: f"{arm['cost']['bytes_kept']:,}",
        ),
    ]
    return [
        Row(section, label, how, [cell(arm) for arm in results["arms"]])
        for section, label, how, cell in table
    ]


def sections(results: Results) -> list[tuple[str, list[Row]]]:
    """Return the rows under the headings of their sections, in order."""
    return [
        (section, list(members))
        for section, members in groupby(rows(results), key=lambda row: row.section)
    ]


def sentence(results: Results) -> str:
    """Return the verdict on the whole study, in one sentence."""
    clauses = [_clause(verdict, results) for verdict in results["verdicts"]]
    return f"On {results['task']['name']}, {'; '.join(clauses)}."


def difference_unit(task: dict[str, Any]) -> str:
    """Return the unit of a difference in the task's metric: of percentages it is points."""
    return "points" if task["unit"] == "%" else str(task["unit"])


def notes(results: Results) -> list[str]:
    """Return what a reader should know before trusting the table."""
    settings = results["settings"]
    found = [
        f"{arm['name']}: the chosen learning rate {arm['learning_rate']:g} is at the edge of the "
        "grid; a wider --lr might serve it better"
        for arm in results["arms"]
        if _edge(arm)
    ]
    found += [
        f"{arm['name']}: training diverged on {count} of {settings['seeds']} seeds; the best state "
        "before it was judged"
        for arm in results["arms"]
        if (count := sum(trial["diverged_at"] is not None for trial in arm["trials"]))
    ]
    if settings["seeds"] < 6:
        found.append(
            f"with {settings['seeds']} seeds a median has no 95% interval, and the sign-flip test "
            f"cannot go below {2 / 2 ** settings['seeds']:.2g}"
        )
    return found


TEST_HEADINGS = [
    "difference",
    "95% interval",
    "p (t)",
    "p (Holm)",
    "p of equivalence (Holm)",
    "p (sign flip)",
    "verdict",
]


def tests(results: Results) -> list[tuple[str, list[str]]]:
    """Return, for each arm against the reference, the texts that stand under TEST_HEADINGS."""
    return [
        (
            verdict["arm"],
            [
                f"{verdict['difference']['center']:+.3g}",
                _range(Interval(**verdict["difference"])),
                *(
                    f"{verdict[p]:.2g}"
                    for p in ("p", "p_holm", "p_equivalence_holm", "p_sign_flip")
                ),
                verdict["winner"],
            ],
        )
        for verdict in results["verdicts"]
    ]


_Cell = Callable[[Arm], str]
_PAIRS = "over all hidden units and examples"
_PROBE = "R² of the best line from output to pre-activation"


def _definition(arm: Arm) -> str:
    parameters = ", ".join(f"{name} = {value:g}" for name, value in arm["parameters"].items())
    return f"{arm['formula']}" + (f" ({parameters})" if parameters else "")


def _steps_to_goal(arm: Arm) -> str:
    steps = [trial["steps_to_goal"] for trial in arm["trials"]]
    reached = [step for step in steps if step is not None]
    interval = median_interval([math.inf if step is None else step for step in steps])
    return f"{_with_interval(interval, _steps)}, reached by {len(reached)} of {len(steps)}"


def _step_time(arm: Arm) -> str:
    time, ratio = (Interval(**arm["cost"][key]) for key in ("milliseconds", "ratio"))
    return f"{time.center:.3g}, ratio {_with_interval(ratio, _number)}"


def _edge(arm: Arm) -> str:
    rates = [tried["learning_rate"] for tried in arm["tuning"]]
    at_edge = len(rates) > 1 and arm["learning_rate"] in (min(rates), max(rates))
    return " (edge of the grid)" if at_edge else ""


def _clip(interval: Interval, lowest: float, highest: float) -> Interval:
    """Keep the bounds of a bounded quantity where it can be; NaN stays NaN."""
    if math.isnan(interval.low):
        return interval
    return Interval(interval.center, max(interval.low, lowest), min(interval.high, highest))


def _with_interval(interval: Interval, form: Callable[[float], str]) -> str:
    if math.isnan(interval.low):
        return form(interval.center)
    return f"{form(interval.center)} [{form(interval.low)}, {form(interval.high)}]"


def _range(interval: Interval) -> str:
    if math.isnan(interval.low):
        return "none"
    return f"{interval.low:+.2g} to {interval.high:+.2g}"


def _percent(value: float) -> str:
    return f"{100 * value:.1f}%"


def _number(value: float) -> str:
    return f"{value:.3g}" if abs(value) < 100 else f"{value:.0f}"


def _steps(value: float) -> str:
    return "never" if math.isinf(value) else f"{value:.0f}"


def _clause(verdict: dict[str, Any], results: Results) -> str:
    task, settings = results["task"], results["settings"]
    unit = difference_unit(task)
    arm, reference, winner = verdict["arm"], verdict["reference"], verdict["winner"]
    difference = Interval(**verdict["difference"])
    evidence = f"test {task['metric']} {difference.center:+.2g} {unit}"
    if not math.isnan(difference.low):
        evidence += f", 95% interval {_range(difference)}"
    seeds = f"{settings['seeds']} seed{'s' if settings['seeds'] > 1 else ''}"
    evidence = f"({evidence}, {seeds}, margin {settings['margin']:g})"
    if winner == "equivalent":
        return f"{arm} and {reference} are equivalent {evidence}"
    if winner != "cannot tell":
        loser = reference if winner == arm else arm
        return f"{winner} is better than {loser} {evidence}"
    if settings["seeds"] < 2:
        needed = "one seed has no interval, so at least two are needed"
    elif verdict["seeds_needed"] is None:
        needed = "at this spread more seeds on the same rows would not decide it, more data would"
    else:
        needed = f"about {verdict['seeds_needed']} seeds would be needed"
    return f"cannot tell whether {arm} or {reference} is better {evidence}: {needed}"
