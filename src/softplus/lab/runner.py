"""Runs a study: the trials that its store lacks, then the step times and the verdicts."""

import platform
from collections.abc import Callable, Sequence
from contextlib import closing
from datetime import UTC, datetime
from statistics import fmean

import torch

from softplus import __version__
from softplus.lab import cost, engines, statistics
from softplus.lab.problems import Metric, Problem
from softplus.lab.results import Arm, Results
from softplus.lab.settings import Settings
from softplus.lab.store import Store
from softplus.lab.trials import Outcome, Trial


def run(
    settings: Settings, store: Store, jobs: int, progress: Callable[[str, int], None]
) -> Results:
    """Run the trials that the store lacks and return what the study came to.

    Args:
        settings: What to compare, and how.
        store: Where finished trials are kept and found again.
        jobs: How many processes train side by side.
        progress: Called with the phase and the number of trials done, after each.
    """
    problem = settings.problem
    names = [activation.name for activation in settings.activations]
    tuning = [trial for name in names for trial in settings.tuning(name)]
    tuned = _complete(
        problem, tuning, store, jobs, lambda done: progress("choosing learning rates", done)
    )
    means = {name: _mean_validation(settings, tuned, name) for name in names}
    chosen = {name: _best(means[name], problem.metric) for name in names}
    finals = {name: settings.finals(name, chosen[name]) for name in names}
    outcomes = _complete(
        problem,
        [trial for name in names for trial in finals[name]],
        store,
        jobs,
        lambda done: progress("comparing", len(tuning) + done),
    )
    progress("timing steps", settings.trials)
    costs = cost.measure(problem, list(settings.activations), settings.reference)
    arms = tuple(
        Arm(
            activation=activation,
            learning_rate=chosen[activation.name],
            tuning=means[activation.name],
            cost=costs.get(activation.name),
            outcomes=tuple(outcomes[trial] for trial in finals[activation.name]),
        )
        for activation in settings.activations
    )
    return Results(
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        software={
            "softplus": __version__,
            "torch": torch.__version__,
            "python": platform.python_version(),
            "machine": platform.machine(),
        },
        settings=settings,
        arms=arms,
        verdicts=tuple(_verdicts(settings, arms)),
    )


def _complete(
    problem: Problem,
    wanted: list[Trial],
    store: Store,
    jobs: int,
    progress: Callable[[int], None],
) -> dict[Trial, Outcome]:
    """Return the outcome of every trial, running and storing those that the store lacks."""
    outcomes = store.get(problem, wanted)
    progress(len(outcomes))
    missing = [trial for trial in wanted if trial not in outcomes]
    groups = problem.batches(missing)
    with closing(engines.run_local(problem.run, groups, jobs)) as finished:
        for group, found in finished:
            for trial, outcome in zip(group, found, strict=True):
                store.put(problem, trial, outcome)
                outcomes[trial] = outcome
            progress(len(outcomes))
    return outcomes


def _verdicts(settings: Settings, arms: tuple[Arm, ...]) -> list[statistics.Verdict]:
    metrics: dict[str, Sequence[float]] = {
        arm.name: [outcome.test for outcome in arm.outcomes] for arm in arms
    }
    reference_values = metrics.pop(settings.reference)
    return statistics.decide(
        metrics,
        settings.reference,
        reference_values,
        test_ratio=settings.problem.test_ratio or 0.0,
        margin=settings.margin or 0.0,
        higher_is_better=settings.problem.metric.higher_is_better,
    )


def _mean_validation(
    settings: Settings, tuned: dict[Trial, Outcome], activation: str
) -> dict[float, float]:
    """Return the mean validation metric of every learning rate, over the tuning seeds."""
    wanted = settings.tuning(activation)
    return {
        rate: fmean(tuned[trial].validation for trial in wanted if trial.learning_rate == rate)
        if wanted
        else float("nan")
        for rate in settings.learning_rates
    }


def _best(means: dict[float, float], metric: Metric) -> float | None:
    """Return the learning rate with the best mean, None where the problem has its own.

    Of equal ones it is the first.
    """
    if not means:
        return None
    best, *others = means
    for rate in others:
        if metric.better(means[rate], means[best]):
            best = rate
    return best
