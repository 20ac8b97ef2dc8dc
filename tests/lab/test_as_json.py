"""The JSON of `softplus.lab.as_json`: what its readers rely on, name by name, and back again."""

import json
import math
from dataclasses import replace
from unittest.mock import ANY

import pytest
import torch

from softplus.lab import activations, as_json, bench, judging, verdicts
from softplus.lab.cost import Cost
from softplus.lab.measures import Measures
from softplus.lab.results import Arm, Results
from softplus.lab.statistics import Interval
from softplus.lab.trials import Outcome, Trial

MEASURES = Measures(
    share_negative=0.25,
    output_negative=0.0,
    recovered_negative=0.0,
    share_positive=0.75,
    output_positive=1.5,
    recovered_positive=1.0,
    smallest_gradient=0.0,
    underflow=0.25,
    dead=0.125,
    dormant=0.5,
    sparsity=0.25,
    histogram=(0.5, 0.5),
    smoothness=0.75,
    first_layer_gradient=0.0625,
)
OUTCOME = Outcome(
    validation=91.0,
    test=90.0,
    steps_to_goal=15,
    diverged_at=None,
    curve=((0, 10.0), (5, 91.0)),
    measures=MEASURES,
)
# What every reader of results.json has been promised; NaN is null.
ARM = {
    "name": "softplus:beta=5",
    "formula": "ln(1 + e^(beta·x)) / beta",
    "parameters": {"beta": 5.0},
    "shape": "smooth, convex, monotone",
    "values": pytest.approx([9.08e-06, 0.1386294, 5.0], rel=1e-4),
    "learning_rate": 0.01,
    "tuning": [
        {"learning_rate": 0.001, "validation": 80.0},
        {"learning_rate": 0.01, "validation": 91.0},
    ],
    "cost": {
        "milliseconds": {"center": 2.0, "low": 1.5, "high": 2.5},
        "ratio": {"center": 1.0, "low": None, "high": None},
        "bytes_kept": 1024,
    },
    "trials": [
        {
            "seed": 0,
            "validation": 91.0,
            "test": 90.0,
            "steps_to_goal": 15,
            "diverged_at": None,
            "curve": [[0, 10.0], [5, 91.0]],
            "failure": None,
            "seconds": None,
            "seconds_to_goal": None,
            "measures": {
                "share_negative": 0.25,
                "output_negative": 0.0,
                "recovered_negative": 0.0,
                "share_positive": 0.75,
                "output_positive": 1.5,
                "recovered_positive": 1.0,
                "smallest_gradient": 0.0,
                "underflow": 0.25,
                "dead": 0.125,
                "dormant": 0.5,
                "sparsity": 0.25,
                "histogram": [0.5, 0.5],
                "smoothness": 0.75,
                "first_layer_gradient": 0.0625,
            },
        }
    ],
}
DOCUMENT = {
    "created": "2026-01-01T00:00:00+00:00",
    "software": {"softplus": "1"},
    "settings": {
        "activations": ["relu", "softplus:beta=5"],
        "seeds": 1,
        "learning_rates": [0.001, 0.01],
        "margin": 1.0,
        "reference": "relu",
    },
    "problem": {
        "name": "digits",
        "title": "1,797 handwritten digits of 8 by 8 pixels, ten classes",
        "metric": "accuracy",
        "unit": "%",
        "higher_is_better": True,
        "goal": 90.0,
        "training": "2 hidden layers of 16, 1 epochs, batches of 64",
        "rows": 1797,
        "parts": {"train": 1079, "validation": 359, "test": 359},
        "test_ratio": 359 / 1079,
        "notes": [],
        "identity": {
            "problem": "digits",
            "data": ANY,
            "depth": 2,
            "width": 16,
            "epochs": 1,
            "batch_size": 64,
        },
    },
    "arms": [ARM],
    "verdicts": [
        {
            "arm": "softplus:beta=5",
            "reference": "relu",
            "paired": True,
            "runs": [1, 1],
            "failed": [0, 0],
            "these_rows": {
                "winner": "cannot tell",
                "interval": {"center": 1.0, "low": None, "high": None},
                "level": 0.95,
                "p": 1.0,
                "p_holm": 1.0,
                "p_equivalence_holm": 1.0,
                "smallest_difference": None,
                "limit": None,
                "seeds_needed": None,
            },
            "other_rows": None,
            "p_sign_flip": 1.0,
            "doubt": "one run has no spread, so at least two are needed",
        }
    ],
}


def test_results_json_says_what_it_has_always_said(settings):
    relu, softplus = activations.parse_list("relu,softplus:beta=5")
    arm = Arm(
        activation=softplus,
        learning_rate=1e-2,
        tuning={1e-3: 80.0, 1e-2: 91.0},
        cost=Cost(Interval(2.0, 1.5, 2.5), Interval(1.0, math.nan, math.nan), 1024),
        outcomes=(OUTCOME,),
    )
    (verdict,) = verdicts.decide(
        {"relu": {0: 89.0}, "softplus:beta=5": {0: 90.0}},
        "relu",
        test_ratio=None,
        margin=1.0,
        higher_is_better=True,
    )
    results = Results(
        created="2026-01-01T00:00:00+00:00",
        software={"softplus": "1"},
        settings=settings(activations=(relu, softplus), seeds=1),
        arms=(arm,),
        verdicts=(verdict,),
    )
    assert json.loads(as_json.of_results(results)) == DOCUMENT


@pytest.mark.parametrize("outcome", [OUTCOME, replace(OUTCOME, measures=None, steps_to_goal=None)])
def test_an_outcome_is_read_as_it_was_written(outcome):
    assert as_json.outcome(as_json.of_outcome(outcome)) == outcome


def test_an_outcome_that_was_written_without_measures_is_read():
    written = '{"validation": 1.0, "test": 2.0, "steps_to_goal": 0, "diverged_at": 5, "curve": []}'
    assert as_json.outcome(written) == Outcome(1.0, 2.0, 0, 5, ())


def test_a_trials_key_holds_what_decides_its_outcome(settings):
    problem, trial = settings().problem, Trial("relu", 1e-3, seed=5, measured=False)
    key = json.loads(as_json.key(problem, trial))
    assert key["torch"] == torch.__version__
    others = [replace(trial, **{name: "other"}) for name in vars(trial)]
    keys = {as_json.key(problem, other) for other in [trial, *others]}
    keys.add(as_json.key(settings(width=8).problem, trial))
    assert len(keys) == 2 + len(vars(trial))


def test_the_times_of_bench():
    case = bench.Case("forward", "float32", 64, 1, {"ReLU": 1e-6}, {"ReLU": 2e-6})
    document = json.loads(as_json.of_times(bench.Settings(threads=(1,)), [case], None))
    assert document["torch"] == torch.__version__
    assert document["not_compiled"] is None
    assert document["settings"]["sizes"] == list(bench.SIZES)
    assert document["cases"] == [
        {
            "direction": "forward",
            "dtype": "float32",
            "size": 64,
            "threads": 1,
            "eager": {"ReLU": 1e-6},
            "compiled": {"ReLU": 2e-6},
        }
    ]


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
