"""The verdicts by purpose of `softplus.lab.purposes`."""

import math
from dataclasses import replace

import pytest

import synthetic_studies as studies
from softplus.lab import purposes
from softplus.lab.statistics import Interval


def finding(results, name, arm="softplus"):
    """Return what the purpose of this name comes to for an arm, None where it is not there."""
    for purpose in purposes.purposes(results):
        if purpose.name == name:
            return next(found for found in purpose.findings if found.arm == arm)
    return None


def changed(results, name, change):
    """Return the results with the outcomes of the arm of this name changed, seed by seed."""
    arms = tuple(
        replace(arm, outcomes=tuple(change(seed, o) for seed, o in enumerate(arm.outcomes)))
        if arm.name == name
        else arm
        for arm in results.arms
    )
    return replace(results, arms=arms)


def test_every_purpose_has_a_finding_on_every_arm():
    found = purposes.purposes(studies.results())
    assert [purpose.name for purpose in found] == [
        "Test accuracy",
        "Steps to 90%",
        "Seconds to 90%",
        "Cost of a step",
        "Memory",
        "Sparsity",
        "Living units",
        "Smooth training",
        "Surviving a rerun",
    ]
    for purpose in found:
        assert [one.arm for one in purpose.findings] == ["softplus", "softplus:beta=5"]
        assert purpose.how
        assert all(one.figures for one in purpose.findings)


def test_a_script_has_the_purpose_that_it_measured():
    found = purposes.purposes(studies.results("relu,softplus", measured=False))
    assert [purpose.name for purpose in found] == ["Test accuracy"]


def test_accuracy_is_the_verdict_itself():
    results = studies.results()
    found = finding(results, "Test accuracy")
    assert found.winner == results.verdicts[0].these_rows.winner == "relu"
    assert found.says == "relu is better"
    assert found.figures.startswith("-1.2 points (")


def steps(of_relu, of_softplus):
    """Return a study in which the seeds take so many steps to the target; None is never."""
    results = studies.results("relu,softplus", seeds=len(of_relu))
    for name, counts in (("relu", of_relu), ("softplus", of_softplus)):
        results = changed(
            results,
            name,
            lambda seed, o, counts=counts: replace(
                o,
                steps_to_goal=counts[seed],
                seconds_to_goal=None if counts[seed] is None else counts[seed] / 100,
            ),
        )
    return results


def test_a_time_is_compared_by_the_median_ratio_of_the_seeds():
    found = finding(steps([100] * 6, [50, 40, 60, 50, 55, 45]), "Steps to 90%")
    assert (found.winner, found.says) == ("softplus", "faster")
    assert found.figures == "ratio 0.50 (0.40 to 0.60)"
    assert finding(steps([100] * 6, [50] * 6), "Seconds to 90%").winner == "softplus"
    assert finding(steps([50] * 6, [100] * 6), "Steps to 90%").says == "relu is faster"


def test_a_seed_that_never_arrives_counts_and_a_tie_decides_nothing():
    never = finding(steps([100] * 8, [None] * 8), "Steps to 90%")
    assert never.winner == "relu"
    assert "ratio never" in never.figures
    assert "never on 8 of 8 seeds, relu on 0 of 8" in never.figures
    neither = finding(steps([None] * 8, [None] * 8), "Steps to 90%")
    assert neither.winner == "cannot tell"
    assert "nan" not in neither.figures
    half = finding(steps([100] * 8, [50] * 4 + [None] * 4), "Steps to 90%")
    assert half.winner == "cannot tell"


def test_five_seeds_are_too_few_for_a_median():
    found = finding(steps([100] * 5, [50] * 5), "Steps to 90%")
    assert found.winner == "cannot tell"
    assert found.figures == "ratio 0.5; too few seeds for an interval"


def test_holm_goes_across_the_arms_of_a_median_too():
    """Six seeds, all on one side: p is 1/32 alone, and with two such arms 1/16."""
    results = studies.results("relu,softplus,gelu", seeds=6)
    for name, count in (("relu", 100), ("softplus", 50), ("gelu", 40)):
        results = changed(results, name, lambda _, o, count=count: replace(o, steps_to_goal=count))
    assert finding(results, "Steps to 90%").winner == "cannot tell"


def step_time(low, high, busy=None):
    """Return the finding on a step that takes so much of the reference's time."""
    results = studies.results("relu,softplus")
    arm = results.arms[1]
    cost = replace(arm.cost, ratio=Interval((low + high) / 2, low, high), busy=busy)
    arms = (results.arms[0], replace(arm, cost=cost))
    return finding(replace(results, arms=arms), "Cost of a step")


@pytest.mark.parametrize(
    ("low", "high", "winner"),
    [
        (1.1, 1.3, "relu"),
        (0.7, 0.8, "softplus"),
        (0.97, 1.03, "equivalent"),
        (1.01, 1.04, "equivalent"),
        (0.8, 1.2, "cannot tell"),
        (math.nan, math.nan, "cannot tell"),
    ],
)
def test_the_cost_of_a_step_is_read_off_its_interval(low, high, winner):
    assert step_time(low, high).winner == winner


def test_a_busy_machine_measures_no_cost():
    found = step_time(math.nan, math.nan, busy="machine busy: not measured")
    assert (found.winner, found.figures) == ("cannot tell", "machine busy: not measured")


def test_memory_is_counted_and_not_estimated():
    results = studies.results("relu,softplus")
    assert finding(results, "Memory").winner == "equivalent"
    arm = results.arms[1]
    more = replace(arm, cost=replace(arm.cost, bytes_kept=131_072))
    found = finding(replace(results, arms=(results.arms[0], more)), "Memory")
    assert (found.winner, found.figures) == ("relu", "131,072 bytes, relu 65,536")


def test_relu_is_sparser_and_where_all_is_the_same_that_is_said():
    found = finding(studies.results(), "Sparsity")
    assert (found.winner, found.says) == ("relu", "relu is sparser")
    smooth = finding(studies.results("softplus,gelu"), "Sparsity", "gelu")
    assert smooth.winner == "softplus"  # the first has ReLU's place in these results
    dead = studies.results("relu,softplus,gelu")
    dead = changed(dead, "relu", lambda _, o: replace(o, measures=replace(o.measures, dead=0.0)))
    found = finding(dead, "Living units")
    assert (found.winner, found.figures) == ("equivalent", "the same in every run")


def test_drift_is_the_ratio_of_the_distances_of_the_twins():
    arms = {"relu": 1.0, "softplus": 1e-3, "softplus:beta=5": 1.0, "gelu": 1.0, "silu": 1.0}
    results = studies.results(",".join(arms), seeds=10)
    for name, distance in arms.items():
        results = changed(
            results,
            name,
            lambda seed, o, distance=distance: replace(
                # As in a study, only the first eight seeds have a twin.
                o,
                drift=replace(o.drift, output=distance) if seed < 8 else None,
            ),
        )
    found = finding(results, "Surviving a rerun")
    assert (found.winner, found.says) == ("softplus", "steadier")
    assert found.figures.startswith("ratio 0.001")
