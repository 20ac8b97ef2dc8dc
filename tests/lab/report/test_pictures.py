"""Where the pictures of `softplus.lab.report` put their marks."""

import math
from dataclasses import replace

import pytest

import synthetic_studies as studies
from softplus.lab.report import axes, pictures


def places(points):
    """Return the places of a line."""
    return [tuple(map(float, place.split(","))) for place in points.split()]


def test_an_axis_is_in_percent_and_its_ticks_are_round():
    axis = axes.Axis(0.0, 10.0)
    assert [axis.at(value) for value in (0, 2.5, 10, -5, 99)] == [0, 25, 100, 0, 100]
    assert [text for _, text in axis.ticks] == ["0", "2", "4", "6", "8", "10"]
    log = axes.Axis(1e-4, 1e-2, log=True)
    assert log.at(1e-3) == 50
    assert [text for _, text in log.ticks] == ["0.0001", "0.0003", "0.001", "0.003", "0.01"]


@pytest.mark.parametrize("values", [[], [3.0], [0.0, 0.0], [math.inf, 1.0, math.nan, 2.0]])
@pytest.mark.parametrize("log", [False, True])
def test_an_axis_covers_what_is_finite(values, log):
    axis = axes.covering(values, log=log)
    assert axis.low < axis.high
    for value in values:
        if math.isfinite(value) and (value > 0 or not log):
            assert axis.low < value < axis.high


def test_intervals_stand_around_zero_and_the_margin():
    results = studies.results()
    axis, marks, (low, high) = pictures.intervals(results)
    assert low < axis.at(0) < high
    softplus = marks["softplus"]
    assert len(softplus) == 2
    for mark, answer in zip(
        softplus, (results.verdicts[0].these_rows, results.verdicts[0].other_rows), strict=True
    ):
        assert (mark.low, mark.high) == (
            axis.at(answer.interval.low),
            axis.at(answer.interval.high),
        )
    # What is about other rows is the wider one.
    assert softplus[1].low < softplus[0].low < softplus[0].x < softplus[0].high < softplus[1].high


def test_every_seed_is_a_line_with_a_dot_an_arm():
    results = studies.results()
    picture = pictures.seeds(results)
    assert len(picture.lines) == 10
    for seed, line in enumerate(picture.lines):
        assert [dot.arm for dot in line.dots] == [arm.name for arm in results.arms]
        assert [dot.x for dot in line.dots] == [
            picture.x.at(arm.outcomes[seed].test) for arm in results.arms
        ]
    assert "relu 95.9" in picture.says


def test_curves_go_up_where_the_metric_does():
    picture = pictures.curves(studies.results())
    for line in picture.lines:
        upward = [100 - y for _, y in places(line.points)]
        assert upward[-1] > upward[30] > upward[0] == 0  # the start is below the view
        assert len(places(line.band)) == 2 * len(upward)


def test_seeds_that_stopped_early_cut_the_mean_short_and_no_look_at_all_draws_nothing():
    results = studies.results("relu,softplus")
    relu = results.arms[0]
    short = replace(relu.outcomes[0], curve=relu.outcomes[0].curve[:40])
    early = replace(relu, outcomes=(short, *relu.outcomes[1:]))
    picture = pictures.curves(replace(results, arms=(early, results.arms[1])))
    assert [len(places(line.points)) for line in picture.lines] == [40, 101]
    none = tuple(
        replace(arm, outcomes=tuple(replace(o, curve=o.curve[:1]) for o in arm.outcomes))
        for arm in results.arms
    )
    assert pictures.curves(replace(results, arms=none)) is None


def test_a_budget_of_all_rates_finds_the_best_and_of_one_the_mean():
    results = studies.results()
    relu = results.arms[0]
    expected = pictures.budgets(relu, results.problem.metric)
    values = list(relu.tuning.values())
    assert expected[0] == pytest.approx(sum(values) / len(values))
    assert expected[-1] == max(values)
    assert expected == sorted(expected)
    lower = replace(results.problem.metric, higher_is_better=False)
    assert pictures.budgets(relu, lower)[-1] == min(values)


def test_the_rate_that_was_chosen_has_the_dot():
    rates = pictures.rates(studies.results())
    for line in rates.by_rate.lines:
        (dot,) = line.dots
        assert dot.x == rates.by_rate.x.at(3e-3)
    assert pictures.rates(studies.results("relu,softplus", measured=False)) is None


def test_cost_is_of_steps_and_else_of_runs():
    timed = pictures.cost(studies.results())
    assert [line.dots[0].x for line in timed.lines] == [
        timed.x.at(1 + 0.08 * index) for index in range(3)
    ]
    script = pictures.cost(studies.results("relu,softplus", measured=False))
    assert script.lines[1].dots[0].x == script.x.at(21 / 20)


def test_what_is_beyond_the_histogram_is_said_and_not_drawn_as_a_spike():
    results = studies.results("relu,softplus")
    outside = (0.2, *[0.6 / 78] * 78, 0.2)
    arms = tuple(
        replace(
            arm,
            outcomes=tuple(
                replace(o, measures=replace(o.measures, histogram=outside)) for o in arm.outcomes
            ),
        )
        for arm in results.arms
    )
    top, functions = pictures.functions(replace(results, arms=arms))
    assert top == pytest.approx(0.6 / 78)
    assert functions[0].outside == pytest.approx(0.4)
    assert min(y for _, y in places(functions[0].bars)) == 10  # nine tenths of the height


def test_the_functions_are_drawn_where_they_are():
    _, functions = pictures.functions(studies.results("relu,softplus"))
    relu, softplus = (dict(places(function.value)) for function in functions)
    assert relu[25.0] == 100 - pictures.Y.at(0)  # at x = -5
    assert softplus[50.0] == pytest.approx(100 - pictures.Y.at(math.log(2)), abs=0.01)
    slopes = dict(places(functions[1].slope))
    assert slopes[50.0] == pytest.approx(100 - pictures.Y.at(0.5), abs=0.01)
