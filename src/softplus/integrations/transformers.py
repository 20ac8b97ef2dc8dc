"""The callbacks for the Trainer of Hugging Face transformers, and names of our activations."""

from typing import Any

import torch

from softplus.integrations import ACTIVATIONS, AnnealingByCount
from softplus.lab.units.watching import DeadUnits

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


class DeadUnitsCallback(TrainerCallback):
    """Adds, to every evaluation, the shares of dead, dormant and always-on units, and of zeros.

    >>> callback = DeadUnitsCallback()

    and `Trainer(..., callbacks=[callback])`. The metrics are `eval_units_dead`,
    `eval_units_dormant`, `eval_units_always_on` and `eval_units_sparsity`; what they count is said
    by `softplus.lab.DeadUnits`, over the whole evaluation set, padding included. They are in the
    metrics that `evaluate` returns, in the log history and in what loggers get that come later.

    Raises:
        ValueError: The model is compiled, where nothing can be watched.
    """

    def __init__(self) -> None:
        super().__init__()
        self._watch: DeadUnits | None = None
        self._shares: dict[str, float] = {}

    def on_init_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:  # noqa: ARG002  # the Trainer's signature
        if args.torch_compile:
            raise ValueError("DeadUnitsCallback cannot watch a model under torch_compile=True")
        self._watch = DeadUnits(kwargs["model"])
        kwargs["model"].register_forward_pre_hook(self._enter)
        kwargs["model"].register_forward_hook(self._leave, always_call=True)

    def on_log(self, args: Any, state: Any, control: Any, logs: Any, **kwargs: Any) -> None:  # noqa: ARG002  # the Trainer's signature
        if self._watch and any(name.startswith("eval_") for name in logs):
            shares = self._watch.shares()
            self._watch.reset()
            self._shares = {f"eval_units_{name}": share for name, share in shares.items()}
            logs.update(self._shares)
            state.log_history[-1].update(self._shares)

    def on_evaluate(self, args: Any, state: Any, control: Any, metrics: Any, **kwargs: Any) -> None:  # noqa: ARG002  # the Trainer's signature
        metrics.update(self._shares)

    def _enter(self, *_: Any) -> None:
        if self._watch and not torch.is_grad_enabled():
            self._watch.__enter__()

    def _leave(self, *_: Any) -> None:
        if self._watch and not torch.is_grad_enabled():
            self._watch.__exit__(None, None, None)
