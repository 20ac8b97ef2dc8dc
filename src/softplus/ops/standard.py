"""PyTorch's own operators as softplus: where no kernel serves a call, and in what is deployed."""

import math
from collections.abc import Callable
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
_WIDE = (torch.float32, torch.float64)


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
    return definition.as_dtype(functional.softplus(x, beta, 50.0) - shift, input.dtype)


def softplus_each(input: Tensor, beta: Tensor, threshold: float, shifted: bool) -> Tensor:
    """Return softplus with a tensor as beta, where no transform follows."""
    if not records(input, beta):
        return _each_of(input, beta, threshold, shifted)
    return _apply_each(input, beta, threshold, shifted)


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
    return definition.as_dtype(y, input.dtype)


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
    """With a = |beta·x|, dy/dbeta is -(ln(1 + e^-a) + a·sigmoid(-a)) / beta².

    That has every digit where (x·sigmoid(beta·x) - y) / beta has none (a = 17), and is 0 where x is
    infinite. Saves the input and beta and, where it can, what the gradient towards beta is made of:
    forward has it for three more passes, and backward would take as long for it as for the rest.
    """

    @staticmethod
    def forward(ctx: Any, input: Tensor, beta: Tensor, threshold: float, shifted: bool) -> Tensor:
        ctx.options = threshold, shifted
        ctx.set_materialize_grads(False)
        exact_softplus = threshold >= EXACT_THRESHOLD and not shifted
        # Of half types it would be float32. Elsewhere than on a CPU time is passes over memory, of
        # which there are ten here for F.softplus's one.
        kept = input.is_cpu and input.dtype in _WIDE and ctx.needs_input_grad[1]
        if not (exact_softplus and kept):
            ctx.save_for_backward(input, beta)
            return _each_of(input, beta, threshold, shifted)
        x, b = definition.computing(input, beta)
        u = x * b
        v = u.abs().neg_()
        sigmoid = v.sigmoid()
        product = v.clamp_min_(-_FAR).mul_(sigmoid)  # -a·sigmoid(-a)
        logarithm = sigmoid.neg_().log1p_()  # ln(1 - sigmoid(-a)) = -ln(1 + e^-a)
        ctx.save_for_backward(input, beta, product.add_(logarithm))
        return u.relu_().sub_(logarithm).div_(b)

    @staticmethod
    def backward(ctx: Any, grad: Tensor | None) -> tuple[Tensor | None, ...]:
        if grad is None:
            return (None,) * 4
        of_input, of_beta, *kept = ctx.saved_tensors
        to_beta: Tensor | None = None
        if torch.is_grad_enabled():
            to_input, each = composed.backward_each(grad, of_input, of_beta, *ctx.options)
            to_beta = each.sum_to_size(of_beta.shape)
        else:
            x, b = definition.computing(of_input, of_beta)
            u, g = x * b, definition.as_dtype(grad, x.dtype)
            if ctx.needs_input_grad[1]:
                each = g * (kept[0] if kept else _towards_beta(u, *ctx.options))
                # Divided after the sum: of one beta that is a number.
                to_beta = each.sum_to_size(of_beta.shape).div_(b).div_(b)
            threshold = exact(ctx.options[0])
            # A batch, of is_grads_batched=True, cannot be written over u.
            in_place = kept and is_dense(g)
            to_input = u.sigmoid_().mul_(g) if in_place else _backward(g, u, 1.0, threshold)
        if to_beta is not None:
            to_beta = definition.as_dtype(to_beta, of_beta.dtype)
        to_input = to_input.sum_to_size(of_input.shape)
        return definition.as_dtype(to_input, of_input.dtype), to_beta, None, None


# By what is below Function's own `apply`, as in ops/gradients.py.
_apply_each: Callable[..., Tensor] = super(Function, _Each).apply


def _towards_beta(u: Tensor, threshold: float, shifted: bool) -> Tensor:
    """Return beta²·dy/dbeta, as `composed.backward_each`, in fewer passes."""
    a = u.abs().clamp_max_(_FAR)
    # ln(1 + e^-a) and a·sigmoid(-a), each by an operator of softplus with a beta of -1.
    derivative = functional.softplus(a, -1.0, 50.0).sub_(_backward(a, a, -1.0, 50.0))
    if shifted:
        derivative.add_(_LN2)
    if threshold < EXACT_THRESHOLD:
        derivative.masked_fill_(u > threshold, 0)
    return derivative
