"""References at 60 digits for Softplus and its relatives, and the distance to them in ULP.

Every argument is the exact value that a tensor stores; nothing here is computed by torch.
"""

import functools
from collections.abc import Iterable

import torch
from mpmath import mpf
from mpmath.ctx_mp import MPContext
from torch import Tensor

ctx = MPContext()
ctx.dps = 60
LN2 = ctx.ln2


def softplus(x: float, beta: float = 1.0) -> mpf:
    """Return ln(1 + e^(beta·x)) / beta."""
    u = ctx.mpf(x) * ctx.mpf(beta)
    return (ctx.ldexp(u + abs(u), -1) + ctx.log1p(ctx.exp(-abs(u)))) / ctx.mpf(beta)


def sigmoid_and_tail(x: float, beta: float = 1.0) -> tuple[mpf, mpf]:
    """Return sigmoid(beta·x) and 1 - sigmoid(beta·x), both to full relative accuracy."""
    u = ctx.mpf(x) * ctx.mpf(beta)
    tail = ctx.exp(-abs(u)) / (1 + ctx.exp(-abs(u)))
    return (1 - tail, tail) if u >= 0 else (tail, 1 - tail)


@functools.cache
def derivatives(x: float, beta: float = 1.0) -> tuple[mpf, mpf, mpf, mpf]:
    """Return Softplus and its first, second and third derivative with respect to x."""
    s, tail = sigmoid_and_tail(x, beta)
    b = ctx.mpf(beta)
    odd = -ctx.tanh(ctx.mpf(x) * b / 2)
    return softplus(x, beta), s, b * s * tail, b * b * s * tail * odd


def beta_derivatives(x: float, beta: float = 1.0) -> tuple[mpf, mpf, mpf]:
    """Return dy/dbeta, d²y/dbeta dx and d²y/dbeta² of y = softplus(x, beta)."""
    s, tail = sigmoid_and_tail(x, beta)
    b = ctx.mpf(beta)
    u = ctx.mpf(x) * b
    t = ctx.exp(-abs(u))
    entropy = ctx.log1p(t) + abs(u) * t / (1 + t)
    return -entropy / b**2, ctx.mpf(x) * s * tail, (2 * entropy + u**2 * s * tail) / b**3


def inverse_softplus(y: float, beta: float = 1.0) -> mpf:
    """Return the x with softplus(x, beta) = y."""
    v = ctx.mpf(y) * ctx.mpf(beta)
    return (v + ctx.log(-ctx.expm1(-v))) / ctx.mpf(beta)


def shifted_softplus(x: float, beta: float = 1.0) -> mpf:
    """Return softplus(x, beta) - ln2/beta."""
    u = ctx.mpf(x) * ctx.mpf(beta)
    near = ctx.log1p(ctx.expm1(u) / 2) / ctx.mpf(beta)
    return near if abs(u) < 1 else softplus(x, beta) - LN2 / ctx.mpf(beta)


def ulp(value: mpf, dtype: torch.dtype) -> mpf:
    """Return the distance between neighbours of `dtype` at this magnitude."""
    limits = torch.finfo(dtype)
    exponent = max(ctx.frexp(abs(value))[1] - 1 if value else -100_000, _exponent(limits.tiny))
    return ctx.ldexp(1, exponent + _exponent(limits.eps))


def ulp_errors(result: Tensor, exact: Iterable[mpf]) -> list[float]:
    """Return how far each element lies from its exact value, in ULP of the exact value.

    An infinite element is right (0) where the exact value rounds to it, and inf ULP away
    otherwise, as NaN is.
    """
    limits = torch.finfo(result.dtype)
    return [
        _ulp_error(value, wanted, result.dtype, limits.max)
        for value, wanted in zip(result.detach().double().flatten().tolist(), exact, strict=True)
    ]


def _ulp_error(value: float, wanted: mpf, dtype: torch.dtype, largest: float) -> float:
    unit = ulp(wanted, dtype)
    overflows = abs(wanted) >= largest + ulp(ctx.mpf(largest), dtype) / 2
    if overflows or not ctx.isfinite(value):
        return 0.0 if overflows and value == (1 if wanted > 0 else -1) * float("inf") else ctx.inf
    return float(abs(ctx.mpf(value) - wanted) / unit)


def _exponent(power_of_two: float) -> int:
    return int(ctx.frexp(power_of_two)[1]) - 1


def same(a: torch.Tensor, b: torch.Tensor) -> bool:
    """Whether two results agree to their last digits: kernel and definition round differently."""
    limits = torch.finfo(b.dtype)
    close = torch.allclose(
        a.double(), b.double(), rtol=8 * limits.eps, atol=2 * limits.tiny, equal_nan=True
    )
    return a.dtype == b.dtype and close


def same_bits(a: Tensor, b: Tensor) -> bool:
    """Whether two tensors hold the same bits, so that -0 is not 0; one NaN is like another."""
    kind = {2: torch.int16, 4: torch.int32, 8: torch.int64}[a.element_size()]
    a, b = (x.detach().contiguous().where(~x.detach().isnan(), float("nan")) for x in (a, b))
    return a.dtype == b.dtype and torch.equal(a.view(kind), b.view(kind))
