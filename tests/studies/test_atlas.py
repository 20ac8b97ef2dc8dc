"""The atlas: a small one runs and goes on where it stopped, and its page says what was found."""

import importlib
import importlib.util
import json
import math
import re
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy import optimize, stats

from softplus.lab import activations

ROOT = Path(__file__).parents[2]
STUDIES = ROOT / "studies"
RESULTS = STUDIES / "atlas.json"
MODULES = ("atlas", "atlas_datasets", "atlas_forces", "atlas_page", "atlas_summary")


@pytest.fixture(scope="module")
def modules():
    """Return the files of the atlas as modules."""
    sys.path.insert(0, str(STUDIES))
    yield SimpleNamespace(**{name: importlib.import_module(name) for name in MODULES})
    sys.path.remove(str(STUDIES))
    for name in MODULES:
        del sys.modules[name]


@pytest.fixture(scope="module")
def results():
    """Return what the whole atlas came to."""
    return json.loads(RESULTS.read_text(encoding="utf-8"))


def test_a_small_atlas_runs_and_goes_on_where_it_stopped(modules, tmp_path, monkeypatch, capsys):
    first = modules.atlas.run(modules.atlas.QUICK, tmp_path, jobs=1)
    assert [(s["problem"], s["network"]) for s in first["studies"]] == [
        (problem, network)
        for problem in ("iris", "diabetes")
        for network in ("shallow", "deep", "narrow")
    ]
    for study in first["studies"]:
        assert tuple(study["arms"]) == modules.atlas.ARMS
        scores = [arm["test"] for arm in study["arms"].values()]
        assert all(len(of) == 3 and all(map(math.isfinite, of)) for of in scores)
        assert study["cpu_seconds"] >= 0  # a tenth of a second, rounded, may be none
    assert "6 of 6" in capsys.readouterr().out

    def train(*_):
        raise AssertionError("a training ran twice")

    monkeypatch.setattr(modules.atlas.Scored, "run", train)
    assert modules.atlas.run(modules.atlas.QUICK, tmp_path, jobs=1) == first


def test_the_command_refuses_a_page_of_a_small_atlas(modules, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["atlas.py", "--quick", "--write", "--out", str(tmp_path)])
    with pytest.raises(SystemExit) as left:
        modules.atlas.main()
    assert left.value.code == 2
    assert "leave --quick out" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_the_page_is_written_from_the_results(modules, results):
    page = (ROOT / "docs" / "atlas.md").read_text(encoding="utf-8")
    assert page == modules.atlas_page.render(results)


def test_another_result_makes_another_page(modules, results):
    changed = json.loads(json.dumps(results))
    scores = changed["studies"][0]["arms"]["softplus"]["test"]
    changed["studies"][0]["arms"]["softplus"]["test"] = [score - 10 for score in scores]
    assert modules.atlas_page.render(changed) != modules.atlas_page.render(results)


def test_the_picture_shows_every_problem_and_every_arm(modules, results):
    drawn = (ROOT / "docs" / "images" / "atlas.svg").read_text(encoding="utf-8")
    words = set(re.findall(r">([^<>\n]+)</(?:text|tspan)>", drawn))
    problems = {study["problem"] for study in results["studies"]}
    assert problems | set(modules.atlas_datasets.KINDS) <= words
    titles = " ".join(sorted(words))
    for title in modules.atlas_page.SHORT.values():
        assert all(word in titles for word in re.findall(r"\w+", title))


def test_the_whole_atlas_was_run(modules, results):
    atlas = modules.atlas
    assert len(atlas.DATASETS) >= 16
    assert results["seeds"] >= 10
    assert {(s["problem"], s["network"]) for s in results["studies"]} == {
        (dataset.name, network.name) for dataset, network in atlas.Asked().cells
    }
    for study in results["studies"]:
        assert tuple(study["arms"]) == atlas.ARMS
        assert all(len(arm["test"]) == results["seeds"] for arm in study["arms"].values())
    assert sum(study["cpu_seconds"] for study in results["studies"]) < 7_200


def paule_mandel(effects, errors):
    """Return mean, its Hartung-Knapp error, never below the usual one, and the spread."""
    effects, variances = np.array(effects), np.array(errors) ** 2

    def weighted(between):
        weights = 1 / (variances + between)
        mean = (weights * effects).sum() / weights.sum()
        return weights, mean, (weights * (effects - mean) ** 2).sum() - (len(effects) - 1)

    between = 0.0
    if weighted(0.0)[2] > 0:
        most = 10 * np.ptp(effects) ** 2
        between = optimize.brentq(lambda value: weighted(value)[2], 0, most, xtol=1e-13 * most)
    weights, mean, excess = weighted(between)
    scale = max(1.0, 1 + excess / (len(effects) - 1))
    return mean, math.sqrt(scale / weights.sum()), math.sqrt(between)


