"""The page of the atlas, its table and its picture, from what the studies came to."""

import math
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from atlas_datasets import CLASSES, DATASETS, KINDS, LICENCES, MOST_ROWS, SMOOTH
from atlas_summary import ANY, TABLES, Difference, Pooled, differences
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from softplus.lab.statistics import Interval
from softplus.lab.verdicts import Answer

HERE = Path(__file__).parent
MARKS = {"better": "▲", "worse": "▼", "equivalent": "=", "cannot tell": "?"}
WORDS = {
    "better": "better than ReLU",
    "equivalent": "it does not matter",
    "cannot tell": "cannot be told",
    "worse": "worse than ReLU",
}
# Rates of the grid times tuning seeds, of every arm.
TUNING = 15
SHORT = {
    "softplus": "Softplus",
    "softplus:beta=5": "beta-5 Softplus",
    "shifted_softplus": "shifted Softplus",
    "gelu": "GELU",
    "silu": "SiLU",
}
LABELS = {"shallow": "shallow", "deep": "deep", "narrow": "narrow", ANY: "all three networks"}
# Okabe and Ito's colours, which colour-blind readers tell apart.
COLOURS = {"shallow": "#0072B2", "deep": "#D55E00", "narrow": "#009E73"}


def render(results: dict[str, Any]) -> str:
    """Return the page in Markdown."""
    environment = Environment(
        loader=FileSystemLoader(HERE),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # noqa: S701  # it is Markdown
    )
    found = differences(results)
    of = {(p.kind, p.network, p.arm): p for p in (Pooled(**each) for each in results["summary"])}
    studies = results["studies"]
    arms = [arm for study in studies for arm in study["arms"].values()]
    return environment.get_template("atlas_page.md.jinja").render(
        datasets=DATASETS,
        licences=LICENCES,
        most_rows=MOST_ROWS,
        arms=SHORT,
        networks=LABELS,
        labels=LABELS,
        kinds=[*KINDS, TABLES],
        numbers={kind: of[kind, ANY, "softplus"].problems for kind in (*KINDS, TABLES)},
        seeds=results["seeds"],
        studies=studies,
        rows_of={study["problem"]: study["rows"] for study in studies},
        rows=[_row(study, found) for study in studies],
        of=of,
        group=lambda kind, network: [of[kind, network, arm] for arm in SHORT],
        groups=len(of),
        foretold=[each for each in of.values() if each.predicted_low * each.predicted_high > 0],
        mean=_mean,
        cell=_cell,
        number=lambda value: f"{value:.1f}",
        predicted=_predicted,
        pooled=_pooled,
        answer=_answer,
        differences=len(found),
        counts=_counts(found),
        forces=_won_and_lost(found, {"Cu4 forces", "Ag6 forces", "Al7 forces"}),
        sdf=_won_and_lost(found, {"sdf"}),
        plain_losses=_plain_losses(found),
        ahead={arm: _ahead(found, arm) for arm in SHORT},
        trainings=sum(len(arm["test"]) + TUNING for arm in arms),
        choices=len(arms),
        finals=sum(len(arm["test"]) for arm in arms),
        failed=sum(score is None for arm in arms for score in arm["test"]),
        at_edge=sum(arm["at_edge"] for arm in arms),
        cpu_seconds=sum(study["cpu_seconds"] for study in studies),
    )


# The table


def _row(study: dict[str, Any], found: Sequence[Difference]) -> dict[str, Any]:
    relu = [score for score in study["arms"]["relu"]["test"] if score is not None]
    digits = max(0, 1 - math.floor(math.log10(study["margin"])))
    own = [d for d in found if (d.problem, d.network) == (study["problem"], study["network"])]
    return {
        **study,
        "relu": f"{fmean(relu):.{digits}f}",
        "cells": [_cell(each) for each in own],
    }


