"""A trial, the unit of a study: what defines one training run, and what came out of it."""

import math
from dataclasses import dataclass, field

from softplus.lab.measures import Measures


@dataclass(frozen=True)
class Trial:
    """One training of a problem with one arm, one learning rate and one seed.

    A learning rate of None is the problem's own. Only a measured trial is looked into.
    """

    arm: str
    learning_rate: float | None
    seed: int
    measured: bool


@dataclass(frozen=True)
class Drift:
    """How far a training ended from its twin, whose start differs in the last bit of one weight.

    The largest difference of a weight and of an output on the test rows after the last step, and
    the difference of the metric on the test rows.
    """

    weight: float
    output: float
    test: float


@dataclass(frozen=True)
class Outcome:
    """What came out of a trial.

    `validation` is the best metric on that split, and `test` is the metric of the same state on
    the test split; both are NaN where the trial failed. `curve` holds (step, validation metric).
    `steps_to_goal` and `diverged_at` are None where that never happened, `measures` where the trial
    is not measured, `drift` where it has no twin. The last line of `failure` says why there is no
    result; a traceback may stand above it. `seconds` is the trial's share of the CPU time that its
    batch took. `remarks` are what the problem noticed. Neither they nor times are a part of what
    makes two outcomes equal.
    """

    validation: float = math.nan
    test: float = math.nan
    steps_to_goal: int | None = None
    diverged_at: int | None = None
    curve: tuple[tuple[int, float], ...] = ()
    measures: Measures | None = None
    drift: Drift | None = None
    failure: str | None = None
    remarks: tuple[str, ...] = field(default=(), compare=False)
    seconds: float | None = field(default=None, compare=False)
    seconds_to_goal: float | None = field(default=None, compare=False)
