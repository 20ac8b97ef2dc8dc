"""The comparison of `benchmarks/peers.py`: what is called, how it is shown, what is on the page."""

import importlib
import importlib.util
from argparse import Namespace
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from ulp import exact, worst

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def modules(monkeypatch):
    """Return a function that imports a script of the benchmarks."""
    monkeypatch.syspath_prepend(BENCHMARKS)
    return importlib.import_module


@pytest.fixture
def implementations(modules):
    """Return all that are here, but those of torch.compile, which takes seconds."""
    return modules("implementations").uncompiled()


@pytest.fixture
def page(modules):
    return modules("peers_page")


def cost(page, **changes):
    named = {"threads": 1, "dtype": "float32", "direction": "forward", "size": 64, "name": "ours"}
    measured = {"over_relu": [1.1, 1.2, 1.3], "over_softplus": [0.1, 0.2, 0.3], "busy": None}
    return page.Cost(**named | measured | changes)


# What is called


@pytest.mark.parametrize("direction", ["forward", "backward"])
def test_every_implementation_computes_softplus_in_every_dtype_that_it_names(
    modules, implementations, direction
):
    names = {each.name for each in implementations}
    assert {"ReLU", "F.softplus", "ours", "NumPy", "SciPy"} <= names
    assert ("JAX" in names) == (importlib.util.find_spec("jax") is not None)
    prepared = modules("peers").prepared
    for name, dtype in modules("implementations").DTYPES.items():
        x = torch.linspace(-5, 5, 101).to(dtype)
        able = [each for each in implementations if name in each.dtypes and each.name != "ReLU"]
        assert able
        wanted = exact(x)[("forward", "backward").index(direction)]
        for call in prepared(able, direction, x, torch.ones_like(x)).values():
            with torch.no_grad():
                result = torch.from_dlpack(call())
            assert result.dtype == dtype
            largest = {"float64": 100.0}.get(name, 8.0)  # what is exact has but 53 bits itself
            assert worst(result, wanted) < largest


def test_the_backward_of_each_is_for_the_gradient_that_is_given(modules, implementations):
    x, g = torch.tensor([0.0, 1.0]), torch.tensor([2.0, -3.0])
    for call in modules("peers").prepared(implementations[1:], "backward", x, g).values():
        with torch.no_grad():
            assert torch.allclose(torch.from_dlpack(call()), g * torch.sigmoid(x))


@pytest.mark.parametrize(
    ("dtype", "find"),
    [
        (torch.bfloat16, "singles"),
        pytest.param(torch.float64, "doubles", marks=pytest.mark.slow),  # 8,001 at 60 digits
    ],
)
def test_an_error_at_a_single_place_is_found(modules, dtype, find):
    x, off = getattr(modules("peers"), find)(dtype, 257)
    right = torch.nn.functional.softplus(x, 1.0, 50.0)
    assert off["forward"](right) < 2
    wrong = right.clone()
    place = (x == x[x > 3].min()).nonzero()[0]
    wrong[place] *= 1 + 4 * torch.finfo(dtype).eps
    assert 2 < off["forward"](wrong) < 9


@pytest.mark.slow
def test_each_number_of_threads_is_measured_in_a_process_with_as_many_cores(modules):
    options = Namespace(threads=[1], rounds=3, visit=0.0, sizes=[64])
    costs = list(modules("peers").costs(options))
    assert {(c.threads, c.size) for c in costs} == {(1, 64)}
    assert {c.direction for c in costs} == {"forward", "backward"}
    assert {"ours, compiled", "F.softplus, compiled"} < {c.name for c in costs}
    assert all(c.over_softplus == [1.0] * 3 for c in costs if c.name == "F.softplus")
    assert all(ratio > 0 for c in costs for ratio in (*c.over_relu, *c.over_softplus))


# How it is shown


def test_a_table_has_a_column_for_each_but_the_reference(page):
    costs = [cost(page), cost(page, name="F.softplus", over_softplus=[1.0] * 3)]
    costs += [replace(each, direction="backward", busy="others") for each in costs]
    costs.append(cost(page, size=4_096, name="JAX", over_softplus=[9.994, 12.34, 345.6]))
    assert page.speeds(costs, "over_softplus", "F.softplus").splitlines() == [
        "**float32, one thread**",
        "",
        "|  | elements | ours | JAX |",
        "| --- | --- | --- | --- |",
        "| forward | 64 | 0.20 (0.10 to 0.30) |  |",
        "| forward | 4,096 |  | 12.3 (9.99 to 346) |",
        "| backward | 64 | busy |  |",
    ]


def test_errors_are_shown_in_units(page):
    shown = [page.units(ulp) for ulp in (None, 0.5, 1.4444, 12.3, 18_565_221.0, float("inf"))]
    assert shown == ["", "0.500", "1.444", "12", "18,565,221", "no number"]


def test_a_panel_is_drawn_for_each_pass_and_number_of_threads(page):
    costs = [
        cost(page, threads=threads, direction=direction, name=name, size=size)
        for threads in (1, 2)
        for direction in page.PASSES
        for name in ("ReLU", "F.softplus", "ours", "JAX")
        for size in (64, 4_096)
    ]
    axes = page.speed_plot(costs).axes
    assert [ax.get_title() for ax in axes] == [
        "forward, one thread",
        "backward, one thread",
        "forward, 2 threads",
        "backward, 2 threads",
    ]
    labels = [line.get_label() for line in axes[0].lines if not line.get_label().startswith("_")]
    assert labels == ["ReLU", "ours", "JAX", "F.softplus"]  # the last is the line at 1
    errors = [page.Error("float32", direction, "ours", 0.5) for direction in page.PASSES]
    errors += [page.Error("float64", direction, "ours", 1.5) for direction in page.PASSES]
    assert [ax.get_title() for ax in page.error_plot(errors).axes] == ["float32", "float64"]


def test_the_page_shows_the_figures_of_the_file(page):
    text = page.PAGE.read_text(encoding="utf-8")
    run = page.committed()
    assert page.page(text, run) == text
    assert {each.name for each in run.costs} >= {"ReLU", "F.softplus", "ours", "JAX", "SciPy"}
    assert {each.size for each in run.costs} == {4_096, 65_536, 1_048_576, 16_777_216}


def test_what_is_written_is_what_was_measured(page, tmp_path, monkeypatch):
    run = replace(page.committed(), setting={"date": "2027-01-31"})
    text = page.PAGE.read_text(encoding="utf-8")
    for name in ("FIGURES", "PAGE", "IMAGES"):
        monkeypatch.setattr(page, name, tmp_path / getattr(page, name).name)
    page.IMAGES.mkdir()
    page.PAGE.write_text(text, encoding="utf-8")
    page.write(run)
    assert page.committed() == run
    assert "- date: 2027-01-31\n" in page.PAGE.read_text(encoding="utf-8")
    assert len(list(page.IMAGES.iterdir())) == 2
