"""A model with every module of the package, and its gradients."""

import torch
from torch import Tensor, nn

from softplus import LogSigmoid, ShiftedSoftplus, Softplus


def model() -> nn.Module:
    """Return a model with every module of the package, the same on every call."""
    torch.manual_seed(0)
    activations = [
        Softplus(2),
        Softplus(3, inplace=True),
        Softplus(2, learnable=True),
        Softplus(2, 5),
        ShiftedSoftplus(),
        LogSigmoid(),
    ]
    layers = [layer for activation in activations for layer in (nn.Linear(4, 4), activation)]
    return nn.Sequential(*layers, nn.Linear(4, 1))


def gradients(module: nn.Module, x: Tensor) -> list[Tensor]:
    """Return the gradients in every parameter of the sum of squares of the outputs."""
    return torch.autograd.grad(module(x).square().sum(), list(module.parameters()))
