"""A trial, the unit of a study: what defines one training run, and what came out of it."""

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
class Outcome:
    """What came out of a trial.

    `validation` is the best metric on that split, and `test` is the metric of the same state on
    the test split; both are NaN where the trial failed. `curve` holds (step, validation metric).
    `steps_to_goal` and `diverged_at` are None where that never happened, `measures` where the trial
    is not measured. `failure` says in one line why there is no result. Times are no part of what
    makes two outcomes equal.
    """

    validation: float
    test: float
    steps_to_goal: int | None = None
    diverged_at: int | None = None
    curve: tuple[tuple[int, float], ...] = ()
    measures: Measures | None = None
    failure: str | None = None
    seconds: float | None = field(default=None, compare=False)
    seconds_to_goal: float | None = field(default=None, compare=False)
