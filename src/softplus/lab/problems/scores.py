"""Losses, a figure a row with leading dimensions allowed, and metrics, one number."""

import torch
from torch import Tensor, nn


def cross_entropies(outputs: Tensor, targets: Tensor, weights: Tensor | None = None) -> Tensor:
    """Return the cross-entropy, in nats, of each row of logits, classes weighted."""
    rows = outputs.flatten(0, -2)
    losses = nn.functional.cross_entropy(rows, targets.flatten(), weights, reduction="none")
    return losses.view(targets.shape)


def squared_errors(outputs: Tensor, targets: Tensor, unit: float = 1.0) -> Tensor:
    """Return the squared error of each row of one output, in units of `unit` squared."""
    return ((outputs.squeeze(-1) - targets) / unit) ** 2


def gaussian_nll(outputs: Tensor, targets: Tensor) -> Tensor:
    """Return the negative log-likelihood, in nats, of each target under its N(mean, scale²)."""
    mean, scale = outputs.unbind(dim=-1)
    losses: Tensor = nn.functional.gaussian_nll_loss(
        mean, targets, scale**2, full=True, reduction="none"
    )
    return losses


def mean_gaussian_nll(outputs: Tensor, targets: Tensor) -> float:
    """Return the mean negative log-likelihood, in nats."""
    return float(gaussian_nll(outputs.double(), targets.double()).mean())


def accuracy(outputs: Tensor, targets: Tensor) -> float:
    """Return the share of rows whose class is found, in %."""
    return float((outputs.argmax(dim=1) == targets).double().mean() * 100)


def balanced_accuracy(outputs: Tensor, targets: Tensor) -> float:
    """Return the mean over the classes of the share that is found, in %."""
    right = (outputs.argmax(dim=1) == targets).double()
    shares = [right[targets == each].mean() for each in torch.unique(targets)]
    return float(torch.stack(shares).mean() * 100)


def root_mean_square(outputs: Tensor, targets: Tensor) -> float:
    """Return the root of the mean squared error, in the target's unit."""
    errors = outputs.squeeze(-1).double() - targets.double()
    return float(errors.square().mean().sqrt())
