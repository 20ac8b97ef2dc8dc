"""The audit of a task file: its model, with weights from a checkpoint, over all of its examples."""

from pathlib import Path

import torch
from torch import Tensor

from softplus.lab import auditing, checkpoints
from softplus.lab.auditing import Audit
from softplus.lab.errors import UsageError, their_code
from softplus.lab.problems import task_file


def audit(path: Path, checkpoint: Path | None, batch_size: int) -> Audit:
    """Audit the model of a task file.

    Raises:
        UsageError: The file or the checkpoint cannot be used, or the model calls no activation.
    """
    model, examples = task_file.model_and_examples(path)
    if checkpoint:
        checkpoints.load(model, checkpoint)
    rows = torch.split(torch.arange(len(examples)), batch_size)
    inputs = (examples.batch(few)[0] for few in rows)
    called = task_file.Called(model)
    with their_code(f"model() of {path.name}, run on its data,"):
        try:
            return auditing.audit(
                model, inputs, forward=lambda m, x: (m if isinstance(x, Tensor) else called)(x)
            )
        except auditing.NothingSeenError as error:
            raise UsageError(f"{path}: {error}") from None
