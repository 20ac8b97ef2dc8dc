"""Inputs, what is exact for them in float64, and errors in ULP.

For float32 and below, by formulas that cancel nowhere; float64 has its own at 60 digits, in
`references`.
"""

import functools

import torch
from torch import Tensor


def patterns(step: int, start: int = 0, stop: int = 2**32) -> Tensor:
    """Return the finite float32 numbers at every `step`-th bit pattern."""
    pattern = torch.arange(start, stop, step)
    x = torch.where(pattern < 2**31, pattern, pattern - 2**32).int().view(torch.float32)
    return x[x.isfinite()]


def all_halves(dtype: torch.dtype) -> Tensor:
    """Return all 65,536 numbers of a half type."""
    return torch.arange(-(2**15), 2**15).to(torch.int16).view(dtype)


def exact(x: Tensor, beta: float = 1.0) -> tuple[Tensor, Tensor, Tensor]:
    """Return Softplus and its first two derivatives in float64, for inputs of fewer digits."""
    x = x.double()
    u = x * beta
    t = torch.exp(-u.abs())
    y = torch.where(u > 0, x, 0.0) + torch.log1p(t) / beta
    s = torch.where(u > 0, 1.0, t) / (1 + t)
    return y, s, beta * t / (1 + t) ** 2


def units(wanted: Tensor, dtype: torch.dtype) -> Tensor:
    """Return the ULP of `dtype` at each float64 number."""
    powers = (wanted.view(torch.int64) & 0x7FF0000000000000).view(torch.float64)
    limits = torch.finfo(dtype)
    return powers.clamp_min(limits.tiny) * limits.eps


def worst(result: Tensor, wanted: Tensor, *, flushed: bool = True) -> float:
    """Return the largest error in ULP; where results are flushed, 0 is right below 2^-126.

    Next to 2^-126 itself both 0 and that number are right for what rounds to it.
    """
    errors = (result.detach().double() - wanted).abs() / units(wanted, result.dtype)
    if flushed and result.dtype != torch.float16:
        below = wanted.abs() < torch.finfo(result.dtype).tiny * (1 + 1e-6)
        errors = torch.where(below & (result == 0), 0.0, errors)
    return errors.max().item()


def subnormal(x: Tensor) -> Tensor:
    """Return where x is subnormal: neither 0 nor 2^-126 or more (2^-1022 in float64)."""
    return (x != 0) & (x.abs() < torch.finfo(x.dtype).tiny)


@functools.cache
def thin() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return every 4,099th float32 number and the exact results there, computed once."""
    x = torch.cat([patterns(4099), torch.tensor([0.0, -0.0, -87.0, 16.635532, 20.0, -103.9])])
    return x, *exact(x)
