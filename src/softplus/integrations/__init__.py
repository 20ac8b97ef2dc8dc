"""Callbacks and names for other people's libraries; each module needs the one it is named after."""

from collections.abc import Sequence

from torch import nn

from softplus.annealing import BetaAnnealing
from softplus.modules import LogSigmoid, ShiftedSoftplus, Softplus

# The names by which a library that makes activations from names gets to know ours.
ACTIVATIONS: dict[str, type[nn.Module]] = {
    "softplus": Softplus,
    "shifted_softplus": ShiftedSoftplus,
    "logsigmoid": LogSigmoid,
}


class AnnealingByCount:
    """Anneals beta by a trainer's own count of optimizer steps, which its checkpoints restore.

    >>> counted = AnnealingByCount(start=1, end=16)
    >>> model = nn.Softplus()
    >>> counted.begin(model, total=4)
    >>> counted.follow(3)
    >>> model.beta
    8.0

    The callbacks inherit it; their arguments are these.

    Args:
        start: As in `softplus.BetaAnnealing`.
        end: As there; beta keeps it once it is reached.
        steps: Optimizer steps from start to end; None takes all of the training's.
        schedule: As there.
        exclude: As there.
    """

    def __init__(
        self,
        start: float,
        end: float,
        steps: int | None = None,
        schedule: str = "geometric",
        *,
        exclude: str | Sequence[str] = (),
    ) -> None:
        super().__init__()
        self.start, self.end, self.steps = start, end, steps
        self.schedule, self.exclude = schedule, exclude
        self.annealing: BetaAnnealing | None = None

    def begin(self, model: nn.Module, total: float) -> None:
        """Start on the model that a training of `total` optimizer steps trains.

        Raises:
            TypeError, ValueError: As `softplus.BetaAnnealing` does; ValueError without `steps`
                where the training has no known end.
        """
        if self.steps is None and not 0 < total < float("inf"):
            raise ValueError(
                f"steps=None takes all steps of the training, and the trainer plans {total}: give "
                "steps, or give the trainer a number of steps"
            )
        steps = int(total) if self.steps is None else self.steps
        self.annealing = BetaAnnealing(
            model, self.start, self.end, steps, self.schedule, exclude=self.exclude
        )

    def follow(self, taken: int) -> None:
        """Catch up with the number of optimizer steps that the trainer has made."""
        annealing = self.annealing
        while annealing and annealing.taken < taken and not annealing.finished:
            annealing.step()
