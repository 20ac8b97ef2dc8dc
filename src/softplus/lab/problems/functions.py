"""Functions in memory as a task file: trainings run in other processes, and read it there."""

import base64
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cloudpickle
from torch import nn

from softplus.lab.errors import UsageError, their_code, unknown
from softplus.lab.problems import task_options

# Whether functions and what they call have changed is not known: each file is a study of its own.
_FILE = '''"""Written by softplus.lab.compare: what softplus.lab.task was given, {number}."""

from base64 import b64decode as _decoded

import cloudpickle as _cloudpickle

globals().update(
    _cloudpickle.loads(
        _decoded(
            {pickled!r}
        )
    )
)
'''


@dataclass(frozen=True)
class Functions:
    """What a task file would define, by its names."""

    members: dict[str, Any]

    def written(self, folder: Path) -> Path:
        """Write them as a task file into a folder and return its path."""
        with their_code("pickling what softplus.lab.task was given"):
            pickled = base64.b64encode(cloudpickle.dumps(self.members))
        path = folder / "task.py"
        path.write_text(_FILE.format(pickled=pickled.decode(), number=uuid.uuid4()))
        return path


def task(model: Callable[[], Any], data: Any, **options: Any) -> Functions:
    """Return a model and data for `softplus.lab.compare`, from a notebook or any program.

    >>> import torch
    >>> from torch import nn
    >>> from softplus import lab
    >>> def model():
    ...     return nn.Sequential(nn.Linear(2, 8), nn.ReLU(), nn.Linear(8, 1))
    >>> inputs = torch.randn(200, 2)
    >>> task = lab.task(model, (inputs, inputs.prod(dim=1)), epochs=1)
    >>> study = lab.compare(task, seeds=2, learning_rates=[1e-2], jobs=1, show_progress=False)
    >>> [arm.name for arm in study.results.arms]
    ['relu', 'softplus']

    Args:
        model: A function that returns a new PyTorch model with ReLUs, its weights drawn anew.
        data: What `data()` of a task file returns, or a function that returns it.
        options: What else a task file may define: loss, metric, optimizer, epochs, batch_size,
            learning_rates, higher_is_better, margin, goal.

    Raises:
        UsageError: The model is no function, or there is no such option.
    """
    if not callable(model) or isinstance(model, nn.Module):
        raise UsageError(
            "model must be a function that returns a new model, so that each training draws its "
            f"own weights; got {type(model).__name__}"
        )
    for name in options:
        if name not in task_options.OPTIONS:
            raise unknown("option", name, task_options.OPTIONS)
    given = data if callable(data) else lambda: data
    return Functions({"model": model, "data": given, **options})
