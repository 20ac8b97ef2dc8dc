"""A study: what the user asked for, the trials that takes, and what they came to."""

from dataclasses import dataclass, replace
from typing import Any

from softplus.lab import activations, tasks
from softplus.lab.activations import Activation
from softplus.lab.cost import Cost
from softplus.lab.errors import UsageError
from softplus.lab.measures import Measures
from softplus.lab.statistics import Verdict
from softplus.lab.trials import Outcome, Trial

# Tuning runs on seeds of its own, so that no final seed has seen its learning rate chosen.
_FIRST_TUNING_SEED = 1_000_000
_TUNING_SEEDS = 3
# 16 GB with gradients and Adam's state.
_MOST_WEIGHTS = 10**9


@dataclass(frozen=True)
class Settings:
    """What the user asked for; relu where it is present, else the first, is the reference."""

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
        if self.depth * self.width**2 > _MOST_WEIGHTS:
            raise UsageError(
                f"--depth {self.depth} and --width {self.width} make a network of more than "
                f"{_MOST_WEIGHTS:,} weights: choose a smaller one"
            )
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

    def finals(self, activation: str, learning_rate: float) -> list[Trial]:
        """Return the trials that the comparison rests on, in the order of their seeds."""
        return [
            self.trial(activation, learning_rate, seed, measured=True) for seed in range(self.seeds)
        ]

    @property
    def trials(self) -> int:
        """How many trials the study has."""
        return sum(len(self.tuning(a.name)) + self.seeds for a in self.activations)


def settings(
    task: str,
    spellings: str,
    *,
    depth: int,
    width: int,
    epochs: int | None,
    seeds: int | None,
    rates: str | None,
    margin: float | None,
    quick: bool,
) -> Settings:
    """Return the settings for what the command line says.

    `quick` is a smoke test, too short for a verdict to rest on.

    Raises:
        UsageError: Something in it is unknown, no number, or out of range.
    """
    data = tasks.load(task)
    unsaid = Settings(
        task=task,
        activations=tuple(activations.parse_list(spellings)),
        depth=depth,
        width=width,
        epochs=5 if quick else data.epochs,
        seeds=3 if quick else 10,
        learning_rates=(1e-3, 1e-2) if quick else data.learning_rates,
        margin=data.margin,
    )
    said: dict[str, Any] = {
        "epochs": epochs,
        "seeds": seeds,
        "learning_rates": None if rates is None else _parse_rates(rates),
        "margin": margin,
    }
    return replace(unsaid, **{name: value for name, value in said.items() if value is not None})


def _parse_rates(spelling: str) -> tuple[float, ...]:
    """Return the learning rates of a comma-separated list."""
    try:
        return tuple(sorted({float(rate) for rate in spelling.split(",")}))
    except ValueError:
        raise UsageError(f"--lr must list numbers, comma-separated, got {spelling!r}") from None


@dataclass(frozen=True)
class Arm:
    """One activation of a study: its learning rate, and what its trials came to, seed by seed.

    `tuning` is the mean validation metric of every learning rate tried, NaN where there was one
    to choose from.
    """

    activation: Activation
    learning_rate: float
    tuning: dict[float, float]
    cost: Cost
    outcomes: tuple[Outcome, ...]

    @property
    def name(self) -> str:
        """The activation's name."""
        return self.activation.name

    @property
    def measures(self) -> list[Measures]:
        """What was measured, seed by seed."""
        return [outcome.measures for outcome in self.outcomes if outcome.measures]


@dataclass(frozen=True)
class Results:
    """What a study came to: its arms in the order asked for, a verdict on each but the reference.

    `created` is the time in ISO 8601, `software` the versions that ran.
    """

    created: str
    software: dict[str, str]
    settings: Settings
    arms: tuple[Arm, ...]
    verdicts: tuple[Verdict, ...]

    @property
    def task(self) -> tasks.Task:
        """The task, with its data."""
        return tasks.load(self.settings.task)
