"""Derivatives by autograd, the points at which tests take them, and the errors allowed.

An accuracy bound has three parts: ULP of the exact result; beta·x rounded before the exponential,
which moves the result by |beta·x| times that rounding (nothing where beta is a power of two); and
subnormal intermediates. The figures are the largest seen on a million points, and a little slack.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from references import ctx, derivatives, mpf, ulp

Function = Callable[..., Tensor]

# Largest errors in ULP for a beta of 1: the value and its first, second and third derivative.
# Measured: 1.47, 2.82, 3.50, 5.88.
ULPS = [1.5, 2.9, 3.6, 6.0]

# A few points of every branch, for transforms.
POINTS = torch.tensor([-40.0, -12.0, -1.5, -0.3, 0.0, 0.2, 1.7, 17.0, 35.0], dtype=torch.float64)


def grid(dtype: torch.dtype, beta: float = 1.0) -> Tensor:
    """Return points of [-1e4, 1e4] stored in dtype, dense near 0 and where beta·x is."""
    limits = torch.finfo(dtype)
    landmarks = [0, 1, 5, 12, 15, 17, 20, 40, 88, 100, 103, 104, 700, 745, 1e3, 1e4]
    tiny = [limits.smallest_normal, limits.smallest_normal * limits.eps, limits.eps]
    points = torch.cat(
        [
            torch.tensor(landmarks + tiny, dtype=torch.float64),
            torch.linspace(0.05, 2, 40, dtype=torch.float64),
            torch.linspace(2, 40, 39, dtype=torch.float64),
            torch.logspace(-12, 4, 33, dtype=torch.float64),
        ]
    )
    points = torch.cat([points, points / abs(beta)])
    points = points[points <= 1e4]
    stored = torch.cat([points, -points]).to(dtype)
    return torch.unique(stored[stored.abs() <= 1e4])


def with_derivatives(function: Function, x: Tensor, order: int = 3) -> list[Tensor]:
    """Return function(x), elementwise, and its derivatives up to `order` by autograd."""
    x = x.clone().requires_grad_()
    results = [function(x)]
    for _ in range(order):
        results += torch.autograd.grad(results[-1].sum(), x, create_graph=True)
    return [result.detach() for result in results]


def every_value(dtype: torch.dtype) -> Tensor:
    """Return all finite values of a half type."""
    x = torch.arange(-(2**15), 2**15).to(torch.int16).view(dtype)
    return x[x.isfinite()]


def allowance(
    order: int, x: float, beta: float, exact: mpf, dtype: torch.dtype, *, ulps: list[float]
) -> mpf:
    """Return the error allowed to the derivative of this order, in absolute terms.

    The third derivative passes through 0 and is held to the scale of its parts, beta·y''.
    """
    computing = torch.float64 if dtype == torch.float64 else torch.float32
    scale = abs(exact) if order < 3 else abs(beta * derivatives(x, beta)[2])
    allowed = ulps[order] * ulp(scale, computing)
    if ctx.frexp(abs(beta))[0] != 0.5:
        u = abs(beta * x)
        # Rounded are the product and, where the type does not hold it, beta itself. The division
        # and the product by beta, exact for powers of two, round besides.
        rounded = u / 2 if torch.tensor(beta, dtype=computing).item() == beta else u
        share = 1 if x * beta < 0 or order > 1 else 0.5
        allowed += (2 + rounded) * torch.finfo(computing).eps * scale * share
    smallest = ctx.ldexp(1, -1074 if computing == torch.float64 else -149)
    allowed += 2 * smallest * max(1, 1 / abs(beta)) * abs(beta) ** order
    return allowed if dtype == computing else allowed + ulp(exact, dtype) / 2


def excess(results: list[Tensor], x: Tensor, beta: float, ulps: list[float] = ULPS) -> list[str]:
    """Return a line for each element of each derivative that is farther off than allowed."""
    lines = []
    limit = torch.finfo(x.dtype).max
    columns = zip(*(result.double().tolist() for result in results), strict=True)
    for point, row in zip(x.double().tolist(), columns, strict=True):
        for order, (got, wanted) in enumerate(zip(row, derivatives(point, beta), strict=False)):
            allowed = allowance(order, point, beta, wanted, x.dtype, ulps=ulps)
            if abs(wanted) > limit:
                right = math.isinf(got) and (got > 0) == (wanted > 0)
            else:
                right = math.isfinite(got) and abs(ctx.mpf(got) - wanted) <= allowed
            if not right:
                error = ctx.nstr(abs(ctx.mpf(got) - wanted) / allowed, 4)
                lines.append(f"order {order} at {point}: {got}, off by {error} allowances")
    return lines


def assert_same(result: Tensor, wanted: Tensor) -> None:
    """Assert that two results in float64 are equal to their last digit but one."""
    torch.testing.assert_close(result, wanted, rtol=1e-14, atol=1e-300)
