"""The operators composed of PyTorch's own: what transforms and third derivatives go through."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from softplus.ops import definition
from softplus.ops.definition import EXACT_THRESHOLD

_LN2 = math.log(2)


def exact(threshold: float) -> float:
    """Return the threshold with which PyTorch's softplus is meant: from 20 on the exact function.

    Above 50 x and softplus(x) are the same number in every dtype, and e^50 overflows in none of
    those that PyTorch computes in: with this threshold its operator is exact.
    """
    return 50.0 if threshold >= EXACT_THRESHOLD else threshold


def _forward(input: Tensor, beta: float | Tensor, threshold: float) -> Tensor:
    if isinstance(beta, Tensor):
        return definition.softplus(input, beta, threshold)
    return functional.softplus(input, beta, exact(threshold))


def _double_backward(
    grad_grad: Tensor, grad: Tensor, saved: Tensor, *options: Any
) -> tuple[Tensor, Tensor]:
    beta, threshold, of_output, to_input = options
    u = definition.computing(saved, beta)[0] * beta
    slope = -torch.expm1(-u) if of_output else torch.sigmoid(u)
    curvature = beta * (torch.exp(-u) if of_output else slope * torch.sigmoid(-u))
    if of_output and to_input:
        curvature = curvature * slope
    if threshold < EXACT_THRESHOLD:
        slope = torch.where(u > threshold, 1.0, slope)
        curvature = torch.where(u > threshold, 0.0, curvature)
    # No two gradients are multiplied first: in float16 their product may overflow.
    to_grad, second = grad_grad * slope, grad_grad * curvature * grad
    return to_grad.to(saved.dtype), second.to(saved.dtype)


def _forward_each(input: Tensor, beta: Tensor, threshold: float, shifted: bool) -> Tensor:
    if shifted:
        return definition.shifted_softplus(input, beta)
    return definition.softplus(input, beta, threshold)


def backward_each(
    grad: Tensor, input: Tensor, beta: Tensor, threshold: float, shifted: bool
) -> tuple[Tensor, Tensor]:
    """Return the gradients of softplus towards an input and a beta that broadcast."""
    u, b = _exponent(input, beta)
    to_input, to_beta = torch.sigmoid(u), -_bracket(u, shifted) / (b * b)
    if threshold < EXACT_THRESHOLD:
        reverted = u > threshold
        to_input = torch.where(reverted, 1.0, to_input)
        to_beta = torch.where(reverted, 0.0, to_beta)
    return (grad * to_input).to(input.dtype), (grad * to_beta).to(beta.dtype)


def _double_backward_each(
    grad_to_input: Tensor,
    grad_to_beta: Tensor,
    grad: Tensor,
    input: Tensor,
    beta: Tensor,
    *options: Any,
) -> tuple[Tensor, Tensor, Tensor]:
    threshold, shifted = options
    u, b = _exponent(input, beta)
    slope = torch.sigmoid(u)
    curvature, bracket = slope * torch.sigmoid(-u), _bracket(u, shifted)
    of_both = u * curvature / b  # the derivative by input and beta
    twice_beta = (2 * bracket + u * u * curvature) / (b * b * b)
    of_grad = grad_to_input * slope - grad_to_beta * (bracket / (b * b))
    of_input = grad_to_input * (b * curvature) + grad_to_beta * of_both
    of_beta = grad_to_input * of_both + grad_to_beta * twice_beta
    if threshold < EXACT_THRESHOLD:
        reverted = u > threshold
        of_grad = torch.where(reverted, grad_to_input, of_grad)
        of_input = torch.where(reverted, 0.0, of_input)
        of_beta = torch.where(reverted, 0.0, of_beta)
    dtype = input.dtype
    return of_grad.to(dtype), (of_input * grad).to(dtype), (of_beta * grad).to(beta.dtype)


def _exponent(input: Tensor, beta: Tensor) -> tuple[Tensor, Tensor]:
    """Return beta·x, and beta, in float64; beyond 800 it is cut off, and its gradient is 0."""
    b = beta.to(torch.float64)
    u = definition.scaled(input.to(torch.float64), b)
    return torch.where(u < -800, -800.0, torch.where(u > 800, 800.0, u)), b


def _bracket(u: Tensor, shifted: bool) -> Tensor:
    """Return ln(1 + t) + |u|·t / (1 + t), t = e^-|u|, of which every derivative at 0 is right."""
    v = torch.where(u < 0, u, -u)
    bracket = functional.softplus(v, 1.0, 50.0) - v * torch.sigmoid(v)
    return bracket - _LN2 if shifted else bracket


COMPOSED: dict[str, Callable[..., Any]] = {
    "forward": _forward,
    "forward_at": _forward,
    "backward": definition.backward,
    "backward_at": definition.backward,
    "double_backward": _double_backward,
    "double_backward_at": lambda *arguments: _double_backward(*arguments, False),
    "shifted": definition.shifted_softplus,
    "inverse": definition.inverse_softplus,
    "forward_each": _forward_each,
    "backward_each": backward_each,
    "double_backward_each": _double_backward_each,
}
