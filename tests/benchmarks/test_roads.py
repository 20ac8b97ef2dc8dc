"""The roads of `benchmarks/roads.py`: how one is measured and shown, and what is on the pages."""

import importlib
from pathlib import Path

import pytest
import torch

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def roads(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    return importlib.import_module("roads")


@pytest.fixture
def ways(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    return importlib.import_module("ways")


def figure(roads, **changes):
    named = {"installation": "the C++ entry", "road": "`vmap`", "run": "", "size": 64, "bound": 1.5}
    measured = {"ratio": 1.2, "microseconds": 9.0, "kept": None}
    return roads.Figure(**named | measured | changes)


def test_a_road_is_measured_in_every_way(ways):
    for road in (road for road in ways.ROADS if road.name == "plain eager"):
        measured = ways.measure(road, ways.MANY, seconds=0.0)
        assert measured["ratio"] > 0
        assert measured["kept"] == (1.0 if road.run == ways.BOTH else None)


def test_a_road_that_raises_is_said_to_and_misses_its_bound(roads, ways, capsys):
    def no_way(_x):
        raise RuntimeError("no way")

    measured = ways.measure(ways.Road("dead end", no_way, torch.relu, 1.0), 64, seconds=0.0)
    assert "dead end, : RuntimeError('no way')" in capsys.readouterr().err
    assert figure(roads, **measured).cost == "**raises**"


def test_memory_that_is_kept_twice_is_counted_once(ways):
    x = torch.ones(100, requires_grad=True)
    assert ways.bytes_kept(lambda: (x * x) * (x + 1)) == 3 * 400  # x, its square, its successor


def test_what_misses_its_bound_is_bold(roads):
    assert figure(roads, ratio=1.504).cost == "1.50"
    assert figure(roads, ratio=1.506).cost == "**1.51**"
    assert figure(roads, ratio=9.0, bound=None).cost == "9.00"
    assert figure(roads, kept=1.004).keeps == "1.00"
    assert figure(roads, kept=1.01).keeps == "**1.01**"


def test_no_two_roads_share_a_row(ways):
    rows = [(road.name, road.run) for road in ways.ROADS]
    assert len(set(rows)) == len(rows)


def test_without_kernels_the_bound_is_that_of_a_call_around_the_operator(ways):
    plain, vmapped = ways.EAGER[0], ways.TRANSFORMS[0]
    assert [plain.limit(n, kernels=True) for n in (64, 65_536, 1_048_576)] == [3, 0.25, 0.33]
    assert [plain.limit(n, kernels=False) for n in (64, 4_096, 65_536)] == [3, 3, 1.1]
    assert [vmapped.limit(n, kernels=False) for n in (64, 65_536)] == [4, 1.5]


def test_a_part_measured_again_leaves_the_rest(roads):
    old = [figure(roads, size=64), figure(roads, size=4_096, ratio=2.0)]
    new = [figure(roads, size=64, ratio=0.5), figure(roads, road="`grad`")]
    assert roads.renewed(old, new) == [new[0], old[1], new[1]]


def test_the_page_shows_the_figures_of_the_file(roads, ways):
    text = roads.PAGE.read_text(encoding="utf-8")
    assert roads.page(text, roads.committed()) == text
    measured = {(figure.road, figure.run) for figure in roads.committed()}
    assert measured == {(road.name, road.run) for road in ways.ROADS}


@pytest.mark.slow
def test_an_installation_is_measured_without_what_is_hidden(roads):
    options = {"only": "plain eager", "seconds": 0.0, "sizes": [64]}
    figures = list(roads.there("no library", roads.argparse.Namespace(**options)))
    assert [figure.run for figure in figures] == [
        "forward",
        "forward, with grad",
        "forward + backward",
    ]
