"""How the figures of peers.py are shown: as tables, as pictures, in docs/benchmarks.md."""

import json
import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from implementations import DTYPES, OURS, RELU, THEIRS
from matplotlib import rc_context
from matplotlib.figure import Figure
from pages import filled, markdown, several

from softplus.lab.plots import _COLOURS as COLOURS
from softplus.lab.plots import _STYLE as STYLE

ROOT = Path(__file__).parent.parent
FIGURES = ROOT / "benchmarks" / "peers.json"
PAGE = ROOT / "docs" / "benchmarks.md"
IMAGES = ROOT / "docs" / "images"
FORWARD, BACKWARD = "forward", "backward"
PASSES = (FORWARD, BACKWARD)


@dataclass(frozen=True)
class Cost:
    """What a pass of an implementation takes over ReLU's and over F.softplus's.

    Each is the lower quartile of the rounds, their median and the upper quartile; `busy` says why
    they cannot be trusted.
    """

    threads: int
    dtype: str
    direction: str
    size: int
    name: str
    over_relu: list[float]
    over_softplus: list[float]
    busy: str | None


@dataclass(frozen=True)
class Error:
    """The largest error of an implementation that was found in a dtype, in ULP."""

    dtype: str
    direction: str
    name: str
    ulp: float


@dataclass(frozen=True)
class Run:
    """All that was measured, and when, on what and with what."""

    setting: dict[str, str]
    costs: list[Cost]
    errors: list[Error]


def committed() -> Run:
    """Return the figures that were written last."""
    read = json.loads(FIGURES.read_text(encoding="utf-8"))
    costs = [Cost(**cost) for cost in read["costs"]]
    return Run(read["setting"], costs, [Error(**error) for error in read["errors"]])


def write(run: Run) -> None:
    """Put the figures into their file, and from there into the page and its pictures."""
    lines = [f'{{"setting": {json.dumps(run.setting)}']  # a figure a line, which a diff shows
    for name, figures in (("costs", run.costs), ("errors", run.errors)):
        each = ",\n".join(json.dumps(asdict(figure)) for figure in figures)
        lines.append(f'"{name}": [\n{each}\n]')
    FIGURES.write_text(",\n".join(lines) + "}\n", encoding="utf-8")
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8"), run), encoding="utf-8")
    with rc_context(STYLE):
        save(speed_plot(run.costs), "benchmarks-speed.svg")
        save(error_plot(run.errors), "benchmarks-accuracy.svg")


def page(text: str, run: Run) -> str:
    """Return the text of the page with the tables of a run between its marks."""
    return filled(text, "peers", parts(run))


def report(run: Run) -> str:
    """Return all tables of a run."""
    return "\n".join(f"## {name}\n\n{part}" for name, part in parts(run).items())


def parts(run: Run) -> dict[str, str]:
    """Return what is put into the page, by name."""
    return {
        "setting": "".join(f"- {what}: {text}\n" for what, text in run.setting.items()),
        "over F.softplus": speeds(run.costs, "over_softplus", THEIRS),
        "over ReLU": speeds(run.costs, "over_relu", RELU),
        "errors": errors(run.errors),
    }


# Tables


def speeds(costs: list[Cost], over: str, reference: str) -> str:
    """Return a table for each number of threads and dtype: ratios to a reference, by size."""
    tables = []
    for threads, dtype in unique((cost.threads, cost.dtype) for cost in costs):
        these = [cost for cost in costs if (cost.threads, cost.dtype) == (threads, dtype)]
        names = [name for name in unique(cost.name for cost in these) if name != reference]
        rows = []
        for direction, size in unique((cost.direction, cost.size) for cost in these):
            here = {c.name: c for c in these if (c.direction, c.size) == (direction, size)}
            cells = [ratio(here.get(name), over) for name in names]
            rows.append([direction, f"{size:,}", *cells])
        rows.sort(key=lambda row: PASSES.index(row[0]))
        tables.append(f"**{dtype}, {several(threads)}**\n")
        tables.append(markdown(["", "elements", *names], rows))
    return "\n".join(tables)


def ratio(cost: Cost | None, over: str) -> str:
    """Return a ratio with its quartiles as tables show it."""
    if cost is None:
        return ""
    if cost.busy:
        return "busy"
    low, middle, high = (rounded(ratio) for ratio in getattr(cost, over))
    return f"{middle} ({low} to {high})"


