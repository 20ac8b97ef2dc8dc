"""The callback for the Trainer of Hugging Face's transformers."""

from typing import Any

from softplus.integrations import AnnealingByCount

try:
    from transformers import TrainerCallback
except ImportError:
    raise ImportError(
        "softplus.integrations.transformers is for Hugging Face's Trainer, which is not installed: "
        "pip install transformers accelerate"
    ) from None


class BetaAnnealingCallback(AnnealingByCount, TrainerCallback):
    """Anneals the Softplus modules of the model that a `transformers.Trainer` trains.

    >>> annealing = BetaAnnealingCallback(start=1, end=100)

    and `Trainer(..., callbacks=[annealing])`. A step of the annealing is one of
    `state.global_step`: a step of the optimizer, whatever the accumulation of gradients. A training
    that resumes from a checkpoint goes on at the beta it had. `softplus.harden` the model when the
    training is over.

    Args: see `softplus.integrations.AnnealingByCount`.

    Raises:
        TypeError, ValueError: As `softplus.BetaAnnealing` does, when the training starts.
    """

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:  # noqa: ARG002  # the Trainer's signature
        self.begin(kwargs["model"], state.max_steps)
        self.follow(state.global_step)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:  # noqa: ARG002  # the Trainer's signature
        self.follow(state.global_step)
