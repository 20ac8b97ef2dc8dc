"""The operators composed of PyTorch's own: what transforms and third derivatives go through."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from softplus.ops import definition
from softplus.ops.definition import EXACT_THRESHOLD


def exact(threshold: float) -> float:
    """Return the threshold with which PyTorch's softplus is meant: from 20 on the exact function.

    Above 50 x and softplus(x) are the same number in every dtype, and e^50 overflows in none of
    those that PyTorch computes in: with this threshold its operator is exact.
    """
    return 50.0 if threshold >= EXACT_THRESHOLD else threshold


def forward(input: Tensor, beta: float | Tensor, threshold: float) -> Tensor:
    if isinstance(beta, Tensor):
        return definition.softplus(input, beta, threshold)
    return functional.softplus(input, beta, exact(threshold))


def double_backward(
    grad_grad: Tensor, grad: Tensor, saved: Tensor, *options: Any
) -> tuple[Tensor, Tensor]:
    *options_of_backward, to_input = options

    def backward(grad: Tensor, saved: Tensor) -> Tensor:
        return definition.backward(grad, saved, *options_of_backward)

    to_grad: Tensor
    to_grad, second = torch.func.vjp(backward, grad, saved)[1](grad_grad)
    of_output = options_of_backward[-1]
    return to_grad, backward(second, saved) if of_output and to_input else second


def forward_each(input: Tensor, beta: Tensor, threshold: float, shifted: bool) -> Tensor:
    if shifted:
        return definition.shifted_softplus(input, beta)
    return definition.softplus(input, beta, threshold)


def backward_each(
    grad: Tensor, input: Tensor, beta: Tensor, threshold: float, shifted: bool
) -> tuple[Tensor, Tensor]:
    gradients: tuple[Tensor, Tensor] = torch.func.vjp(
        lambda x, beta: forward_each(x, beta, threshold, shifted), input, beta
    )[1](grad)
    return gradients


def double_backward_each(
    grad_to_input: Tensor,
    grad_to_beta: Tensor,
    grad: Tensor,
    input: Tensor,
    beta: Tensor,
    threshold: float,
    shifted: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    gradients: tuple[Tensor, Tensor, Tensor] = torch.func.vjp(
        lambda *tensors: backward_each(*tensors, threshold, shifted), grad, input, beta
    )[1]((grad_to_input, grad_to_beta))
    return gradients


COMPOSED: dict[str, Callable[..., Any]] = {
    "forward": forward,
    "forward_at": forward,
    "backward": definition.backward,
    "backward_at": definition.backward,
    "double_backward": double_backward,
    "shifted": definition.shifted_softplus,
    "inverse": definition.inverse_softplus,
    "forward_each": forward_each,
    "backward_each": backward_each,
    "double_backward_each": double_backward_each,
}
