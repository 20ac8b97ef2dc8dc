"""The plots: of a study, as SVG inside its report; of `table` and `bench`, as files."""

import io
import math
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib import rc_context
from matplotlib.figure import Figure

from softplus.lab import bench, files
from softplus.lab.activations import derivatives
from softplus.lab.errors import UsageError
from softplus.lab.measures import HISTOGRAM_BINS, HISTOGRAM_RANGE
from softplus.lab.results import Results
from softplus.modules import Softplus

# Okabe and Ito's colours, which colour-blind readers tell apart; the reference is black.
_COLOURS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#F0E442"]
_STYLE: Any = {
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e5e5e5",
    "axes.axisbelow": True,
    "font.size": 10,
    "legend.frameon": False,
    "svg.fonttype": "none",
    "svg.hashsalt": "softplus",  # the same results give the same file
}
# Of `bench --plot`, by implementation.
_BANDWIDTH_STYLES: dict[str, Any] = {
    bench.COPY: {"color": "black", "linestyle": ":", "label": "copy: the roofline"},
    bench.RELU: {"color": "black", "linestyle": "--", "label": "ReLU"},
    bench.TORCH: {"color": _COLOURS[1], "marker": "o", "label": "PyTorch's Softplus"},
    bench.OURS: {"color": _COLOURS[0], "marker": "o", "label": "Softplus, ours"},
}


@dataclass(frozen=True)
class Picture:
    """A plot as inline SVG, with the sentence that stands under it."""

    svg: str
    caption: str


def figures(results: Results) -> list[Picture]:
    """Return the plots of a study's report."""
    problem, settings = results.problem, results.settings
    with rc_context(_STYLE):
        return [
            Picture(
                _svg(differences(results)),
                f"The verdict: difference in test {problem.metric.name} from {settings.reference}, "
                "with its 95% interval; the band is the margin within which a difference does "
                f"not matter. {'Right' if problem.metric.higher_is_better else 'Left'} is better.",
            ),
            Picture(
                _svg(_curves(results)),
                f"Training: validation {problem.metric.name} by step, mean over the seeds, with "
                "the range from the worst to the best seed.",
            ),
            Picture(
                _svg(_functions(results)),
                "The functions and, as bars, how often the trained network's hidden units see "
                "each pre-activation.",
            ),
            Picture(
                _svg(_units(results)),
                "The hidden units: dead (no gradient on any example), dormant (hardly active), "
                "and outputs that are exactly 0; one dot a seed.",
            ),
        ]


def save_function_plot(path: Path, betas: tuple[float, ...] = (0.5, 1.0, 2.0, 5.0)) -> None:
    """Write a plot of Softplus and its two derivatives for several beta, beside ReLU.

    Raises:
        UsageError: The file cannot be written, which `check` cannot always foresee.
    """
    x = torch.linspace(-5, 5, 501, dtype=torch.float64)
    with rc_context(_STYLE):
        figure = Figure(figsize=(10, 3.4), layout="constrained")
        axes = figure.subplots(1, 3)
        relu = (torch.relu(x), (x > 0).double(), torch.zeros_like(x))
        titles = ("function", "derivative", "second derivative")
        for ax, title, y in zip(axes, titles, relu, strict=True):
            ax.set_title(title)
            ax.set_xlabel("x")
            ax.plot(x, y, color="black", linestyle="--", label="ReLU")
        for beta, colour in zip(betas, _COLOURS, strict=False):
            for ax, y in zip(axes, derivatives(Softplus(beta), x), strict=True):
                ax.plot(x, y, color=colour, label=f"Softplus, beta = {beta:g}")
        axes[0].legend()
        _save(figure, path)


def save_bandwidth_plot(path: Path, cases: list[bench.Case]) -> None:
    """Write the memory traffic of every forward pass by size, beside that of a copy.

    Raises:
        UsageError: As in `save_function_plot`.
    """
    with rc_context(_STYLE):
        _save(_bandwidth(cases), path)


def check(path: Path) -> None:
    """Refuse a file that cannot be drawn, before any work is done.

    Raises:
        UsageError: The suffix is not one that matplotlib writes, or the file cannot be written.
    """
    known = sorted(set(Figure().canvas.get_supported_filetypes()) - {"pgf"})  # that needs LaTeX
    if path.suffix.removeprefix(".").lower() not in known:
        raise UsageError(f"--plot {path}: the suffix must be one of {', '.join(known)}")
    files.check("--plot", path)


def _save(figure: Figure, path: Path) -> None:
    try:
        figure.savefig(path)
    except OSError as error:
        raise UsageError(f"--plot {path} cannot be written ({error.strerror})") from None


def _bandwidth(cases: list[bench.Case]) -> Figure:
    """Draw a panel for each dtype and number of threads, all at one scale."""
    cases = [case for case in cases if case.direction == bench.FORWARD]
    dtypes = list(dict.fromkeys(case.dtype for case in cases))
    threads = list(dict.fromkeys(case.threads for case in cases))
    figure = Figure(figsize=(3.4 * len(dtypes), 3 * len(threads)), layout="constrained")
    shape = len(threads), len(dtypes)
    panels = figure.subplots(*shape, squeeze=False, sharex=True, sharey=True)
    for row, count in zip(panels, threads, strict=True):
        for ax, dtype in zip(row, dtypes, strict=True):
            here = [case for case in cases if (case.threads, case.dtype) == (count, dtype)]
            sizes = [case.size for case in here]
            for name, style in _BANDWIDTH_STYLES.items():
                ax.loglog(sizes, [case.gigabytes_a_second(name) for case in here], **style)
            ax.set_title(f"{dtype}, {count} thread{'s' if count > 1 else ''}")
            ax.set_xlabel("elements")
        row[0].set_ylabel("GB/s")
    panels[0][0].legend()
    return figure


