"""The JSON of `softplus.lab.as_json`: what its readers rely on, and back again.

That results.json is what its schema says is tested in `report/test_report.py`.
"""

import json
import math
from dataclasses import replace

import pytest
import torch

import synthetic_studies as studies
from softplus.lab import as_json, bench, judging
from softplus.lab.statistics import Interval
from softplus.lab.trials import Outcome, Trial

MEASURED = studies.results("relu,softplus", seeds=2).arms[0].outcomes[0]


def document(results):
    """Return what a reader of results.json gets."""
    return json.loads(as_json.of_results(results))


def test_results_json_has_the_figures_and_not_their_rounded_texts():
    results = studies.results()
    read = document(results)
    arm, trial = results.arms[1], results.arms[1].outcomes[3]
    assert read["schema_version"] == 1
    assert read["settings"]["reference"] == "relu"
    assert read["problem"]["test_ratio"] == results.problem.test_ratio
    shown = read["arms"][1]
    assert (shown["name"], shown["learning_rate"]) == ("softplus", 3e-3)
    assert shown["values"] == pytest.approx([0.126928, 0.693147, 5.006715], rel=1e-5)
    assert shown["tuning"][0] == {"learning_rate": 3e-4, "validation": arm.tuning[3e-4]}
    assert shown["trials"][3]["seed"] == 3
    assert shown["trials"][3]["test"] == trial.test
    assert shown["trials"][3]["curve"][1] == list(trial.curve[1])
    assert shown["trials"][3]["measures"]["layers"][2]["units"] == 64
    assert read["verdicts"][0]["these_rows"]["interval"] == {
        "center": results.verdicts[0].these_rows.interval.center,
        "low": results.verdicts[0].these_rows.interval.low,
        "high": results.verdicts[0].these_rows.interval.high,
    }
    assert read["purposes"][0]["findings"][0]["winner"] == "relu"


def test_what_is_no_finite_number_is_null():
    results = studies.results("relu,softplus")
    arm = results.arms[1]
    cost = replace(arm.cost, ratio=Interval(math.inf, math.nan, math.nan))
    read = document(replace(results, arms=(results.arms[0], replace(arm, cost=cost))))
    assert read["arms"][1]["cost"]["ratio"] == {"center": None, "low": None, "high": None}


@pytest.mark.parametrize(
    "outcome",
    [MEASURED, replace(MEASURED, measures=None, steps_to_goal=None, drift=None), Outcome(1.0, 2.0)],
)
def test_an_outcome_is_read_as_it_was_written(outcome):
    read = as_json.outcome(as_json.of_outcome(outcome))
    assert read == outcome
    assert (read.seconds, read.seconds_to_goal) == (outcome.seconds, outcome.seconds_to_goal)


def test_a_failed_outcome_is_read_as_it_was_written():
    """NaN is not equal to itself."""
    text = as_json.of_outcome(Outcome(failure="out of memory"))
    assert as_json.of_outcome(as_json.outcome(text)) == text


def test_a_trials_key_is_as_its_problem_and_what_decides_its_outcome():
    trial = Trial("relu", 1e-3, seed=5, measured=False)
    problem = studies.Digits()
    others = [replace(trial, **{name: "other"}) for name in vars(trial)]
    keys = {as_json.key(problem, trial), *(as_json.key(problem, other) for other in others)}
    assert len(keys) == 1 + len(vars(trial))
    assert as_json.key(replace(problem, title="another"), trial) in keys  # words decide nothing
    elsewhere = studies.Digits()
    object.__setattr__(elsewhere, "identity", {"data": "other"})
    assert as_json.key(elsewhere, trial) not in keys


def test_the_times_of_bench():
    case = bench.Case("forward", "float32", 64, 1, {"ReLU": 1e-6}, {"ReLU": 2e-6})
    document = json.loads(as_json.of_times(bench.Settings(threads=(1,)), [case], None))
    assert document["torch"] == torch.__version__
    assert document["not_compiled"] is None
    assert document["settings"]["sizes"] == list(bench.SIZES)
    (read,) = document["cases"]
    assert (read["direction"], read["dtype"], read["size"], read["threads"]) == (
        "forward",
        "float32",
        64,
        1,
    )
    assert (read["eager"], read["compiled"]) == ({"ReLU": 1e-6}, {"ReLU": 2e-6})


def test_a_judgement():
    judged = judging.judge({"relu": [1.0, 2.0], "softplus": [1.5, 2.4]}, test_ratio=0.25)
    document = json.loads(as_json.of_judgement(judged))
    assert {name: document[name] for name in ("reference", "test_ratio", "margin")} == {
        "reference": "relu",
        "test_ratio": 0.25,
        "margin": None,
    }
    assert document["verdicts"][0]["other_rows"]["winner"] == "cannot tell"
    assert document["notes"]
