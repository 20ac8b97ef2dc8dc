"""The report on disk: report.html (one offline file), report.md and results.json."""

import json
import math
import re
from functools import cache
from pathlib import Path
from statistics import fmean
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from markupsafe import Markup

from softplus.lab import as_json, files, purposes, rows, summary, wording
from softplus.lab.report import pictures
from softplus.lab.results import Results
from softplus.lab.verdicts import Answer


def write(results: Results, out: Path) -> list[Path]:
    """Write the three files and return their paths; what matters most and needs least comes first.

    Each appears whole or not at all.
    """
    paths = [out / name for name in ("report.html", "report.md", "results.json")]
    files.write(out / "results.json", as_json.of_results(results))
    context = _words(results)
    files.write(out / "report.md", _render("report.md", context))
    files.write(out / "report.html", _render("page.html", {**context, **_pictures(results)}))
    return paths


def page(results: Results) -> str:
    """Return the page as text."""
    return _render("page.html", {**_words(results), **_pictures(results)})


def _words(results: Results) -> dict[str, Any]:
    """Return what page and Markdown say."""
    return {
        "results": results,
        "names": [arm.name for arm in results.arms],
        "answers": _answers(results),
        "notes": summary.notes(results),
        "purposes": purposes.purposes(results),
        "by_seed": _by_seed(results),
        "sections": rows.sections(results),
        "layers": _layers(results),
        "rates": pictures.rates(results),
        "grid": _grid(results),
        "own_rate": summary.own_rate(results),
        "tests": summary.tests(results),
        "test_headings": summary.TEST_HEADINGS,
        "machine": [*results.machine.items(), *results.software.items()],
    }


def _pictures(results: Results) -> dict[str, Any]:
    """Return what the page draws besides."""
    axis, marks, margin = pictures.intervals(results)
    top, functions = pictures.functions(results)
    measured = any(arm.measures for arm in results.arms)
    return {
        "answers": [{**answer, "marks": marks[answer["arm"]]} for answer in _answers(results)],
        "zero": axis.at(0.0),
        "margin": margin,
        "seeds": pictures.seeds(results),
        "curves": pictures.curves(results),
        "cost": pictures.cost(results),
        "timed": any(arm.cost for arm in results.arms),
        "busy": next((arm.cost.busy for arm in results.arms if arm.cost and arm.cost.busy), None),
        "functions": functions,
        "top": top if measured else None,
        "known": pictures.relu_and_softplus(),
        "near": {"x": pictures.NEAR_X, "y": pictures.NEAR_Y, "slope": pictures.SLOPES},
        "far": {"x": pictures.X, "y": pictures.Y},
        "axes": json.dumps(
            {
                name: [axis.low, axis.high]
                for name, axis in (
                    ("x", pictures.NEAR_X),
                    ("y", pictures.NEAR_Y),
                    ("slope", pictures.SLOPES),
                )
            }
        ),
    }


def _answers(results: Results) -> list[dict[str, Any]]:
    subject = summary.subject(results)

    def winner(answer: Answer | None) -> str:
        return "unknown" if answer is None else answer.winner

    return [
        {
            "arm": verdict.arm,
            "here": winner(verdict.these_rows),
            "elsewhere": winner(verdict.other_rows),
            "headline": wording.headline(verdict),
            "sentences": wording.sentences(verdict, subject),
            "figures": wording.difference(verdict.these_rows.interval, subject.unit),
        }
        for verdict in results.verdicts
    ]


def _by_seed(results: Results) -> list[list[tuple[str, str]]]:
    """Return the test metric of every seed and arm, to sort by and to read."""
    return [
        [
            (repr(o.test), f"{o.test:.6g}") if math.isfinite(o.test) else ("", "failed")
            for o in (arm.outcomes[seed] for arm in results.arms)
        ]
        for seed in range(results.settings.seeds)
    ]


def _layers(results: Results) -> list[dict[str, Any]]:
    """Return the shares of dead, dormant and silent units, layer by layer and arm by arm."""
    depth = max((len(m.layers) for arm in results.arms for m in arm.measures), default=0)
    found = []
    for layer in range(depth):
        shares = {}
        for arm in results.arms:
            measured = [m.layers[layer] for m in arm.measures if layer < len(m.layers)]
            if measured:
                shares[arm.name] = {
                    what: fmean(getattr(one, what) for one in measured)
                    for what in ("dead", "dormant", "sparsity")
                }
        found.append({"name": layer + 1, "shares": shares})
    return found


def _grid(results: Results) -> list[dict[str, Any]]:
    """Return what every learning rate came to, a row a rate."""
    grid = sorted({rate for arm in results.arms for rate in arm.tuning})
    return [
        {
            "rate": rate,
            "cells": [
                (_figure(arm.tuning.get(rate, math.nan)), rate == arm.learning_rate)
                for arm in results.arms
            ],
        }
        for rate in grid
    ]


def _figure(value: float) -> str:
    return f"{value:.4g}" if math.isfinite(value) else "no result"


def _render(name: str, context: dict[str, Any]) -> str:
    return _environment().get_template(name).render(**context)


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("softplus.lab", "report"),
        autoescape=select_autoescape(["html"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"cell": _cell, "breakable": _breakable, "sortable": _sortable}
    return environment


def _cell(text: Any) -> str:
    """Return a text that no table and no markup of Markdown's takes for its own."""
    escaped = "".join(f"\\{c}" if c in "|\\`*_<" else c for c in str(text))
    return escaped.replace("](", "]\\(").replace("\n", " ")


def _breakable(name: str) -> Markup:
    """Return a name that a narrow column breaks between its parameters."""
    return Markup(":<wbr>").join(name.split(":"))


def _sortable(text: str) -> str:
    """Return what a column is sorted by: the first number in a text, or the text."""
    number = re.search(r"[-+]?\d[\d.]*(e[-+]\d+)?", text)
    return number[0] if number else text