def test_the_means_are_those_of_an_independent_calculation(modules, results):
    summary = modules.atlas_summary
    found = summary.differences(results)
    checked = 0
    for said in results["summary"]:
        if said["network"] == summary.ANY or said["kind"] == summary.TABLES:
            continue
        chosen = [
            each
            for each in found
            if (each.kind, each.network, each.arm) == (said["kind"], said["network"], said["arm"])
            and math.isfinite(each.error)
        ]
        mean, error, spread = paule_mandel(
            [each.effect for each in chosen], [each.error for each in chosen]
        )
        half = stats.t.ppf(0.975, len(chosen) - 1) * error
        wide = stats.t.ppf(0.975, len(chosen) - 2) * math.hypot(error, spread)
        assert [said["mean"], said["low"], said["high"]] == pytest.approx(
            [mean, mean - half, mean + half], rel=1e-3, abs=1e-3
        )
        assert said["predicted_high"] - said["mean"] == pytest.approx(wide, rel=1e-3, abs=1e-3)
        checked += 1
    assert checked == 4 * 3 * 5


def test_an_effect_is_positive_where_the_arm_is_better(modules):
    better = {"relu": [2.0, 2.1, 1.9, 2.0], "silu": [1.0, 1.2, 0.9, 1.0]}

    def study(name, *, higher):
        return {
            "problem": name,
            "network": "shallow",
            "unit": "",
            "higher_is_better": higher,
            "margin": 0.5,
            "test_ratio": 1 / 3,
            "arms": {arm: {"test": scores} for arm, scores in better.items()},
        }

    lower, higher = modules.atlas_summary.differences(
        {"studies": [study("food", higher=False), study("iris", higher=True)]}
    )
    assert lower.effect == pytest.approx(1.95)
    assert higher.effect == pytest.approx(-1.95)
    assert lower.outcome(lower.verdict.these_rows) == "better"
    assert higher.outcome(higher.verdict.these_rows) == "worse"
    # s of the differences is 0.05; about other rows the error is s * sqrt(1/4 + 1/3), in margins.
    spread = np.std([-1.0, -0.9, -1.0, -1.0], ddof=1)
    assert lower.error >= spread * math.sqrt(1 / 4 + 1 / 3) / 0.5 * (1 - 1e-12)


@pytest.mark.parametrize(
    ("low", "high", "conclusion"),
    [
        (-0.9, 0.9, "equivalent"),
        (0.1, 0.9, "equivalent"),
        (0.1, 1.1, "better"),
        (-3.0, -0.1, "worse"),
        (-0.5, 1.5, "cannot tell"),
    ],
)
def test_a_mean_is_concluded_from_as_a_verdict_is(modules, low, high, conclusion):
    pooled = modules.atlas_summary.Pooled(
        *("classification", "deep", "gelu", 8, (low + high) / 2, low, high, low, high, 0.0),
        *(0, 0, 0, 0),
    )
    assert pooled.conclusion == conclusion


def need(*packages):
    """Skip a test where packages of the extra are not installed; finding them imports none."""
    missing = [package for package in packages if importlib.util.find_spec(package) is None]
    if missing:
        pytest.skip(f"no {', '.join(missing)}: pip install 'softplus[atlas]'")


@pytest.mark.slow
def test_every_problem_loads_and_is_what_the_page_says(modules, results, tmp_path):
    need("ase", "plotnine", "river", "statsmodels", "vega_datasets")
    rows = {study["problem"]: study["rows"] for study in results["studies"]}
    for dataset in modules.atlas.DATASETS:
        problem = modules.atlas.load(dataset, modules.atlas.NETWORKS[0], tmp_path)
        assert problem.rows == rows[dataset.name] <= modules.atlas_datasets.MOST_ROWS
        classes = problem.metric.higher_is_better
        assert classes == (dataset.kind == modules.atlas_datasets.CLASSES)
        if dataset.read is not None:
            positive = "strictly positive" in " ".join(problem.inner.notes)
            assert positive == (dataset.kind == modules.atlas_datasets.POSITIVE)
            assert dataset.package in modules.atlas_datasets.LICENCES


@pytest.mark.slow
def test_the_forces_are_the_gradient_of_the_energy(modules):
    need("ase")
    problem = modules.atlas_forces.load("Cu4 forces", depth=2, width=16)
    torch.manual_seed(0)
    model = problem.model(activations.parse("softplus")).double()
    places = problem.data.inputs[:3].double()
    _, forces = modules.atlas_forces.differentiated(model, places, create_graph=False)
    step = 1e-6
    for column in range(places.shape[1]):
        moved = places.clone()
        moved[:, column] += step
        back = places.clone()
        back[:, column] -= step
        slope = (model(moved) - model(back)).squeeze(-1) / (2 * step)
        assert torch.allclose(-slope, forces[:, column], atol=1e-6)
