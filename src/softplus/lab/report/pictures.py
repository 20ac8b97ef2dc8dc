"""What the report's pictures show, as places in percent; `page.html` draws them."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import fmean, median

import torch

from softplus.lab.activations import derivatives
from softplus.lab.measures import HISTOGRAM_BINS, HISTOGRAM_RANGE
from softplus.lab.problems import Metric
from softplus.lab.report.axes import Axis, covering
from softplus.lab.results import Arm, Results
from softplus.lab.statistics import Interval, mean_interval
from softplus.modules import Softplus

Point = tuple[float, float]


@dataclass(frozen=True)
class Mark:
    """A point with an interval across, and what a pointer over it says."""

    x: float
    y: float
    low: float | None
    high: float | None
    says: str
    arm: str = ""


@dataclass(frozen=True)
class Line:
    """One arm's line, in its colour; `band` is an area around it, `dots` are drawn on it."""

    arm: str
    points: str
    band: str = ""
    dots: tuple[Mark, ...] = ()


@dataclass(frozen=True)
class Picture:
    """Axes, and what is drawn on them."""

    x: Axis
    y: Axis
    lines: tuple[Line, ...]
    says: str


def intervals(results: Results) -> tuple[Axis, dict[str, list[Mark]], tuple[float, float]]:
    """Return the axis of differences, the two intervals of every arm on it, and the margin."""
    margin = results.settings.margin or 0.0
    answers = {
        verdict.arm: [verdict.these_rows, *filter(None, [verdict.other_rows])]
        for verdict in results.verdicts
    }
    shown = [a.interval for several in answers.values() for a in several]
    ends = [end for interval in shown for end in (interval.low, interval.center, interval.high)]
    axis = covering([*ends, 0.0, margin, -margin])
    marks = {
        arm: [_mark(axis, answer.interval, "") for answer in several]
        for arm, several in answers.items()
    }
    return axis, marks, (axis.at(-margin), axis.at(margin))


def _mark(x: Axis, interval: Interval, says: str, y: float = 50.0) -> Mark:
    if not math.isfinite(interval.low) or not math.isfinite(interval.high):
        return Mark(x.at(interval.center), y, None, None, says)
    return Mark(x.at(interval.center), y, x.at(interval.low), x.at(interval.high), says)


def seeds(results: Results) -> Picture:
    """Return the test metric of every seed: a row an arm, a line a seed."""
    arms = results.arms
    finite = [[o.test for o in arm.outcomes if math.isfinite(o.test)] for arm in arms]
    x = covering(value for values in finite for value in values)
    rows = [100 * (row + 0.5) / len(arms) for row in range(len(arms))]
    lines = []
    for seed in range(results.settings.seeds):
        values = [arm.outcomes[seed].test for arm in arms]
        dots = [
            Mark(x.at(value), y, None, None, f"{arm.name}, seed {seed}: {value:.6g}", arm.name)
            for arm, value, y in zip(arms, values, rows, strict=True)
            if math.isfinite(value)
        ]
        lines.append(Line(f"seed {seed}", _points((d.x, d.y) for d in dots), dots=tuple(dots)))
    means = ", ".join(f"{a.name} {fmean(v):.4g}" for a, v in zip(arms, finite, strict=True) if v)
    return Picture(
        x,
        Axis(0, 100),
        tuple(lines),
        f"The test {results.problem.metric.name} of every seed, a row an arm. Means: {means}.",
    )


