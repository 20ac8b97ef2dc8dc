"""A study: all the trials of a comparison, and what they add up to."""

import platform
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from statistics import fmean
from typing import Any

import torch

from softplus.lab import cost, engines, statistics, tasks, trials
from softplus.lab.activations import Activation
from softplus.lab.errors import UsageError
from softplus.lab.store import Result, Store
from softplus.lab.trials import Trial

# Tuning runs on seeds of its own, so that no final seed has seen its learning rate chosen.
_FIRST_TUNING_SEED = 1_000_000
_TUNING_SEEDS = 3


@dataclass(frozen=True)
class Settings:
    """What the user asked for; the first activation, or relu where present, is the reference."""

    task: str
    activations: tuple[Activation, ...]
    depth: int
    width: int
    epochs: int
    seeds: int
    learning_rates: tuple[float, ...]
    margin: float

    def __post_init__(self) -> None:
        for name in ("depth", "width", "epochs", "seeds"):
            if getattr(self, name) < 1:
                raise UsageError(f"--{name} must be at least 1, got {getattr(self, name)}")
        if self.seeds > _FIRST_TUNING_SEED:
            raise UsageError(f"--seeds must be at most {_FIRST_TUNING_SEED}, got {self.seeds}")
        if not self.learning_rates or not all(0 < lr < float("inf") for lr in self.learning_rates):
            raise UsageError(f"--lr must list positive numbers, got {self.learning_rates}")
        if not 0 < self.margin < float("inf"):
            raise UsageError(f"--margin must be a positive number, got {self.margin}")

    @property
    def reference(self) -> str:
        """The name of the activation that the others are compared with."""
        names = [activation.name for activation in self.activations]
        return "relu" if "relu" in names else names[0]

    def trial(self, activation: str, learning_rate: float, seed: int, *, measured: bool) -> Trial:
        """Return the trial of these settings."""
        return Trial(
            task=self.task,
            activation=activation,
            learning_rate=learning_rate,
            seed=seed,
            depth=self.depth,
            width=self.width,
            epochs=self.epochs,
            measured=measured,
        )

    def tuning(self, activation: str) -> list[Trial]:
        """Return the trials that choose the learning rate: none where there is one to choose."""
        if len(self.learning_rates) == 1:
            return []
        return [
            self.trial(activation, learning_rate, _FIRST_TUNING_SEED + seed, measured=False)
            for learning_rate in self.learning_rates
            for seed in range(_TUNING_SEEDS)
        ]

    @property
    def trials(self) -> int:
        """How many trials the study has."""
        return sum(len(self.tuning(a.name)) + self.seeds for a in self.activations)


def parse_rates(spelling: str) -> tuple[float, ...]:
    """Return the learning rates of a comma-separated list.

    >>> parse_rates("1e-3,1e-2")
    (0.001, 0.01)

    Raises:
        UsageError: One of them is not a number.
    """
    try:
        return tuple(sorted({float(rate) for rate in spelling.split(",")}))
    except ValueError:
        raise UsageError(f"--lr must list numbers, comma-separated, got {spelling!r}") from None


def run(
    settings: Settings, store: Store, jobs: int, progress: Callable[[str, int], None]
) -> dict[str, Any]:
    """Run the trials that the store lacks and return the study's results, ready for JSON.

    Args:
        settings: What to compare, and how.
        store: Where finished trials are kept and found again.
        jobs: How many processes train side by side.
        progress: Called with the phase and the number of trials done, after each.
    """
    done = 0

    def complete(phase: str, wanted: list[Trial]) -> dict[Trial, Result]:
        nonlocal done
        kept = store.get(trial.key for trial in wanted)
        results = {trial: kept[trial.key] for trial in wanted if trial.key in kept}
        done += len(results)
        progress(phase, done)
        missing = [trial for trial in wanted if trial not in results]
        with closing(engines.run_local(trials.run, missing, jobs)) as finished:
            for trial, result in finished:
                store.put(trial.key, result)
                results[trial] = result
                done += 1
                progress(phase, done)
        return results

    task = tasks.load(settings.task)
    names = [activation.name for activation in settings.activations]
    tuned = complete(
        "choosing learning rates", [trial for name in names for trial in settings.tuning(name)]
    )
    tuning = {name: _mean_validation(settings, tuned, name) for name in names}
    chosen = {name: _best(tuning[name], task) for name in names}
    finals = {
        name: [
            settings.trial(name, chosen[name], seed, measured=True)
            for seed in range(settings.seeds)
        ]
        for name in names
    }
    results = complete("comparing", [trial for name in names for trial in finals[name]])
    progress("timing steps", done)
    costs = cost.measure(
        task, list(settings.activations), settings.reference, settings.depth, settings.width
    )
    sizes = [len(rows) for rows in task.split(0)]
    arms: list[dict[str, Any]] = [
        {
            "name": activation.name,
            "formula": activation.formula,
            "parameters": dict(activation.parameters),
            "shape": activation.shape(),
            "values": activation.values([-2.0, 0.0, 5.0]),
            "learning_rate": chosen[activation.name],
            "tuning": [
                {"learning_rate": rate, "validation": metric}
                for rate, metric in tuning[activation.name].items()
            ],
            "cost": asdict(costs[activation.name]),
            "trials": [{"seed": trial.seed, **results[trial]} for trial in finals[activation.name]],
        }
        for activation in settings.activations
    ]
    test_ratio = sizes[2] / sizes[0]
    metrics: dict[str, Sequence[float]] = {
        arm["name"]: [trial["test"] for trial in arm["trials"]] for arm in arms
    }
    reference_values = metrics.pop(settings.reference)
    verdicts = statistics.decide(
        metrics,
        settings.reference,
        reference_values,
        test_ratio=test_ratio,
        margin=settings.margin,
        higher_is_better=task.higher_is_better,
    )
    return {
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "software": {
            "softplus": version("softplus"),
            "torch": torch.__version__,
            "python": platform.python_version(),
            "machine": platform.machine(),
        },
        "settings": {
            **asdict(settings),
            "activations": names,
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
            "rows": {"train": sizes[0], "validation": sizes[1], "test": sizes[2]},
            "test_ratio": test_ratio,
        },
        "arms": arms,
        "verdicts": [asdict(verdict) for verdict in verdicts],
    }


def _mean_validation(
    settings: Settings, tuned: dict[Trial, Result], activation: str
) -> dict[float, float]:
    """Return the mean validation metric of every learning rate, over the tuning seeds."""
    wanted = settings.tuning(activation)
    return {
        rate: fmean(tuned[trial]["validation"] for trial in wanted if trial.learning_rate == rate)
        if wanted
        else float("nan")
        for rate in settings.learning_rates
    }


def _best(means: dict[float, float], task: tasks.Task) -> float:
    """Return the learning rate with the best mean; of equal ones, the first."""
    best, *others = means
    for rate in others:
        if task.better(means[rate], means[best]):
            best = rate
    return best
