"""The plots that matplotlib draws: of `table`, `bench` and of a study, which a notebook shows."""

import math
from itertools import cycle
from pathlib import Path
from typing import Any

import torch
from matplotlib import rc_context
from matplotlib.figure import Figure

from softplus.lab import bench, files, wording
from softplus.lab.activations import derivatives
from softplus.lab.errors import UsageError
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


def differences(results: Results) -> Figure:
    """Return the plot of every arm's difference from the reference, with both intervals."""
    with rc_context(_STYLE):
        return _differences(results)


def save_differences(path: Path, results: Results) -> None:
    """Write that plot into a file.

    Raises:
        UsageError: As in `save_function_plot`.
    """
    with rc_context(_STYLE):
        _save(_differences(results), path)


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


def _differences(results: Results) -> Figure:
    metric, verdicts = results.problem.metric, results.verdicts
    figure = Figure(figsize=(8, 1.6 + 0.5 * len(verdicts)), layout="constrained")
    ax = figure.subplots()
    if results.settings.margin:
        margin = results.settings.margin
        ax.axvspan(-margin, margin, color="#dddddd", label="the margin", linewidth=0)
    ax.axvline(0, color="black", linewidth=1)
    for row, (verdict, colour) in enumerate(zip(verdicts, cycle(_COLOURS), strict=False)):
        widths = {
            "on these rows": (verdict.these_rows, 4),
            "on other rows": (verdict.other_rows, 1),
        }
        for place, (answer, width) in widths.items():
            if answer is not None and not math.isnan(answer.interval.low):
                ends = [answer.interval.low, answer.interval.high]
                lower = row + (0.15 if place == "on other rows" else 0.0)
                label = place if row == 0 else None
                ax.plot(ends, [lower, lower], color=colour, linewidth=width, label=label)
        ax.plot(verdict.these_rows.interval.center, row, "o", color=colour, markersize=8)
    ax.set_yticks(
        range(len(verdicts)), [f"{v.arm}:\n{wording.outcome(v.these_rows)}" for v in verdicts]
    )
    ax.set_ylim(len(verdicts) - 0.4, -0.6)
    ax.grid(visible=False, axis="y")
    unit = metric.difference_unit and f" ({metric.difference_unit})"
    ax.set_xlabel(
        f"test {metric.name}, arm minus {results.settings.reference}{unit}; "
        f"{'right' if metric.higher_is_better else 'left'} is better"
    )
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3)
    return figure
