"""The plots of `softplus.lab.plots`: drawn whatever a study came to, or refused beforehand."""

from dataclasses import replace

import pytest

from softplus.lab import activations, bench, plots
from softplus.lab.errors import UsageError


def test_a_study_has_four_pictures_each_an_svg_with_a_caption(results):
    figures = plots.figures(results)
    assert len(figures) == 4
    for figure in figures:
        assert figure.svg.startswith("<svg")
        assert figure.svg.rstrip().endswith("</svg>")
        assert figure.caption.endswith(".")
    assert "margin" in figures[0].caption


def test_the_reference_is_black_and_there_are_colours_for_any_number_of_arms(results):
    spellings = [f"softplus:beta={beta}" for beta in range(2, 12)]
    arms = [replace(results.arms[1], activation=activations.parse(name)) for name in spellings]
    many = replace(results, arms=(results.arms[0], *arms))
    colours = plots._colours(many)
    assert list(colours) == ["relu", *spellings]
    assert [name for name, colour in colours.items() if colour == "black"] == ["relu"]
    verdicts = tuple(replace(results.verdicts[0], arm=name) for name in spellings)
    assert len(plots.figures(replace(many, verdicts=verdicts))) == 4


def test_arms_that_diverged_before_the_first_look_are_drawn(results):
    arms = tuple(
        replace(arm, outcomes=tuple(replace(o, curve=o.curve[:1]) for o in arm.outcomes))
        for arm in results.arms
    )
    assert len(plots.figures(replace(results, arms=arms))) == 4


@pytest.mark.parametrize("suffix", ["svg", "png", "pdf"])
def test_the_functions_are_drawn(tmp_path, suffix):
    path = tmp_path / f"functions.{suffix}"
    plots.save_function_plot(path)
    head = path.read_bytes()[:200]
    assert {"svg": b"<?xml", "png": b"\x89PNG", "pdf": b"%PDF"}[suffix] in head


def test_the_bandwidth_has_one_scale_for_every_panel():
    cases = [
        bench.Case(bench.FORWARD, dtype, 1024, 1, dict.fromkeys(plots._BANDWIDTH_STYLES, seconds))
        for dtype, seconds in (("float32", 1e-6), ("float64", 1e-3))
    ]
    panels = plots._bandwidth(cases).axes
    assert [ax.get_title() for ax in panels] == ["float32, 1 thread", "float64, 1 thread"]
    assert panels[0].get_ylim() == panels[1].get_ylim()


@pytest.mark.parametrize("name", ["plot.xyz", "plot", "plot.pgf"])
def test_a_suffix_that_cannot_be_drawn_is_refused(tmp_path, name):
    with pytest.raises(UsageError, match=r"--plot .* the suffix must be one of .*svg"):
        plots.check(tmp_path / name)


def test_a_file_that_cannot_be_written_after_all_is_named(tmp_path):
    with pytest.raises(UsageError, match=r"--plot .*x.svg cannot be written \(No such file"):
        plots.save_function_plot(tmp_path / "gone" / "x.svg")
