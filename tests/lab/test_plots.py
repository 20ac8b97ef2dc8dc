"""The plots of `softplus.lab.plots`: drawn whatever a study came to, or refused beforehand."""

import pytest

import synthetic_studies as studies
from softplus.lab import bench, plots
from softplus.lab.errors import UsageError


def test_a_study_is_drawn_with_both_intervals_of_every_arm():
    results = studies.results()
    figure = plots.differences(results)
    (ax,) = figure.axes
    assert [text.get_text() for text in ax.get_legend().get_texts()] == [
        "the margin",
        "on these rows",
        "on other rows",
    ]
    assert [label.get_text().split(":\n")[0] for label in ax.get_yticklabels()] == [
        verdict.arm for verdict in results.verdicts
    ]
    drawn = {tuple(line.get_xdata()) for line in ax.lines}
    for verdict in results.verdicts:
        for answer in (verdict.these_rows, verdict.other_rows):
            assert (answer.interval.low, answer.interval.high) in drawn


def test_more_arms_than_colours_and_arms_without_intervals_are_drawn():
    many = studies.results(",".join(["relu", *(f"softplus:beta={beta}" for beta in range(2, 12))]))
    assert len(plots.differences(many).axes[0].get_yticks()) == 10
    alone = studies.results(seeds=1)
    assert len(plots.differences(alone).axes[0].lines) == 3  # zero, and a dot an arm


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
