"""Runs a study: the trials that its store lacks, then the step times and the verdicts."""

import math
import platform
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from statistics import fmean

import torch

from softplus import __version__
from softplus.lab import cost, machine, verdicts
from softplus.lab.cost import Cost
from softplus.lab.engines import Died, Engine
from softplus.lab.errors import UsageError
from softplus.lab.problems import Metric, Problem
from softplus.lab.results import Arm, Results
from softplus.lab.settings import Settings
from softplus.lab.store import Store
from softplus.lab.trials import Outcome, Trial

# After so many failures and no success the next trial will hardly do better.
_FAILURES = 3
# How often to look whether another process has finished the trials that it has claimed.
_LOOK_EVERY_SECONDS = 1.0


def run(
    settings: Settings, store: Store, engine: Engine, progress: Callable[[str, int], None]
) -> Results:
    """Run the trials that the store lacks and return what the study came to.

    Args:
        settings: What to compare, and how.
        store: Where finished trials are kept and found again.
        engine: Where trials run; it is closed when the last one has.
        progress: Called with the phase and the number of trials done, after each batch.

    Raises:
        UsageError: All trials fail, or no loss is finite at the first step; or the problem, the
            store or the engine says so.
    """
    problem, arms = settings.problem, settings.activations
    study = _Trials(problem, store, engine)
    store.forget_failures()
    with engine:
        tuning = [trial for arm in arms for trial in settings.tuning(arm.name)]
        study.complete(tuning, lambda done: progress("choosing learning rates", done))
        means = {arm.name: _mean_validation(settings, study.outcomes, arm.name) for arm in arms}
        chosen = {name: _best(rates, problem.metric) for name, rates in means.items()}
        finals = {name: settings.finals(name, rate) for name, rate in chosen.items()}
        study.complete(
            [trial for trials in finals.values() for trial in trials],
            lambda done: progress("comparing", len(tuning) + done),
        )
    progress("timing steps", settings.trials)
    trained = [
        arm
        for arm in arms
        if any(study.outcomes[trial].failure is None for trial in finals[arm.name])
    ]
    costs = cost.measure(problem, trained, settings.reference)
    done = tuple(
        Arm(
            activation=arm,
            learning_rate=chosen[arm.name],
            tuning=means[arm.name],
            cost=costs.get(arm.name),
            outcomes=tuple(
                _with_time_to_goal(study.outcomes[trial], costs.get(arm.name))
                for trial in finals[arm.name]
            ),
        )
        for arm in arms
    )
    return Results(
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        software={
            "softplus": __version__,
            "torch": torch.__version__,
            "python": platform.python_version(),
            "machine": platform.machine(),
        },
        machine=machine.description(),
        settings=settings,
        arms=done,
        verdicts=tuple(_verdicts(settings, done)),
    )


class _Trials:
    """The trials of a problem, some in the store, the others to be run."""

    def __init__(self, problem: Problem, store: Store, engine: Engine) -> None:
        self._problem, self._store, self._engine = problem, store, engine
        self.outcomes: dict[Trial, Outcome] = {}
        self._suspects: set[Trial] = set()  # of a batch that ended its process

    def complete(self, wanted: list[Trial], progress: Callable[[int], None]) -> None:
        """Bring the outcomes of all wanted trials, running and storing those that are missing."""
        while True:
            self.outcomes |= self._store.get(self._problem, wanted)
            missing = [trial for trial in wanted if trial not in self.outcomes]
            progress(len(wanted) - len(missing))
            if not missing:
                return
            if not self._run(missing, wanted, progress):
                # Another process is at work on all of them. If it ends, its claims are free.
                time.sleep(_LOOK_EVERY_SECONDS)

    def _run(
        self, missing: list[Trial], wanted: list[Trial], progress: Callable[[int], None]
    ) -> bool:
        """Run those trials that nobody else is running; return whether there was one."""
        together = [trial for trial in missing if trial not in self._suspects]
        batches = _split(self._problem.batches(together), self._engine.slots)
        batches += [[trial] for trial in missing if trial in self._suspects]
        answered = 0
        for batch, answer in self._engine.map(self._problem.run, self._claimed(batches)):
            answered += 1
            if isinstance(answer, Died) and len(batch) > 1:
                self._suspects.update(batch)  # next time each runs alone
                continue
            found = [Outcome(failure=answer.reason)] if isinstance(answer, Died) else answer
            finished = dict(zip(batch, found, strict=True))
            self._store.put(self._problem, finished)
            self.outcomes |= finished
            progress(sum(trial in self.outcomes for trial in wanted))
            _check_hope(list(self.outcomes.values()))
        return answered > 0

    def _claimed(self, batches: list[list[Trial]]) -> Iterator[list[Trial]]:
        """Yield the batches, less what others are at work on."""
        for batch in batches:
            if claimed := self._store.claim(self._problem, batch):
                yield claimed


