"""The results of a study: its arms, what their trials came to, and the verdicts."""

from dataclasses import dataclass, field

from softplus.lab.activations import Activation
from softplus.lab.cost import Cost
from softplus.lab.measures import Measures
from softplus.lab.problems import Problem
from softplus.lab.settings import Settings
from softplus.lab.trials import Outcome
from softplus.lab.verdicts import Verdict


@dataclass(frozen=True)
class Arm:
    """One activation of a study: its learning rate, and what its trials came to, seed by seed.

    `tuning` is the mean validation metric of every learning rate tried, NaN where there was one
    to choose from. `cost` is None where steps cannot be timed.
    """

    activation: Activation
    learning_rate: float | None
    tuning: dict[float, float]
    cost: Cost | None
    outcomes: tuple[Outcome, ...]

    @property
    def name(self) -> str:
        """The activation's name."""
        return self.activation.name

    @property
    def at_edge(self) -> bool:
        """Whether the learning rate taken is the lowest or the highest of those tried."""
        return len(self.tuning) > 1 and self.learning_rate in (min(self.tuning), max(self.tuning))

    @property
    def measures(self) -> list[Measures]:
        """What was measured, seed by seed."""
        return [outcome.measures for outcome in self.outcomes if outcome.measures]


@dataclass(frozen=True)
class Results:
    """What a study came to: its arms in the order asked for, a verdict on each but the reference.

    `created` is the time in ISO 8601, `software` the versions that ran, `machine` what they ran on,
    and `command` the command line that repeats the study.
    """

    created: str
    software: dict[str, str]
    settings: Settings
    arms: tuple[Arm, ...]
    verdicts: tuple[Verdict, ...]
    machine: dict[str, str] = field(default_factory=dict)
    command: str = ""

    @property
    def problem(self) -> Problem:
        """What the arms were trained on."""
        return self.settings.problem