def _colours(results: Results) -> dict[str, str]:
    others = cycle(_COLOURS)
    reference = results.settings.reference
    return {arm.name: "black" if arm.name == reference else next(others) for arm in results.arms}


def differences(results: Results) -> Figure:
    """Draw the difference of each arm from the reference, with its interval and the margin."""
    problem, verdicts = results.problem, results.verdicts
    figure = Figure(figsize=(8, 1.3 + 0.5 * len(verdicts)), layout="constrained")
    ax = figure.subplots()
    margin = results.settings.margin or 0.0
    ax.axvspan(-margin, margin, color="#dddddd", label="margin", linewidth=0)
    ax.axvline(0, color="black", linewidth=1)
    colours = _colours(results)
    for row, verdict in enumerate(verdicts):
        difference = verdict.these_rows.interval
        if not math.isnan(difference.low):
            ax.plot(
                [difference.low, difference.high],
                [row, row],
                color=colours[verdict.arm],
                linewidth=3,
            )
        ax.plot(difference.center, row, "o", color=colours[verdict.arm], markersize=8)
    ax.set_yticks(range(len(verdicts)), [f"{v.arm}\n{v.these_rows.winner}" for v in verdicts])
    ax.set_ylim(len(verdicts) - 0.4, -0.6)
    ax.grid(visible=False, axis="y")
    ax.set_xlabel(f"difference in test {problem.metric.name} ({problem.metric.difference_unit})")
    return figure


def _curves(results: Results) -> Figure:
    figure = Figure(figsize=(8, 3.4), layout="constrained")
    ax = figure.subplots()
    problem = results.problem
    everything = []
    for arm, colour in zip(results.arms, _colours(results).values(), strict=True):
        curves = [outcome.curve for outcome in arm.outcomes]
        shortest = min(map(len, curves))
        steps = [step for step, _ in curves[0][:shortest]]
        metric = np.array([[y for _, y in curve[:shortest]] for curve in curves])
        everything.append(metric.ravel() if shortest == 1 else metric[:, 1:].ravel())
        ax.fill_between(
            steps, metric.min(axis=0), metric.max(axis=0), color=colour, alpha=0.12, linewidth=0
        )
        ax.plot(steps, metric.mean(axis=0), color=colour, label=arm.name)
    goal = problem.metric.goal
    if goal is not None:
        ax.axhline(goal, color="grey", linestyle=":", label=f"target {goal:g}")
    # A start far off or a late overfit would flatten what matters: most values set the view.
    low, high = np.quantile(np.concatenate(everything), [0.05, 0.99])
    if goal is not None:
        low, high = min(low, goal), max(high, goal)
    pad = 0.15 * (high - low) or 1.0
    ax.set_ylim(low - pad, high + pad)
    ax.set_xlabel("step")
    ax.set_ylabel(f"validation {problem.metric.name} ({problem.metric.unit})")
    ax.legend()
    return figure


def _functions(results: Results) -> Figure:
    arms = results.arms
    figure = Figure(figsize=(8, 2.6 * math.ceil(len(arms) / 2)), layout="constrained")
    panels = np.atleast_1d(figure.subplots(math.ceil(len(arms) / 2), 2)).ravel()
    low, high = HISTOGRAM_RANGE
    edges = np.linspace(low, high, HISTOGRAM_BINS + 1)
    x = torch.linspace(low, high, 801, dtype=torch.float64)
    colours = _colours(results)
    for panel, arm in zip(panels, arms, strict=False):
        histogram = np.mean([measures.histogram for measures in arm.measures], axis=0)
        bars = panel.twinx()
        bars.stairs(histogram, edges, fill=True, color="#bbbbbb", alpha=0.6)
        bars.set_yticks([])
        bars.spines["left"].set_visible(False)
        panel.set_zorder(bars.get_zorder() + 1)
        panel.patch.set_visible(False)
        with torch.no_grad():
            panel.plot(x, arm.activation.build()(x), color=colours[arm.name])
        panel.set_title(arm.name)
        panel.set_xlabel("pre-activation x")
    for panel in panels[len(arms) :]:
        panel.set_visible(False)
    return figure


def _units(results: Results) -> Figure:
    figure = Figure(figsize=(8, 3), layout="constrained")
    panels = figure.subplots(1, 3)
    colours = _colours(results)
    for panel, measure in zip(panels, ("dead", "dormant", "sparsity"), strict=True):
        for row, arm in enumerate(results.arms):
            values = [100 * getattr(measures, measure) for measures in arm.measures]
            jitter = np.linspace(-0.15, 0.15, len(values)) if len(values) > 1 else [0.0]
            panel.plot(values, row + np.asarray(jitter), "o", color=colours[arm.name], alpha=0.6)
        panel.set_title("outputs exactly 0" if measure == "sparsity" else f"{measure} units")
        panel.set_xlabel("share (%)")
        panel.set_xlim(-2, max(10.0, panel.get_xlim()[1]))
        panel.set_ylim(len(results.arms) - 0.5, -0.5)
        panel.set_yticks([])
        panel.grid(visible=False, axis="y")
    panels[0].set_yticks(range(len(results.arms)), [arm.name for arm in results.arms])
    return figure


def _svg(figure: Figure) -> str:
    text = io.StringIO()
    figure.savefig(text, format="svg", metadata={"Date": None})
    # Inline SVG starts at its element: the XML declaration and doctype belong to files.
    return text.getvalue()[text.getvalue().index("<svg") :]
