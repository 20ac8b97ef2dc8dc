"""Adam by PyTorch's fused kernel, without the two seconds that `torch.optim` takes to import.

The first step of any optimizer there imports `torch._dynamo`: in each process of a study.
"""

from collections.abc import Iterable
from typing import Protocol

import torch
from torch import Tensor, nn


class Optimizer(Protocol):
    """What a training asks of an optimizer; those of `torch.optim` have it."""

    def step(self) -> object:
        """Change the parameters by their gradients."""

    def zero_grad(self) -> None:
        """Forget the gradients."""


class Adam:
    """`torch.optim.Adam(parameters, lr, fused=True)`, to the bit (Kingma and Ba, 2015)."""

    def __init__(self, parameters: Iterable[nn.Parameter], lr: float) -> None:
        self._parameters = [p for p in parameters if p.requires_grad]
        self._lr = lr
        self._means = [torch.zeros_like(p) for p in self._parameters]
        self._squares = [torch.zeros_like(p) for p in self._parameters]
        self._steps = [torch.zeros((), device=p.device) for p in self._parameters]

    @torch.no_grad()
    def step(self) -> None:
        """Change the parameters by their gradients."""
        state = zip(self._parameters, self._means, self._squares, self._steps, strict=True)
        used = [each for each in state if each[0].grad is not None]
        if not used:
            return
        parameters, means, squares, steps = (list(column) for column in zip(*used, strict=True))
        gradients: list[Tensor] = [p.grad for p in parameters if p.grad is not None]
        for step in steps:
            step.add_(1)
        torch._fused_adam_(
            parameters,
            gradients,
            means,
            squares,
            [],
            steps,
            lr=self._lr,
            beta1=0.9,
            beta2=0.999,
            weight_decay=0.0,
            eps=1e-8,
            amsgrad=False,
            maximize=False,
        )

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for parameter in self._parameters:
            parameter.grad = None