def _split(batches: Sequence[list[Trial]], slots: int) -> list[list[Trial]]:
    """Return at least as many batches as there are slots, where there are as many trials."""
    split = sorted(batches, key=len, reverse=True)
    while 0 < len(split) < slots and len(split[0]) > 1:
        largest = split.pop(0)
        half = len(largest) // 2
        split = sorted([*split, largest[:half], largest[half:]], key=len, reverse=True)
    return split


def _check_hope(outcomes: list[Outcome]) -> None:
    """Raise UsageError where every trial so far failed, or had no finite loss at all."""
    failures = [outcome.failure for outcome in outcomes if outcome.failure is not None]
    if len(failures) == len(outcomes) >= _FAILURES:
        raise UsageError(
            f"all of the first {len(outcomes)} trainings failed, the last one with:\n{failures[-1]}"
        )
    if len(outcomes) >= _FAILURES and all(outcome.diverged_at == 1 for outcome in outcomes):
        raise UsageError(
            f"the loss was not finite at the first step of all of the first {len(outcomes)} "
            "trainings: look for NaN or huge values in the data, the loss and the initial weights"
        )


def _with_time_to_goal(outcome: Outcome, of_step: Cost | None) -> Outcome:
    """Return the outcome with its steps to the goal in seconds, where a step's time is known."""
    if outcome.steps_to_goal is None or of_step is None or of_step.busy:
        return outcome
    seconds = outcome.steps_to_goal * of_step.milliseconds.center / 1e3
    return replace(outcome, seconds_to_goal=seconds)


def _verdicts(settings: Settings, arms: tuple[Arm, ...]) -> list[verdicts.Verdict]:
    return verdicts.decide(
        {arm.name: dict(enumerate(outcome.test for outcome in arm.outcomes)) for arm in arms},
        settings.reference,
        test_ratio=settings.problem.test_ratio,
        margin=settings.margin,
        higher_is_better=settings.problem.metric.higher_is_better,
    )


def _mean_validation(
    settings: Settings, outcomes: dict[Trial, Outcome], activation: str
) -> dict[float, float]:
    """Return the mean validation metric of every learning rate, over the tuning seeds.

    It is NaN where one of them failed, or where there was no rate to choose.
    """
    wanted = settings.tuning(activation)
    return {
        rate: fmean(outcomes[trial].validation for trial in wanted if trial.learning_rate == rate)
        if wanted
        else float("nan")
        for rate in settings.learning_rates
    }


def _best(means: dict[float, float], metric: Metric) -> float | None:
    """Return the learning rate with the best mean, None where the problem has its own.

    Of equal ones it is the first. NaN is worse than any number.
    """
    if not means:
        return None
    numbers = {rate: mean for rate, mean in means.items() if not math.isnan(mean)} or means
    best, *others = numbers
    for rate in others:
        if metric.better(numbers[rate], numbers[best]):
            best = rate
    return best
