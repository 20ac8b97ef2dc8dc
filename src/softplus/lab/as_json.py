"""The lab's JSON: results.json, the times of `bench`, and the rows of a study's file."""

import json
import math
import os
from collections.abc import Sequence
from dataclasses import asdict
from hashlib import sha256
from typing import Any

import torch

from softplus import __version__
from softplus.lab import bench, purposes, summary
from softplus.lab.judging import Judgement
from softplus.lab.measures import LayerMeasures, Measures
from softplus.lab.problems import Problem
from softplus.lab.results import Arm, Results
from softplus.lab.trials import Drift, Outcome, Trial
from softplus.ops import cpu

# Of results.json: raise it when a reader of the schema before would misread the new one.
_SCHEMA = 1
# Part of every trial's key: raise it when a change makes earlier outcomes incomparable.
_FORMAT = 3


def of_results(results: Results) -> str:
    """Return results.json, as report/results.schema.json describes it."""
    settings, problem = results.settings, results.problem
    document = {
        "schema_version": _SCHEMA,
        "created": results.created,
        "command": results.command,
        "software": results.software,
        "machine": results.machine,
        "settings": {
            "activations": [activation.name for activation in settings.activations],
            "seeds": settings.seeds,
            "learning_rates": settings.learning_rates,
            "margin": settings.margin,
            "reference": settings.reference,
        },
        "problem": {
            "name": problem.name,
            "title": problem.title,
            "metric": problem.metric.name,
            "unit": problem.metric.unit,
            "higher_is_better": problem.metric.higher_is_better,
            "goal": problem.metric.goal,
            "training": problem.training,
            "rows": problem.rows,
            "things": problem.things,
            "parts": problem.parts,
            "test_ratio": problem.test_ratio,
            "notes": problem.notes,
            "identity": problem.identity,
        },
        "notes": summary.notes(results),
        "arms": [_arm(arm) for arm in results.arms],
        "verdicts": [asdict(verdict) for verdict in results.verdicts],
        "purposes": [asdict(purpose) for purpose in purposes.purposes(results)],
    }
    return json.dumps(_finite(document), indent=1, allow_nan=False)


def _arm(arm: Arm) -> dict[str, Any]:
    return {
        "name": arm.name,
        "formula": arm.activation.formula,
        "parameters": arm.activation.parameters,
        "init": arm.activation.init,
        "shape": arm.activation.shape(),
        "values": arm.activation.values(),
        "learning_rate": arm.learning_rate,
        "tuning": [
            {"learning_rate": rate, "validation": metric} for rate, metric in arm.tuning.items()
        ],
        "cost": asdict(arm.cost) if arm.cost else None,
        "trials": [{"seed": seed, **asdict(outcome)} for seed, outcome in enumerate(arm.outcomes)],
    }


def of_judgement(judgement: Judgement) -> str:
    """Return what scores came to; NaN and infinities are null in it."""
    document = {
        "softplus": __version__,
        "reference": judgement.reference,
        "test_ratio": judgement.test_ratio,
        "margin": judgement.subject.margin,
        "higher_is_better": judgement.subject.higher_is_better,
        "notes": judgement.notes,
        "verdicts": [asdict(verdict) for verdict in judgement.verdicts],
    }
    return json.dumps(_finite(document), indent=1, allow_nan=False)


def of_times(settings: bench.Settings, cases: Sequence[bench.Case], skipped: str | None) -> str:
    """Return everything that `bench` measured; times in seconds, medians over the rounds."""
    document = {
        "torch": torch.__version__,
        "cpu": torch.backends.cpu.get_cpu_capability(),
        "cores": os.cpu_count(),
        "kernels": cpu.instruction_set(),
        "no_kernels": cpu.absent,
        "not_compiled": skipped,
        "settings": asdict(settings),
        "cases": [asdict(case) for case in cases],
    }
    return json.dumps(document, indent=1) + "\n"


def key(problem: Problem, trial: Trial) -> str:
    """Return the identity of a trial's outcome: its own, the problem's, and the versions."""
    software = {"torch": torch.__version__, "softplus": __version__, "format": _FORMAT}
    identity = json.dumps([problem.identity, asdict(trial), software], sort_keys=True)
    return sha256(identity.encode()).hexdigest()


def of_trial(trial: Trial) -> str:
    """Return a trial as the study's file shows it to a reader."""
    return json.dumps(asdict(trial))


def of_outcome(outcome: Outcome) -> str:
    """Return a trial's outcome as the study's file keeps it."""
    return json.dumps(asdict(outcome))


def outcome(text: str) -> Outcome:
    """Return the outcome that `of_outcome` wrote."""
    read = json.loads(text)
    if measures := read["measures"]:
        measures["histogram"] = tuple(measures["histogram"])
        measures["layers"] = tuple(LayerMeasures(**layer) for layer in measures["layers"])
        read["measures"] = Measures(**measures)
    if read["drift"]:
        read["drift"] = Drift(**read["drift"])
    read["curve"] = tuple((step, metric) for step, metric in read["curve"])
    read["remarks"] = tuple(read["remarks"])
    return Outcome(**read)


def _finite(value: Any) -> Any:
    """Return the value with NaN and infinities, which JSON does not have, as None."""
    if isinstance(value, dict):
        return {key: _finite(member) for key, member in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(member) for member in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
