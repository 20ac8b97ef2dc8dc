"""PyTorch's own operators as softplus: where no kernel serves a call, and in what is deployed."""

import math
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.nn import functional

from softplus.ops import composed, definition
from softplus.ops.composed import exact
from softplus.ops.definition import EXACT_THRESHOLD
from softplus.ops.plain import is_dense, is_eager, records, under_autocast

_LN2 = math.log(2)
_backward = torch.ops.aten.softplus_backward.default
# Beyond, e^-|u| is 0 in every dtype; here |u| times it is a product of numbers, not inf times 0.
_FAR = 800.0


def softplus(input: Tensor, beta: float, threshold: float) -> Tensor:
    """Return softplus at PyTorch's price, to any order and in any transform."""
    followed = input.dtype == torch.float16 and records(input)
    if followed and is_eager() and is_dense(input) and not under_autocast(input):
        result: Tensor = _OfFloat16.apply(input, beta, exact(threshold))  # type: ignore[no-untyped-call]
        return result
    return functional.softplus(input, beta, exact(threshold))


def deployed(input: Tensor, beta: float | Tensor, threshold: float) -> Tensor:
    """Return softplus by PyTorch's operator alone: a deployed model does not need this package.

    In float32 for half types, for ONNX rounds after every step: to 1.3 ULP in place of 0.5.
    """
    x, beta = definition.computing(input, beta)
    threshold = exact(threshold)
    if isinstance(beta, Tensor):
        u = x * beta
        y = torch.where(u > threshold, x, functional.softplus(u, 1.0, threshold) / beta)
    else:
        y = functional.softplus(x, beta, threshold)
    return y.to(input.dtype)


def shifted_softplus(input: Tensor, beta: float, shift: float | None) -> Tensor:
    """Return softplus minus a shift; without one, of a tensor that no transform follows."""
    if shift is None:
        if not records(input):
            return _shifted_of(input, beta)
        result: Tensor = _Shifted.apply(input, beta)  # type: ignore[no-untyped-call]
        return result
    x, _ = definition.computing(input, beta)
    return (functional.softplus(x, beta, 50.0) - shift).to(input.dtype)


def softplus_each(input: Tensor, beta: Tensor, threshold: float, shifted: bool) -> Tensor:
    """Return softplus with a tensor as beta, where no transform follows."""
    if not records(input, beta):
        return _each_of(input, beta, threshold, shifted)
    result: Tensor = _Each.apply(input, beta, threshold, shifted)  # type: ignore[no-untyped-call]
    return result


def _shifted_of(input: Tensor, beta: float) -> Tensor:
    x, _ = definition.computing(input, beta)
    y = _shifted(x) if beta == 1 else _shifted(x * beta).div_(beta)
    return y.to(input.dtype)


def _each_of(input: Tensor, beta: Tensor, threshold: float, shifted: bool) -> Tensor:
    x, b = definition.computing(input, beta)
    u = x * b
    y = (_shifted(u) if shifted else functional.softplus(u, 1.0, exact(threshold))).div_(b)
    if threshold < EXACT_THRESHOLD:
        y = torch.where(u > threshold, x, y)
    return y.to(input.dtype)


def _backward_of(grad: Tensor, input: Tensor, beta: float, threshold: float) -> Tensor:
    """Return grad·sigmoid(beta·x), whose derivative in float16 is computed in float32.

    PyTorch's own multiplies the two gradients first: at 0.7, with 300 each, that is inf, and not
    19,952.8.
    """
    if input.dtype == torch.float16 and torch.is_grad_enabled():
        return definition.backward(grad, input, beta, threshold)
    result: Tensor = _backward(grad, input, beta, threshold)
    return result


def _shifted(u: Tensor) -> Tensor:
    """Return softplus(u) - ln2, exact at 0, as max(u, 0) + ln(1 + (e^-|u| - 1) / 2)."""
    below = functional.elu_(u.abs().neg_(), 0.5).log1p_()
    return below.add_(u.clamp_min(0))


class _OfFloat16(Function):
    """Saves the input. Its second derivative is computed in float32."""

    @staticmethod
    def forward(ctx: Any, input: Tensor, beta: float, threshold: float) -> Tensor:
        ctx.save_for_backward(input)
        ctx.options = beta, threshold
        ctx.set_materialize_grads(False)
        return functional.softplus(input, beta, threshold)

    @staticmethod
    def backward(ctx: Any, grad: Tensor | None) -> tuple[Tensor | None, ...]:
        if grad is None:
            return (None,) * 3
        return _backward_of(grad, ctx.saved_tensors[0], *ctx.options), None, None


class _Shifted(Function):
    """Saves the input. With exponentials and logarithms in two passes, as F.softplus(x) - log(2).

    At 65,536 elements it takes 1.4 times that, and the definition 50 times.
    """

    @staticmethod
    def forward(ctx: Any, input: Tensor, beta: float) -> Tensor:
        ctx.save_for_backward(input)
        ctx.beta = beta
        ctx.set_materialize_grads(False)
        return _shifted_of(input, beta)

    @staticmethod
    def backward(ctx: Any, grad: Tensor | None) -> tuple[Tensor | None, None]:
        if grad is None:
            return None, None
        return _backward_of(grad, ctx.saved_tensors[0], ctx.beta, 50.0), None


class _Each(Function):
    """Saves the input and beta.

    With a = |beta·x|, dy/dbeta is -(ln(1 + e^-a) + a·sigmoid(-a)) / beta², which has every digit
    where (x·sigmoid(beta·x) - y) / beta has none (a = 17), and is 0 where x is infinite.
    """

    @staticmethod
    def forward(ctx: Any, input: Tensor, beta: Tensor, threshold: float, shifted: bool) -> Tensor:
        ctx.save_for_backward(input, beta)
        ctx.options = threshold, shifted
        ctx.set_materialize_grads(False)
        return _each_of(input, beta, threshold, shifted)

    @staticmethod
    def backward(ctx: Any, grad: Tensor | None) -> tuple[Tensor | None, ...]:
        if grad is None:
            return (None,) * 4
        of_input, of_beta = ctx.saved_tensors
        to_beta: Tensor | None = None
        if torch.is_grad_enabled():
            to_input, of_each = composed.backward_each(grad, of_input, of_beta, *ctx.options)
            to_beta = of_each.sum_to_size(of_beta.shape).to(of_beta.dtype)
        else:
            x, b = definition.computing(of_input, of_beta)
            u, g = x * b, grad.to(x.dtype)
            to_input = _backward(g, u, 1.0, exact(ctx.options[0]))
            if ctx.needs_input_grad[1]:
                # Divided after the sum: for one beta that is one division.
                total = _bracket_(u, *ctx.options).mul_(g).sum_to_size(of_beta.shape)
                to_beta = (total / (-b * b)).to(of_beta.dtype)
        return to_input.sum_to_size(of_input.shape).to(of_input.dtype), to_beta, None, None


def _bracket_(u: Tensor, threshold: float, shifted: bool) -> Tensor:
    """Return -beta²·dy/dbeta, as `composed.backward_each`, in fewer passes; u is overwritten."""
    reverted = u > threshold if threshold < EXACT_THRESHOLD else None
    a = u.abs_().clamp_max_(_FAR)
    # a·sigmoid(-a) + ln(1 + e^-a), each by an operator of softplus with a beta of -1.
    bracket: Tensor = _backward(a, a, -1.0, 50.0).sub_(functional.softplus(a, -1.0, 50.0))
    if shifted:
        bracket.sub_(_LN2)
    if reverted is not None:
        bracket.masked_fill_(reverted, 0)
    return bracket