def _cell(difference: Difference) -> str:
    verdict = difference.verdict
    marks = [MARKS[difference.outcome(a)] for a in (verdict.these_rows, verdict.other_rows)]
    if verdict.doubt:
        return "no difference"
    return f"{_of(_shown(difference, verdict.these_rows))} {''.join(marks)}"


def _shown(difference: Difference, answer: Answer | None) -> Interval:
    """Return an interval in margins, positive where the arm is better."""
    assert answer is not None  # noqa: S101
    ends = [difference.in_margins(end) for end in (answer.interval.low, answer.interval.high)]
    return Interval(difference.effect, min(ends), max(ends))


def _of(interval: Interval) -> str:
    center, low, high = (_number(each) for each in (interval.center, interval.low, interval.high))
    return f"{center} ({low} to {high})"


def _number(value: float) -> str:
    """Return a number of margins with its sign, to a tenth up to ten."""
    text = f"{value:+.1f}" if abs(value) < 9.95 else f"{value:+.0f}"
    return "0.0" if float(text) == 0 else text.replace("-", "\N{MINUS SIGN}")


def _mean(each: Pooled) -> str:
    return _of(Interval(each.mean, each.low, each.high))


def _pooled(each: Pooled) -> str:
    return f"{_mean(each)} {MARKS[each.conclusion]}"


def _compared(each: Pooled) -> int:
    """Return how many comparisons there are of the problems' own rows."""
    return each.better + each.worse + each.equivalent + each.cannot_tell


def _predicted(each: Pooled) -> str:
    return f"{_number(each.predicted_low)} to {_number(each.predicted_high)}"


def _answer(group: Sequence[Pooled]) -> str:
    """Return in words what the means of a group say of each arm, with their intervals."""
    parts = []
    for conclusion, words in WORDS.items():
        arms = [
            f"{SHORT[each.arm]} {_mean(each)}" for each in group if each.conclusion == conclusion
        ]
        if arms:
            parts.append(f"{words}: {'; '.join(arms)}")
    return ". ".join(part[0].upper() + part[1:] for part in parts)


def _won_and_lost(found: Sequence[Difference], problems: set[str]) -> dict[str, str]:
    """Return in words how often each arm won and lost on these problems' own rows."""
    said = {}
    for arm in SHORT:
        own = [d for d in found if d.arm == arm and d.problem in problems]
        outcomes = [d.outcome(d.verdict.these_rows) for d in own]
        won, lost = outcomes.count("better"), outcomes.count("worse")
        said[arm] = f"{won} won, {lost} lost of {len(own)}"
    return said


def _plain_losses(found: Sequence[Difference]) -> list[tuple[Difference, Difference]]:
    """Return what plain Softplus lost on tables, each with beta 5 in its place."""
    beta_5 = {(d.problem, d.network): d for d in found if d.arm == "softplus:beta=5"}
    return [
        (d, beta_5[d.problem, d.network])
        for d in found
        if d.arm == "softplus" and d.kind != SMOOTH and d.outcome(d.verdict.these_rows) == "worse"
    ]


def _ahead(found: Sequence[Difference], arm: str) -> int:
    """Return on how many classifications an arm's mean is above ReLU's in the deep network."""
    own = [each for each in found if (each.kind, each.network, each.arm) == (CLASSES, "deep", arm)]
    return sum(each.effect > 0 for each in own)


def _counts(found: Sequence[Difference]) -> dict[str, dict[str, int]]:
    """Return how often each outcome came, about these rows and about others."""
    questions = {
        "these": [each.outcome(each.verdict.these_rows) for each in found],
        "others": [each.outcome(each.verdict.other_rows) for each in found],
    }
    return {name: {mark: of.count(mark) for mark in MARKS} for name, of in questions.items()}


# The picture

STYLE: Any = {
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "font.size": 8,
    "legend.frameon": False,
    "svg.fonttype": "none",
    "svg.hashsalt": "softplus",
}
TICKS = (-100, 0, 100)


