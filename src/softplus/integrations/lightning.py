"""The callback for Lightning."""

from typing import Any

from softplus.integrations import AnnealingByCount

try:
    from lightning.pytorch import Callback
except ImportError:
    try:
        from pytorch_lightning import Callback
    except ImportError:
        raise ImportError(
            "softplus.integrations.lightning is for Lightning, which is not installed: "
            "pip install lightning"
        ) from None


class BetaAnnealingCallback(AnnealingByCount, Callback):
    """Anneals the Softplus modules of a LightningModule while a Trainer fits it.

    >>> import lightning
    >>> annealing = BetaAnnealingCallback(start=1, end=100)
    >>> trainer = lightning.Trainer(max_epochs=10, callbacks=[annealing], logger=False)

    A step of the annealing is one of `trainer.global_step`: a step of the optimizer, whatever the
    accumulation of gradients; several optimizers count together. A training that resumes from a
    checkpoint goes on at the beta it had. `softplus.harden` the model when the training is over.

    Args: see `softplus.integrations.AnnealingByCount`.

    Raises:
        TypeError, ValueError: As `softplus.BetaAnnealing` does, when the training starts.
    """

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        self.begin(pl_module, trainer.estimated_stepping_batches)
        self.follow(trainer.global_step)

    def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
        self.follow(trainer.global_step)
