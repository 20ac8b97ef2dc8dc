"""A study from Python, `softplus.lab.compare`: what it returns, shows, keeps and refuses."""

import pickle
from dataclasses import replace

import polars as pl
import pytest
from matplotlib.figure import Figure

from softplus import lab
from softplus.lab import as_json

SMALL = {"seeds": 2, "epochs": 1, "learning_rates": [1e-2], "jobs": 1, "show_progress": False}


@pytest.fixture(scope="module")
def study(results):
    """Return the shared small study as users get it."""
    return lab.Study(results)


def test_the_verdict_is_in_words_one_for_each_arm(study):
    assert "softplus against relu: " in study.verdict()
    assert "gelu against relu: " in study.verdict()
    assert "On these 1,797 " in study.verdict()
    assert str(study) == study.verdict()


def test_the_table_has_a_column_for_each_arm(study):
    table = study.table()
    assert table.columns == ["section", "property", "relu", "softplus", "gelu", "how"]
    assert "Dead units" in table["property"].to_list()
    assert table.null_count().sum_horizontal().item() == 0


def test_the_frame_has_a_row_for_each_trial(study, results):
    frame = study.to_frame()
    assert frame.select("arm", "seed").rows() == [
        (arm, seed) for arm in ("relu", "softplus", "gelu") for seed in (0, 1)
    ]
    assert frame["test"].to_list() == [o.test for arm in results.arms for o in arm.outcomes]
    assert frame["dead"].dtype == pl.Float64
    failed = replace(results.arms[0].outcomes[0], measures=None, failure="no luck")
    arm = replace(results.arms[0], outcomes=(failed, results.arms[0].outcomes[1]))
    some = lab.Study(replace(results, arms=(arm,))).to_frame()
    assert some["failure"].to_list() == ["no luck", None]
    assert some["dead"].null_count() == 1


def test_the_plot_is_a_figure(study):
    assert isinstance(study.plot(), Figure)


def test_a_notebook_shows_verdicts_and_table_and_names_are_escaped(study, results):
    page = study._repr_html_()
    assert "On these 1,797" in page
    assert "Dead units" in page
    problem = replace(results.problem, things="<b>rows</b>")
    bold = replace(results, settings=replace(results.settings, problem=problem))
    assert "<b>rows" not in lab.Study(bold)._repr_html_()


def test_a_study_can_be_pickled(study):
    again = pickle.loads(pickle.dumps(study))  # noqa: S301  # our own
    assert as_json.of_results(again.results) == as_json.of_results(study.results)
    assert again.verdict() == study.verdict()


def test_a_data_frame_or_a_mapping_is_compared_and_its_finished_trials_are_kept(tmp_path):
    columns = {"x": [row / 100 for row in range(100)], "y": [row % 2 for row in range(100)]}
    kept = lab.compare(columns, target="y", out=tmp_path, **SMALL)
    assert {"report.html", "results.json", "study.sqlite"} <= {
        path.name for path in tmp_path.iterdir()
    }
    again = lab.compare(pl.DataFrame(columns), target="y", out=tmp_path, **SMALL)
    assert again.to_frame().equals(kept.to_frame())
    assert again.to_frame()["seconds"].equals(kept.to_frame()["seconds"])  # not trained again


def test_the_arms_may_be_a_list():
    study = lab.compare("diabetes", ["relu", "softplus:beta=5"], init="he", **SMALL)
    names = [arm.name for arm in study.results.arms]
    assert names == ["relu:init=he", "softplus:beta=5:init=he"]


@pytest.mark.parametrize(
    ("task", "options", "words"),
    [
        (3, {}, ["a name, a path, a data frame", "int"]),
        ("digts", {}, ["did you mean digits?"]),
        ("digits", {"learning_rates": [-1]}, ["--lr", "positive"]),
        ({"x": [1, 2]}, {}, ["needs --target", "one of x"]),
    ],
)
def test_what_cannot_be_compared_is_refused(task, options, words):
    with pytest.raises(lab.UsageError) as error:
        lab.compare(task, **{**SMALL, **options})
    assert all(word in str(error.value) for word in words)


def test_the_face_is_a_list_of_names_each_of_which_is_there():
    assert {"DeadUnits", "Study", "audit", "compare", "judge", "record"} <= set(dir(lab))
    assert all(hasattr(lab, name) for name in dir(lab))
    with pytest.raises(AttributeError, match="no attribute 'compere'"):
        lab.compere  # noqa: B018  # the access is what is tested
