"""The table and the words that `softplus.lab.summary` makes of a study."""

from dataclasses import replace

import pytest

from softplus.lab import summary
from softplus.lab.statistics import Interval


def test_every_row_of_the_table_has_a_cell_for_every_arm(results):
    rows = [(section, row) for section, of in summary.sections(results).items() for row in of]
    assert all(len(row.cells) == 3 and all(row.cells) for _, row in rows)
    labels = " ".join(f"{section} {row.label}" for section, row in rows).lower()
    for wanted in (
        "definition",
        "shape",
        "x < 0 share",
        "x > 0 mean output",
        "linear probe",
        "f(-2), f(0), f(5)",
        "smallest gradient",
        "subnormal",
        "dead",
        "dormant",
        "sparsity",
        "smoothness",
        "first layer",
        "steps to 90",
        "test accuracy",
        "step time",
        "kept for backward",
    ):
        assert wanted in labels


@pytest.mark.parametrize(
    ("winner", "needed", "words"),
    [
        ("softplus", None, "softplus is better than relu (test accuracy +2 points"),
        ("relu", None, "relu is better than softplus"),
        ("equivalent", None, "softplus and relu are equivalent"),
        ("cannot tell", 31, "about 31 seeds would be needed"),
        ("cannot tell", None, "more data would"),
    ],
)
def test_the_verdict_is_one_sentence(results, winner, needed, words):
    verdict = replace(
        results.verdicts[0],
        difference=Interval(2.0, -1.0, 5.0),
        winner=winner,
        seeds_needed=needed,
    )
    sentence = summary.sentence(replace(results, verdicts=(verdict,)))
    assert words in sentence
    assert sentence.startswith("On digits, ")
    assert sentence.count(". ") == 0
    assert sentence.endswith(".")


def test_notes_warn_of_the_grids_edge_of_divergence_and_of_few_seeds(results):
    relu = results.arms[0]
    inside = replace(relu, learning_rate=2e-3, tuning={1e-3: 1.0, 2e-3: 2.0, 3e-3: 1.0})
    diverged = replace(inside, outcomes=(replace(relu.outcomes[0], diverged_at=3),))
    assert summary.notes(replace(results, arms=(inside,))) == [
        "with 2 seeds a median has no 95% interval, and the sign-flip test cannot go below 0.5"
    ]
    for rate in (1e-3, 3e-3):
        edge, _ = summary.notes(replace(results, arms=(replace(inside, learning_rate=rate),)))
        assert edge.startswith(f"relu: the chosen learning rate {rate} is at the edge of the grid")
    note, _ = summary.notes(replace(results, arms=(diverged,)))
    assert note.startswith("relu: training diverged on 1 of 2 seeds")
    many = replace(results.settings, seeds=6)
    assert summary.notes(replace(results, settings=many, arms=(inside,))) == []


def test_the_tests_stand_under_their_headings(results):
    for arm, texts in summary.tests(results):
        assert arm in {"softplus", "gelu"}
        assert len(texts) == len(summary.TEST_HEADINGS)
        assert all(texts)
