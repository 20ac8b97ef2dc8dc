"""What every problem has: a metric, learning rates, a way to run trials, an identity."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from softplus.lab.trials import Outcome, Trial


@dataclass(frozen=True)
class Metric:
    """What a trial is judged by.

    `margin` is the largest difference that does not matter in practice, None where equivalence is
    not asked for, and `goal` the value that
    "time to a target" counts to, None where there is none.
    """

    name: str
    unit: str
    higher_is_better: bool
    margin: float | None
    goal: float | None = None

    def better(self, metric: float, other: float) -> bool:
        """Whether the first value is strictly better than the second."""
        return metric > other if self.higher_is_better else metric < other

    @property
    def target(self) -> str:
        """The goal with its unit: "90%", "5.6 nats"; nothing where there is none."""
        if self.goal is None:
            return ""
        return f"{self.goal:g}{'' if self.unit == '%' else ' '}{self.unit}".strip()

    @property
    def difference_unit(self) -> str:
        """The unit of a difference: of percentages it is points."""
        return "points" if self.unit == "%" else self.unit


@dataclass(frozen=True, kw_only=True)
class Problem(ABC):
    """What the arms of a study are trained on; small, so that it goes to other processes.

    `learning_rates` is the grid to choose from; where it is empty the problem trains at its own
    rate. `test_ratio` is the size of the test split over that of the training split, None where
    it is not known. `arms` are compared, on so many `seeds`, where the user says nothing else.
    `rows` is how many `things`, in words, the data hold. `notes` say what was detected and done.
    """

    # Whether a trial may take the whole machine, so that by default they run one by one.
    alone: ClassVar[bool] = False

    name: str
    title: str
    metric: Metric
    learning_rates: tuple[float, ...]
    test_ratio: float | None
    arms: str = "relu,softplus"
    seeds: int = 10
    rows: int | None = None
    things: str = "rows"
    notes: tuple[str, ...] = ()

    @property
    @abstractmethod
    def identity(self) -> dict[str, Any]:
        """What decides an outcome besides the trial, as JSON: data and code, by their hash."""

    @property
    @abstractmethod
    def training(self) -> str:
        """How it trains, in a few words: layers, epochs, optimizer."""

    @property
    def parts(self) -> dict[str, int]:
        """How many rows there are for training, validation and test, where that is known."""
        return {}

    @abstractmethod
    def run(self, trials: Sequence[Trial]) -> list[Outcome]:
        """Run trials in this process, on the threads it has; a failed one is an outcome too."""

    def remarks(self, outcomes: Mapping[str, Sequence[Outcome]]) -> tuple[str, ...]:
        """Return what the outcomes of the arms show that a reader should know."""
        del outcomes
        return ()

    def batches(self, trials: Sequence[Trial]) -> list[list[Trial]]:
        """Return the trials in the groups that are best run together."""
        return [[trial] for trial in trials]
