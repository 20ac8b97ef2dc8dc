"""What a task file may say beside model() and data(): loss, metric, optimizer, rates, sizes."""

import inspect
import re
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from softplus.lab.errors import UsageError, their_code
from softplus.lab.problems import scores
from softplus.lab.problems.problem import Metric

# What a task file may define beside model() and data().
OPTIONS = (
    "loss",
    "metric",
    "optimizer",
    "epochs",
    "batch_size",
    "learning_rates",
    "higher_is_better",
    "margin",
    "goal",
)
_GRID = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2)
# Of SGD, whose rates are larger than Adam's.
_SGD_GRID = (1e-3, 3e-3, 1e-2, 3e-2, 1e-1)
# Words in the name of a metric that say which way is better.
_BETTER_LOW = {"loss", "error", "mse", "rmse", "mae", "nll", "perplexity", "distance", "deviance"}
_BETTER_HIGH = {"accuracy", "acc", "auc", "f1", "r2", "score", "precision", "recall", "iou", "dice"}
_RMSE = "root mean square error"


def positive(task: ModuleType, name: str) -> int:
    """Return an option that is a positive whole number."""
    value = getattr(task, name)
    if not isinstance(value, int) or value < 1:
        raise UsageError(f"{name} of the task file must be a whole number from 1, got {value!r}")
    return value


def rates(task: ModuleType, path: Path) -> tuple[float, ...]:
    """Return the learning rates to choose from: none where the optimizer has its own."""
    optimizer = getattr(task, "optimizer", None)
    if optimizer is not None and "lr" not in inspect.signature(optimizer).parameters:
        return ()
    own = getattr(task, "learning_rates", None)
    if own is None:
        return _SGD_GRID if _is_sgd(optimizer) else _GRID
    try:
        return tuple(float(rate) for rate in own)
    except (TypeError, ValueError):
        raise UsageError(
            f"learning_rates of {path.name} must be a sequence of numbers, got {own!r}"
        ) from None


def _is_sgd(optimizer: Any) -> bool:
    if optimizer is None:
        return False
    with their_code("optimizer of the task file"):
        return isinstance(optimizer([nn.Parameter(torch.zeros(1))], lr=0.1), torch.optim.SGD)


def judged_by(task: ModuleType, path: Path, outputs: Any, targets: Any) -> Metric:
    """Return what the task is judged by: its own metric, or accuracy, or its loss.

    Args:
        task: The file as a module.
        path: Its path, for messages.
        outputs: What the model makes of some examples.
        targets: The targets of these.
    """
    margin, goal = getattr(task, "margin", None), getattr(task, "goal", None)
    own = getattr(task, "metric", None)
    if own is None:
        columns = outputs.shape[1] if isinstance(outputs, Tensor) and outputs.dim() == 2 else 0
        if are_classes(targets) and columns == 1 and not hasattr(task, "loss"):
            raise UsageError(
                f"the targets of {path.name} are whole numbers, which are classes unless a loss "
                "says otherwise, and the model has one output: return fractions from data(), or "
                "define loss"
            )
        if are_classes(targets) and columns > 1:
            return Metric("accuracy", "%", True, 1.0 if margin is None else margin, goal)
        name = "loss" if hasattr(task, "loss") else _RMSE
        return Metric(name, "", False, margin, goal)
    name = getattr(own, "__name__", type(own).__name__)
    higher = getattr(task, "higher_is_better", None)
    if higher is None:
        words = set(re.split(r"[^a-z0-9]+", re.sub(r"([A-Z])", r"_\1", name).lower()))
        if not words & (_BETTER_LOW | _BETTER_HIGH):
            raise UsageError(
                f"{path.name} must say whether a higher {name} is better: "
                "higher_is_better = True or False"
            )
        higher = not words & _BETTER_LOW
    return Metric(name.replace("_", " "), "", bool(higher), margin, goal)


def metric(task: ModuleType, name: str) -> Callable[..., Any]:
    """Return the function that computes the metric of this name."""
    usual: dict[str, Callable[..., Any]] = {
        "accuracy": scores.accuracy,
        _RMSE: scores.root_mean_square,
    }
    own: Callable[..., Any] | None = getattr(task, "metric", None)
    return own or usual.get(name) or task.loss


def are_classes(targets: Any) -> bool:
    """Whether a batch of targets is numbers of classes."""
    return isinstance(targets, Tensor) and targets.dim() == 1 and not targets.is_floating_point()


def takes_the_model(function: Any) -> bool:
    """Whether a loss or a metric takes (model, inputs, targets), not (outputs, targets)."""
    if function is None or isinstance(function, nn.Module):
        return False
    parameters = inspect.signature(function).parameters.values()
    return sum(parameter.default is parameter.empty for parameter in parameters) == 3


def usual_loss(outputs: Tensor, targets: Tensor) -> Tensor:
    """Return the cross-entropy of classes, or the mean squared error of numbers."""
    if are_classes(targets):
        return nn.functional.cross_entropy(outputs, targets)
    return nn.functional.mse_loss(_like(outputs, targets), targets)


def usual_losses(outputs: Tensor, targets: Tensor, leading: int) -> Tensor | None:
    """Return the usual loss of each example, over as many dimensions as `leading` says.

    None for classes of several places an example, as in a segmentation.
    """
    if targets.is_floating_point():
        squares = (_like(outputs, targets) - targets).square()
        return squares.flatten(leading).mean(dim=-1) if squares.dim() > leading else squares
    if targets.dim() > leading:
        return None
    flat = nn.functional.cross_entropy(
        outputs.flatten(0, leading - 1), targets.flatten(), reduction="none"
    )
    return flat.view(targets.shape)


def _like(outputs: Tensor, targets: Tensor) -> Tensor:
    """Return the outputs in the shape of the targets: (n, 1) would spread over (n,)."""
    if outputs.shape != targets.shape:
        outputs = outputs.squeeze(-1)
    if outputs.shape != targets.shape:
        raise UsageError(
            f"the model's outputs have shape {tuple(outputs.shape)} and the targets "
            f"{tuple(targets.shape)}: define a loss in the task file"
        )
    return outputs