def draw(results: dict[str, Any], path: Path) -> None:
    """Draw every difference with both intervals, an arm a column, and the means by kind."""
    found = differences(results)
    summary = [Pooled(**each) for each in results["summary"] if each["network"] == ANY]
    with rc_context(STYLE):
        figure = Figure(figsize=(5.4, 10.4), layout="constrained")
        panels = figure.subplots(1, len(SHORT), sharey=True)
        places, labels = _places(found)
        for ax, (arm, title) in zip(panels, SHORT.items(), strict=True):
            _panel(ax, [each for each in found if each.arm == arm], places)
            for each in summary:
                if each.arm == arm and each.kind in KINDS:
                    _diamond(ax, each, places[each.kind])
            ax.set_title(title.replace(" ", "\n"), fontsize=8)
        panels[0].set_yticks(*labels)
        for label in panels[0].get_yticklabels():
            label.set_fontweight("bold" if label.get_text() in KINDS else "normal")
        panels[0].set_ylim(max(places.values()) + 0.8, -0.8)
        figure.supxlabel("margins, right is better than ReLU", fontsize=8)
        figure.legend(handles=_legend(), loc="outside upper center", ncols=3, fontsize=7.5)
        figure.savefig(path, metadata={"Date": None})


def _problems(found: Sequence[Difference], kind: str) -> list[str]:
    return list(dict.fromkeys(each.problem for each in found if each.kind == kind))


def _places(found: Sequence[Difference]) -> tuple[dict[str, float], tuple[list[float], list[str]]]:
    """Return the height of each problem and of the mean of each kind, and the labels."""
    places: dict[str, float] = {}
    height = 0.0
    for kind in KINDS:
        for problem in _problems(found, kind):
            places[problem] = height
            height += 1
        places[kind] = height
        height += 1.3
    return places, (list(places.values()), list(places))


def _panel(ax: Axes, found: Sequence[Difference], places: dict[str, float]) -> None:
    ax.axvspan(-1, 1, color="#e4e4e4", linewidth=0)
    ax.axvline(0, color="black", linewidth=0.6)
    for number, (network, colour) in enumerate(COLOURS.items()):
        told = [each for each in found if each.network == network and not each.verdict.doubt]
        heights = [places[each.problem] + 0.26 * (number - 1) for each in told]
        for place, width in (("other_rows", 0.6), ("these_rows", 2.0)):
            shown = [_shown(each, getattr(each.verdict, place)) for each in told]
            ends = ([each.low for each in shown], [each.high for each in shown])
            ax.hlines(heights, *ends, color=colour, linewidth=width)
        ax.plot([each.effect for each in told], heights, "o", color=colour, markersize=2.6)
    ax.set_xscale("symlog", linthresh=1, linscale=0.8)
    ax.set_xticks(TICKS, [f"{tick}".replace("-", "\N{MINUS SIGN}") for tick in TICKS], fontsize=7)
    ax.set_xticks([-1000, -10, -1, 1, 10, 1000], minor=True)
    ax.set_xlim(-1500, 1500)
    ax.tick_params(axis="y", length=0)


def _diamond(ax: Axes, each: Pooled, y: float) -> None:
    ax.plot([each.predicted_low, each.predicted_high], [y, y], color="black", linewidth=0.6)
    ax.plot([each.low, each.high], [y, y], color="black", linewidth=3)
    ax.plot(each.mean, y, "D", color="black", markersize=4, markerfacecolor="white")


def _legend() -> list[Line2D]:
    of_networks = [
        Line2D([], [], color=colour, marker="o", markersize=3, label=name)
        for name, colour in COLOURS.items()
    ]
    return [
        *of_networks,
        Line2D([], [], color="#555555", linewidth=2, label="on these rows"),
        Line2D([], [], color="#555555", linewidth=0.6, label="on others"),
        Line2D([], [], color="black", marker="D", markerfacecolor="white", label="mean by kind"),
    ]
