"""The table and the words that `softplus.lab.summary` makes of a study."""

from dataclasses import replace

from softplus.lab import summary


def test_the_subject_is_the_problems(results):
    subject = summary.subject(results)
    assert (subject.rows, subject.unit, subject.margin) == (1797, "points", 1.0)
    assert subject.higher_is_better


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


def test_the_tests_stand_under_their_headings_for_both_questions(results):
    found = summary.tests(results)
    assert [(arm, texts[0]) for arm, texts in found] == [
        (arm, question) for arm in ("softplus", "gelu") for question in ("these rows", "other rows")
    ]
    assert all(len(texts) == len(summary.TEST_HEADINGS) for _, texts in found)
    unknown = replace(results.verdicts[0], other_rows=None)
    (only,) = summary.tests(replace(results, verdicts=(unknown,)))
    assert only[1][0] == "these rows"