def rounded(number: float) -> str:
    """Return a number to three digits, at most two of them decimals."""
    return f"{number:.2f}" if number < 10 else f"{number:.1f}" if number < 100 else f"{number:,.0f}"


def errors(found: list[Error]) -> str:
    """Return the table of the largest errors, a row an implementation."""
    columns = [(dtype, direction) for direction in PASSES for dtype in DTYPES]
    by_place = {(error.name, error.dtype, error.direction): error.ulp for error in found}
    rows = [
        [name, *(units(by_place.get((name, *column))) for column in columns)]
        for name in unique(error.name for error in found)
    ]
    return markdown(["", *(f"{direction}, {dtype}" for dtype, direction in columns)], rows)


def units(ulp: float | None) -> str:
    """Return an error as tables show it."""
    if ulp is None:
        return ""
    if not math.isfinite(ulp):
        return "no number"
    return f"{ulp:.3f}" if ulp < 10 else f"{ulp:,.0f}"


def unique(things: Iterable[Any]) -> list[Any]:
    """Return things without repetition, in their order."""
    return list(dict.fromkeys(things))


# Pictures, as narrow as a telephone: 390 pixels


def save(figure: Figure, name: str) -> None:
    """Write a picture without the date, so that the same figures give the same file."""
    figure.savefig(IMAGES / name, metadata={"Date": None})


def speed_plot(costs: list[Cost]) -> Figure:
    """Draw float32 by size over F.softplus, a panel for each pass and number of threads."""
    costs = [cost for cost in costs if cost.dtype == "float32"]
    panels = unique((cost.threads, cost.direction) for cost in costs)
    names = [name for name in unique(cost.name for cost in costs) if name != THEIRS]
    figure = Figure(figsize=(4.4, 1 + 2.3 * len(panels)), layout="constrained")
    axes = figure.subplots(len(panels), squeeze=False, sharex=True, sharey=True)[:, 0]
    for ax, (threads, direction) in zip(axes, panels, strict=True):
        for name, style in zip(names, styles(names), strict=True):
            line = [
                (cost.size, cost.over_softplus[1])
                for cost in costs
                if (cost.threads, cost.direction, cost.name) == (threads, direction, name)
                and not cost.busy
            ]
            if line:
                ax.plot(*zip(*line, strict=True), label=name, **style)
        ax.axhline(1, color="black", linewidth=1, label=THEIRS)
        ax.set(xscale="log", yscale="log", ylabel="time / F.softplus's")
        ax.set_title(f"{direction}, {several(threads)}")
        ax.yaxis.set_major_formatter(lambda y, _: f"{y:g}")
    axes[-1].set_xlabel("elements")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return figure


def error_plot(found: list[Error]) -> Figure:
    """Draw the largest float32 and float64 errors of both passes; only the latter need a log."""
    scales = {"float32": "linear", "float64": "log"}
    figure = Figure(figsize=(4.4, 5.2), layout="constrained")
    for ax, (dtype, scale) in zip(figure.subplots(2), scales.items(), strict=True):
        names = unique(error.name for error in found if error.dtype == dtype)
        for direction, colour, marker in zip(PASSES, COLOURS, "os", strict=False):
            points = [
                (min(error.ulp, 1e17), names.index(error.name))
                for error in found
                if (error.dtype, error.direction) == (dtype, direction)
            ]
            ax.plot(*zip(*points, strict=True), marker, color=colour, label=direction)
        ax.axvline(0.5, color="black", linewidth=1, label="correct rounding")
        ax.set_yticks(range(len(names)), names)
        ax.invert_yaxis()
        ax.set(xscale=scale, title=dtype)
        ax.xaxis.set_major_formatter(lambda x, _: f"{x:,.0f}")
    ax.set_xlabel("largest error, ULP")
    figure.legend(*ax.get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return figure


def styles(names: list[str]) -> list[dict[str, Any]]:
    """Return how each implementation is drawn: ours stands out, ReLU is the yardstick."""
    own = {
        RELU: {"color": "black", "linestyle": "--", "marker": ""},
        OURS: {"color": COLOURS[0], "linewidth": 2.5, "marker": "o"},
    }
    rest = zip("sD^vPX", COLOURS[1:], strict=True)
    return [
        own[name] if name in own else dict(zip(("marker", "color"), next(rest), strict=True))
        for name in names
    ]
