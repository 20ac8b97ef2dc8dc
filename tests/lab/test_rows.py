"""The rows of the table that `softplus.lab.rows` makes of a study."""

from dataclasses import replace

import synthetic_studies as studies
from softplus.lab import rows
from softplus.lab.trials import Outcome


def cells(results, label):
    """Return the cells of the row of this label, None where it is not there."""
    for members in rows.sections(results).values():
        for row in members:
            if row.label == label:
                return row.cells
    return None


def changed(results, index, change):
    """Return the results with the outcomes of one arm changed, seed by seed."""
    arm = results.arms[index]
    outcomes = tuple(change(seed, outcome) for seed, outcome in enumerate(arm.outcomes))
    arms = list(results.arms)
    arms[index] = replace(arm, outcomes=outcomes)
    return replace(results, arms=tuple(arms))


def test_every_row_of_the_table_has_a_cell_for_every_arm(results):
    found = [(section, row) for section, of in rows.sections(results).items() for row in of]
    assert all(len(row.cells) == 3 and all(row.cells) for _, row in found)
    labels = " ".join(f"{section} {row.label}" for section, row in found).lower()
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
        "steps to 90%",
        "seconds to 90%",
        "test accuracy (%)",
        "step time",
        "kept for backward",
    ):
        assert wanted in labels


def test_a_share_of_exactly_zero_has_an_interval_with_width():
    relu, softplus, _ = cells(studies.results(), "Sparsity")
    assert relu.startswith("48.")
    # 192 units of ten seeds, all of them on the same side.
    assert softplus == "0.0% [0.0%, 0.2%]"


def test_half_of_the_seeds_never_arriving_makes_the_median_never():
    results = studies.results("relu,softplus", seeds=6)
    results = changed(
        results, 0, lambda seed, o: replace(o, steps_to_goal=100 + seed if seed < 3 else None)
    )
    results = changed(results, 1, lambda seed, o: replace(o, steps_to_goal=10 * seed))
    assert cells(results, "Steps to 90%") == [
        "never [100, never], reached by 3 of 6",
        "25 [0, 50], reached by 6 of 6",  # between the two in the middle
    ]


def test_seconds_that_nobody_took_are_not_measured():
    results = changed(
        studies.results("relu,softplus"), 0, lambda _, o: replace(o, seconds_to_goal=None)
    )
    assert cells(results, "Seconds to 90%")[0] == "not measured"


def test_what_failed_or_diverged_is_counted():
    results = changed(
        studies.results("relu,softplus", seeds=6),
        1,
        lambda seed, o: Outcome(failure="no") if seed < 2 else replace(o, diverged_at=7),
    )
    assert cells(results, "Unfinished runs") == [
        "0 failed, 0 diverged, of 6",
        "2 failed, 4 diverged, of 6",
    ]
    assert "[" in cells(results, "Test accuracy (%)")[1]


def test_a_drift_is_a_median_and_the_number_of_changed_results():
    results = changed(
        studies.results("relu,softplus", seeds=6),
        0,
        lambda seed, o: replace(o, drift=replace(o.drift, output=1.0 + seed, test=float(seed > 3))),
    )
    assert cells(results, "Drift")[0] == "3.5 [1, 6]; 2 of 6 end at another metric"


def test_a_busy_machine_says_so_in_the_place_of_its_times():
    results = studies.results("relu,softplus")
    relu, softplus = results.arms
    busy = replace(softplus, cost=replace(softplus.cost, busy="machine busy: not measured"))
    shown = cells(replace(results, arms=(relu, busy)), "Step time")
    assert shown == ["0.5 ms, ratio 1 [0.97, 1.03]", "machine busy: not measured"]


def test_a_script_leaves_out_what_nobody_measured():
    found = rows.sections(studies.results("relu,softplus", measured=False))
    assert list(found) == ["The function", "Training", "Cost"]
    assert [row.label for row in found["Cost"]] == ["Time of a run"]
