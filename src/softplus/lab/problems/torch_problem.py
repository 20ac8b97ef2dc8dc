"""A problem whose trials train a PyTorch model in this process: data, model, loss, score."""

import math
from abc import abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn

from softplus.lab import activations, stacking
from softplus.lab.activations import Activation
from softplus.lab.problems.adam import Adam, Optimizer
from softplus.lab.problems.problem import Problem
from softplus.lab.trials import Trial

_LOOKS = 200
# About so many steps are a training, as digits and diabetes have them.
_STEPS = 600
_MOST_EPOCHS = 100
# Up to so many rows of training, batches of so many.
_BATCHES = ((1_000, 32), (5_000, 64), (50_000, 256), (math.inf, 1_024))


class Split(NamedTuple):
    """The rows that a seed draws for training, validation and test."""

    train: Tensor
    validation: Tensor
    test: Tensor


class Examples(Protocol):
    """Rows of data as the model sees them."""

    def batch(self, rows: Tensor) -> tuple[Any, Any]:
        """Return the inputs and the targets of these rows."""


@dataclass(frozen=True, kw_only=True)
class TorchProblem(Problem):
    """Trains one model an arm, equal but for its activation.

    What a trial draws (split, weights, order of the data) follows from its seed alone.
    """

    epochs: int
    batch_size: int

    @abstractmethod
    def split(self, seed: int) -> Split:
        """Return the rows of each part."""

    @abstractmethod
    def examples(self, train: Tensor) -> Examples:
        """Return the data, prepared by what the training rows alone show."""

    @abstractmethod
    def model(self, activation: Activation) -> nn.Module:
        """Return a new model of this arm, initialised, drawn from torch's global generator."""

    def losses(self, model: nn.Module, inputs: Any, targets: Any) -> Tensor | None:
        """Return the loss of each example, None where there is only a loss of the batch.

        Leading dimensions, for many models side by side, are allowed: (..., batch).
        """

    def loss(self, model: nn.Module, inputs: Any, targets: Any) -> Tensor:
        """Return what is minimised, one number."""
        losses = self.losses(model, inputs, targets)
        if losses is None:
            raise NotImplementedError("a problem has `losses` or a `loss`")
        return losses.mean()

    @abstractmethod
    def score(self, model: nn.Module, examples: Examples, rows: Tensor) -> float:
        """Return the metric of a model on these rows."""

    @property
    def judges_outputs(self) -> bool:
        """Whether `judge` gives what `score` would."""
        return False

    def judge(self, outputs: Tensor, targets: Tensor) -> float:
        """Return the metric of outputs, where it needs no more of the model than those."""
        raise NotImplementedError

    def optimizer(self, parameters: Iterable[nn.Parameter], rate: float | None) -> Optimizer:
        """Return the optimizer of a training; a rate of None is its own."""
        return Adam(parameters, lr=1e-3 if rate is None else rate)

    @property
    def own_optimizer(self) -> bool:
        """Whether `optimizer` may return another one than Adam over all parameters alike."""
        return type(self).optimizer is not TorchProblem.optimizer

    @property
    def steps(self) -> int:
        """How many steps a training takes; the rows that fill no batch sit out an epoch."""
        return self.epochs * max(1, self.parts["train"] // self.batch_size)

    def may_stack(self, model: nn.Module) -> bool:
        """Whether networks as this one may train as one, by the rules of this problem too."""
        # Another optimizer may look at the parameters one by one.
        return not self.own_optimizer and stacking.can_stack(model)

    def batches(self, trials: Sequence[Trial]) -> list[list[Trial]]:
        """Return the trials of each arm together where their networks may train as one."""
        arms: dict[tuple[str, bool], list[Trial]] = {}
        for trial in trials:
            arms.setdefault((trial.arm, trial.measured), []).append(trial)
        batches = []
        for (arm, _), group in arms.items():
            batches += [group] if self._stacks(arm) else [[trial] for trial in group]
        return batches

    def _stacks(self, arm: str) -> bool:
        try:
            with torch.random.fork_rng(devices=[]):
                return self.may_stack(self.model(activations.parse(arm)))
        except Exception:  # noqa: BLE001  # a model that cannot be made: its trials will tell
            return False

    @property
    def look_every(self) -> int:
        """Steps between two looks at the validation split."""
        return max(5, self.steps // _LOOKS)


def usual_training(rows: int) -> tuple[int, int]:
    """Return batch size and epochs for a training on so many rows: about 600 steps.

    >>> usual_training(1_000), usual_training(50_000)
    ((32, 19), (256, 3))
    """
    batch_size = next(batch for most, batch in _BATCHES if rows <= most)
    return batch_size, min(_MOST_EPOCHS, max(2, round(_STEPS / math.ceil(rows / batch_size))))