def curves(results: Results) -> Picture | None:
    """Return the validation metric by step: the mean of the seeds, and the range of all."""
    metric = results.problem.metric
    by_arm = {arm.name: _by_step(arm) for arm in results.arms}
    late = sorted(v for steps in by_arm.values() for s, vs in steps.items() if s for v in vs)
    if not late:
        return None
    # A start far off, or a late overfit, would flatten what matters.
    goal = [] if metric.goal is None else [metric.goal]
    y = covering([late[len(late) // 10], late[-1 - len(late) // 100], *goal])
    x = Axis(0, max(max(steps) for steps in by_arm.values() if steps))
    lines = []
    for arm, steps in by_arm.items():
        upper = [(x.at(step), 100 - y.at(max(values))) for step, values in steps.items()]
        lower = [(x.at(step), 100 - y.at(min(values))) for step, values in steps.items()]
        mean = [(x.at(step), 100 - y.at(fmean(values))) for step, values in steps.items()]
        lines.append(Line(arm, _points(mean), band=_points([*upper, *reversed(lower)])))
    ends = ", ".join(
        f"{arm} {fmean(next(reversed(steps.values()))):.4g}"
        for arm, steps in by_arm.items()
        if steps
    )
    return Picture(x, y, tuple(lines), f"Validation {metric.name} by step. At the end: {ends}.")


def _by_step(arm: Arm) -> dict[int, list[float]]:
    """Return the finite metrics of all seeds at each step that every one of them reached."""
    found: dict[int, list[float]] = {}
    curves = [outcome.curve for outcome in arm.outcomes if outcome.curve]
    for curve in curves:
        for step, value in curve:
            if math.isfinite(value):
                found.setdefault(step, []).append(value)
    return {step: values for step, values in sorted(found.items()) if len(values) == len(curves)}


@dataclass(frozen=True)
class Rates:
    """The learning-rate grid: what each rate came to, and what a smaller budget would have."""

    grid: tuple[float, ...]
    by_rate: Picture
    by_budget: Picture
    smaller: dict[str, str]


def rates(results: Results) -> Rates | None:
    """Return the results of the learning-rate grid, None where there was nothing to choose."""
    arms = [arm for arm in results.arms if len(arm.tuning) > 1]
    if not arms:
        return None
    metric = results.problem.metric
    grid = tuple(sorted({rate for arm in arms for rate in arm.tuning}))
    return Rates(
        grid,
        _by_rate(arms, grid, metric),
        _by_budget(arms, grid, metric),
        {arm.name: _middle(arm, grid, metric) for arm in arms},
    )


def _by_rate(arms: Sequence[Arm], grid: Sequence[float], metric: Metric) -> Picture:
    x = covering(grid, log=True)
    y = covering(value for arm in arms for value in arm.tuning.values())
    lines = []
    for arm in arms:
        places = {
            rate: (x.at(rate), 100 - y.at(value))
            for rate, value in sorted(arm.tuning.items())
            if math.isfinite(value)
        }
        dots = tuple(
            Mark(*places[rate], None, None, f"{arm.name}, {rate:g}: {arm.tuning[rate]:.6g}, chosen")
            for rate in places
            if rate == arm.learning_rate
        )
        lines.append(Line(arm.name, _points(places.values()), dots=dots))
    chosen = ", ".join(f"{arm.name} {arm.learning_rate:g}" for arm in arms)
    return Picture(
        x, y, tuple(lines), f"Validation {metric.name} by learning rate. Chosen: {chosen}."
    )


def budgets(arm: Arm, metric: Metric) -> list[float]:
    """Return the validation metric expected of a budget of one rate, of two, and so on.

    It is the mean, over all choices of so many rates of the grid, of the best among them (Dodge et
    al., Show Your Work, 2019).
    """
    values = [value for value in arm.tuning.values() if math.isfinite(value)]
    best = max if metric.higher_is_better else min
    return [
        fmean(best(chosen) for chosen in combinations(values, size))
        for size in range(1, len(values) + 1)
    ]


def _by_budget(arms: Sequence[Arm], grid: Sequence[float], metric: Metric) -> Picture:
    expected = {arm.name: budgets(arm, metric) for arm in arms}
    x = Axis(0.8, len(grid) + 0.2)
    y = covering(value for values in expected.values() for value in values)
    lines = tuple(
        Line(
            name,
            _points((x.at(size), 100 - y.at(v)) for size, v in enumerate(values, start=1)),
        )
        for name, values in expected.items()
    )
    one = ", ".join(f"{name} {values[0]:.4g}" for name, values in expected.items() if values)
    says = f"Validation {metric.name} expected of a budget of so many rates. Of one: {one}."
    return Picture(x, y, lines, says)


def _middle(arm: Arm, grid: Sequence[float], metric: Metric) -> str:
    """Return what the middle rates of the grid alone would have chosen."""
    found = []
    for size in range(1, len(grid), 2):
        start = (len(grid) - size) // 2
        among = {rate: arm.tuning.get(rate, math.nan) for rate in grid[start : start + size]}
        finite = {rate: value for rate, value in among.items() if math.isfinite(value)}
        if not finite:
            found.append(f"{size}: none")
            continue
        best = (max if metric.higher_is_better else min)(finite, key=lambda rate: finite[rate])
        found.append(f"of {size}: {best:g} ({finite[best]:.4g})")
    return ", ".join(found)


def cost(results: Results) -> Picture | None:
    """Return test metric against the time of a step, or of a whole trial where steps are not timed.

    Times are over the reference's.
    """
    times = _times(results)
    metrics = {
        arm.name: mean_interval([o.test for o in arm.outcomes if math.isfinite(o.test)])
        for arm in results.arms
    }
    names = [name for name in times if math.isfinite(metrics[name].center)]
    if len(names) < 2:
        return None
    x = covering([times[name] for name in names] + [1.0])
    y = covering(
        end
        for name in names
        for end in (metrics[name].low, metrics[name].center, metrics[name].high)
    )
    lines = []
    for name in names:
        interval, across = metrics[name], x.at(times[name])
        ends = [100 - y.at(v) for v in (interval.low, interval.high) if math.isfinite(v)]
        says = f"{name}: time {times[name]:.3g}, {interval.center:.4g}"
        dot = Mark(across, 100 - y.at(interval.center), None, None, says)
        lines.append(Line(name, _points((across, end) for end in ends), dots=(dot,)))
    says = "; ".join(line.dots[0].says for line in lines)
    return Picture(x, y, tuple(lines), f"Test {results.problem.metric.name} and time. {says}.")


def _times(results: Results) -> dict[str, float]:
    """Return the time of every arm over the reference's, where it was measured."""
    steps = {arm.name: arm.cost.ratio.center for arm in results.arms if arm.cost}
    if steps:
        return {name: ratio for name, ratio in steps.items() if math.isfinite(ratio)}
    trials = {}
    for arm in results.arms:
        seconds = [o.seconds for o in arm.outcomes if o.seconds is not None and not o.failure]
        if seconds:
            trials[arm.name] = median(seconds)
    reference = trials.get(results.settings.reference)
    return {name: seconds / reference for name, seconds in trials.items()} if reference else {}


@dataclass(frozen=True)
class Function:
    """An arm's function, its derivative, and how often the trained units see each input.

    `outside` is the share of inputs beyond the ends of the axis, None where nothing was measured.
    """

    arm: str
    value: str
    slope: str
    bars: str
    outside: float | None


X = Axis(*HISTOGRAM_RANGE)
Y = Axis(-1.5, 5.5)
# The slider's picture: close enough that the corner shows.
NEAR_X, NEAR_Y = Axis(-5.0, 5.0), Axis(-0.25, 5.0)
SLOPES = Axis(-0.1, 1.2)


def functions(results: Results) -> tuple[float, list[Function]]:
    """Return the arms' functions, and the share that the top of the bars stands for."""
    inner = {arm.name: _histogram(arm) for arm in results.arms}
    top = max((max(bars) for bars in inner.values() if bars), default=0.0) or 1.0
    found = []
    for arm in results.arms:
        x = torch.linspace(X.low, X.high, 401, dtype=torch.float64)
        value, slope = derivatives(arm.activation.build().double(), x, orders=1)
        bars = inner[arm.name]
        outside = None
        if bars:
            outside = 1 - sum(bars)
        found.append(
            Function(
                arm.name,
                _curve(x, value, X, Y),
                _curve(x, slope, X, Y),
                _stairs(bars, top),
                outside,
            )
        )
    return top, found


def relu_and_softplus() -> dict[str, str]:
    """Return what the slider's picture shows before it is moved."""
    x = torch.linspace(NEAR_X.low, NEAR_X.high, 401, dtype=torch.float64)
    value, slope = derivatives(Softplus(), x, orders=1)
    # The step of the derivative stands upright.
    zero = NEAR_X.at(0.0)
    step = [
        (0.0, 100 - SLOPES.at(0)),
        (zero, 100 - SLOPES.at(0)),
        (zero, 100 - SLOPES.at(1)),
        (100.0, 100 - SLOPES.at(1)),
    ]
    return {
        "relu": _curve(x, torch.relu(x), NEAR_X, NEAR_Y),
        "relu_slope": _points(step),
        "softplus": _curve(x, value, NEAR_X, NEAR_Y),
        "softplus_slope": _curve(x, slope, NEAR_X, SLOPES),
    }


def _histogram(arm: Arm) -> list[float]:
    """Return the mean share of inputs in each bin but the outermost, which hold all beyond."""
    histograms = [measures.histogram for measures in arm.measures]
    return [fmean(shares) for shares in zip(*histograms, strict=True)][1:-1]


def _stairs(bars: Sequence[float], top: float) -> str:
    width = 100 / HISTOGRAM_BINS
    points = [(0.0, 100.0)]
    for index, share in enumerate(bars, start=1):
        height = 100 - 90 * share / top
        points += [(index * width, height), ((index + 1) * width, height)]
    return _points([*points, (100.0, 100.0)]) if bars else ""


def _curve(x: torch.Tensor, y: torch.Tensor, across: Axis, up: Axis) -> str:
    places = zip(x.tolist(), y.tolist(), strict=True)
    return _points((across.at(a), 100 - up.at(b)) for a, b in places if up.low <= b <= up.high)


def _points(places: Iterable[Point]) -> str:
    return " ".join(f"{x:.2f},{y:.2f}" for x, y in places)
