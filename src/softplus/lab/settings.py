"""The settings of a study: what the user asked for, and the trials that takes."""

from collections.abc import Sequence
from dataclasses import dataclass

from softplus.lab import activations
from softplus.lab.activations import Activation
from softplus.lab.errors import UsageError
from softplus.lab.problems import Problem
from softplus.lab.trials import Trial

# Tuning runs on seeds of its own, so that no final seed has seen its learning rate chosen.
_FIRST_TUNING_SEED = 1_000_000
_TUNING_SEEDS = 3
# A smoke test's, too short for a verdict to rest on.
_QUICK_SEEDS, _QUICK_RATES = 3, (1e-3, 1e-2)


@dataclass(frozen=True)
class Settings:
    """What the user asked for; relu where it is present, else the first, is the reference."""

    problem: Problem
    activations: tuple[Activation, ...]
    seeds: int
    learning_rates: tuple[float, ...]
    margin: float | None

    def __post_init__(self) -> None:
        if not 1 <= self.seeds <= _FIRST_TUNING_SEED:
            raise UsageError(f"--seeds must be from 1 to {_FIRST_TUNING_SEED:,}, got {self.seeds}")
        if self.learning_rates and not self.problem.learning_rates:
            raise UsageError(
                f"--lr has no effect: {self.problem.name} trains at its own learning rate (in a "
                "training command, write {lr} where the rate goes: -- python train.py --lr {lr})"
            )
        if not all(0 < rate < float("inf") for rate in self.learning_rates):
            raise UsageError(f"--lr must list positive numbers, got {self.learning_rates}")
        if self.margin is not None and not 0 < self.margin < float("inf"):
            raise UsageError(f"--margin must be a positive number, got {self.margin}")

    @property
    def reference(self) -> str:
        """The name of the activation that the others are compared with."""
        relu = [arm.name for arm in self.activations if arm.family == "relu"]
        return min(relu, key=len) if relu else self.activations[0].name

    def tuning(self, arm: str) -> list[Trial]:
        """Return the trials that choose the learning rate: none where there is one to choose."""
        if len(self.learning_rates) < 2:
            return []
        return [
            Trial(arm, rate, _FIRST_TUNING_SEED + seed, measured=False)
            for rate in self.learning_rates
            for seed in range(_TUNING_SEEDS)
        ]

    def finals(self, arm: str, learning_rate: float | None) -> list[Trial]:
        """Return the trials that the comparison rests on, in the order of their seeds."""
        return [Trial(arm, learning_rate, seed, measured=True) for seed in range(self.seeds)]

    @property
    def trials(self) -> int:
        """How many trials the study has."""
        return sum(len(self.tuning(a.name)) + self.seeds for a in self.activations)


def settings(
    problem: Problem,
    spellings: str | None = None,
    *,
    inits: str = "default",
    seeds: int | None = None,
    rates: str | Sequence[float] | None = None,
    margin: float | None = None,
    quick: bool = False,
) -> Settings:
    """Return the settings for what the command line, or `compare`, says.

    Raises:
        UsageError: Something in it is unknown, no number, or out of range.
    """
    grid = problem.learning_rates
    if rates is not None:
        grid = _parse_rates(rates) if isinstance(rates, str) else tuple(sorted(set(rates)))
    elif quick and grid:
        grid = _QUICK_RATES
    return Settings(
        problem=problem,
        activations=tuple(activations.parse_list(spellings or problem.arms, inits)),
        seeds=(_QUICK_SEEDS if quick else problem.seeds) if seeds is None else seeds,
        learning_rates=grid,
        margin=problem.metric.margin if margin is None else margin,
    )


def _parse_rates(spelling: str) -> tuple[float, ...]:
    """Return the learning rates of a comma-separated list."""
    try:
        return tuple(sorted({float(rate) for rate in spelling.split(",")}))
    except ValueError:
        raise UsageError(f"--lr must list numbers, comma-separated, got {spelling!r}") from None
