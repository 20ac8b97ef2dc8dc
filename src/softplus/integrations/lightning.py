"""The callbacks for Lightning."""

from typing import Any

from softplus.integrations import AnnealingByCount
from softplus.lab.units.watching import DeadUnits

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


class DeadUnitsCallback(Callback):
    """Logs, with every validation, the shares of dead, dormant and always-on units, and of zeros.

    >>> import lightning
    >>> trainer = lightning.Trainer(callbacks=[DeadUnitsCallback()], logger=False)

    The names are `units/dead`, `units/dormant`, `units/always_on` and `units/sparsity`; what they
    count is said by `softplus.lab.DeadUnits`, over the whole validation set. Where several
    processes validate, each looks at its own part, and the mean of the shares is logged.
    """

    def __init__(self) -> None:
        super().__init__()
        self._watch: DeadUnits | None = None

    def on_validation_epoch_start(self, trainer: Any, pl_module: Any) -> None:
        if not trainer.sanity_checking:
            self._watch = DeadUnits(pl_module).__enter__()

    def on_validation_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        watch, self._watch = self._watch, None
        if watch:
            watch.__exit__(None, None, None)
            shares = {f"units/{name}": share for name, share in watch.shares().items()}
            pl_module.log_dict(shares, sync_dist=trainer.world_size > 1)

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        del trainer, pl_module, exception
        watch, self._watch = self._watch, None
        if watch:
            watch.__exit__(None, None, None)
