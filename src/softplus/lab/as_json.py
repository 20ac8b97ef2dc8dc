"""The lab's JSON: results.json, the times of `bench`, and the rows of a study's file."""

import json
import math
import os
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import torch

from softplus import __version__
from softplus.lab import bench, study
from softplus.lab.measures import Measures
from softplus.lab.trials import Outcome, Trial
from softplus.ops import cpu

# Part of every trial's key: raise it when a change makes earlier outcomes incomparable.
_FORMAT = 1


def of_results(results: study.Results) -> str:
    """Return results.json; NaN and infinities, which JSON does not have, are null in it."""
    settings, task = results.settings, results.task
    document = {
        "created": results.created,
        "software": results.software,
        "settings": {
            **asdict(settings),
            "activations": [activation.name for activation in settings.activations],
            "reference": settings.reference,
        },
        "task": {
            "name": task.name,
            "title": task.title,
            "metric": task.metric_name,
            "unit": task.unit,
            "higher_is_better": task.higher_is_better,
            "goal": task.goal,
            "batch_size": task.batch_size,
            "rows": task.rows,
            "test_ratio": task.test_ratio,
        },
        "arms": [_arm(arm) for arm in results.arms],
        "verdicts": [asdict(verdict) for verdict in results.verdicts],
    }
    return json.dumps(_finite(document), indent=1, allow_nan=False)


def _arm(arm: study.Arm) -> dict[str, Any]:
    return {
        "name": arm.name,
        "formula": arm.activation.formula,
        "parameters": arm.activation.parameters,
        "shape": arm.activation.shape(),
        "values": arm.activation.values(),
        "learning_rate": arm.learning_rate,
        "tuning": [
            {"learning_rate": rate, "validation": metric} for rate, metric in arm.tuning.items()
        ],
        "cost": asdict(arm.cost),
        "trials": [{"seed": seed, **asdict(outcome)} for seed, outcome in enumerate(arm.outcomes)],
    }


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


def key(trial: Trial) -> str:
    """Return the identity of a trial's outcome, versions included."""
    software = {"torch": torch.__version__, "softplus": __version__, "format": _FORMAT}
    return json.dumps({**asdict(trial), **software}, sort_keys=True)


def of_outcome(outcome: Outcome) -> str:
    """Return a trial's outcome as the study's file keeps it."""
    return json.dumps(asdict(outcome))


def outcome(text: str) -> Outcome:
    """Return the outcome that `of_outcome` wrote."""
    read = json.loads(text)
    measures = read.pop("measures", None)
    if measures:
        measures = Measures(**{**measures, "histogram": tuple(measures["histogram"])})
    curve = tuple((step, metric) for step, metric in read.pop("curve"))
    return Outcome(**read, curve=curve, measures=measures)


def _finite(value: Any) -> Any:
    """Return the value with NaN and infinities, which JSON does not have, as None."""
    if isinstance(value, dict):
        return {key: _finite(member) for key, member in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(member) for member in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
