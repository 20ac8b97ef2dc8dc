"""The callback for the Trainer of Hugging Face's transformers, and the names of our activations."""

from typing import Any

from softplus.integrations import ACTIVATIONS, AnnealingByCount

try:
    from transformers import TrainerCallback
    from transformers.activations import ACT2FN
except ImportError:
    raise ImportError(
        "softplus.integrations.transformers is for Hugging Face's transformers, which is not "
        "installed: pip install transformers accelerate"
    ) from None


def register_activations() -> None:
    """Let configurations name "softplus", "shifted_softplus" and "logsigmoid" as `hidden_act`.

    >>> from transformers import BertConfig, BertModel
    >>> register_activations()
    >>> config = BertConfig(hidden_act="softplus", hidden_size=12, num_hidden_layers=1)
    >>> BertModel(config).encoder.layer[0].intermediate.intermediate_act_fn
    Softplus(beta=1)

    They become keys of `transformers.activations.ACT2FN`, in this process: call it before a saved
    configuration with such a name is loaded. Calling it again changes nothing, and
    `del ACT2FN["softplus"]` takes a name back. A name for another beta is one line:
    `ACT2FN["softplus10"] = (Softplus, {"beta": 10})`.
    """
    ACT2FN.update(ACTIVATIONS)


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
