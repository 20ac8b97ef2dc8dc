"""The figures of `softplus table`: Softplus beside ReLU, every value computed when it is shown."""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from softplus import softplus
from softplus.lab.activations import derivatives, parse

_POINTS = (-2.0, -1.0, 0.0, 1.0, 2.0, 5.0)
# PyTorch's default threshold.
_REVERSION = 20.0


def shapes() -> tuple[str, str]:
    """Return the shapes of Softplus and of ReLU, in words."""
    return parse("softplus").shape(), parse("relu").shape()


def at(x: float) -> list[float]:
    """Return Softplus, its derivative, its second derivative, ReLU and its derivative at x."""
    point = torch.tensor([x], dtype=torch.float64)
    smooth = derivatives(softplus, point)
    return [y.item() for y in (*smooth, *derivatives(torch.relu, point, orders=1))]


def values() -> dict[float, list[float]]:
    """Return what `at` gives at the points that textbooks show."""
    return {x: at(x) for x in _POINTS}


def underflow() -> dict[str, tuple[float, float, float]]:
    """Return, for each dtype, from which x on Softplus underflows as x goes to minus infinity.

    The figures are where its value is subnormal, where it is 0, and where its derivative is 0.
    """
    dtypes = {
        "float64": torch.float64,
        "float32": torch.float32,
        "bfloat16": torch.bfloat16,
        "float16": torch.float16,
    }
    return {
        name: (
            _edge(softplus, torch.finfo(dtype).tiny, dtype),  # the smallest normal number
            _edge(softplus, 0, dtype),
            _edge(lambda x: derivatives(softplus, x, orders=1)[1], 0, dtype),
        )
        for name, dtype in dtypes.items()
    }


def _edge(function: Callable[[Tensor], Tensor], limit: float, dtype: torch.dtype) -> float:
    """Return the largest x in [-1000, 0] for which an increasing function is at most a limit."""
    low, high = -1000.0, 0.0
    while True:
        middle = torch.tensor([(low + high) / 2], dtype=dtype)
        if middle.item() in (low, high):
            return low
        if function(middle).item() <= limit:
            low = middle.item()
        else:
            high = middle.item()


def reversion() -> dict[str, tuple[float, float]]:
    """Return what is lost just above PyTorch's threshold: the exact figures and PyTorch's."""
    found = {}
    for name, dtype in (("float64", torch.float64), ("float32", torch.float32)):
        x = torch.nextafter(*torch.tensor([[_REVERSION], [math.inf]], dtype=dtype))
        exact, theirs = derivatives(softplus, x), derivatives(nn.functional.softplus, x)
        pairs = {
            "softplus(x) - x": (exact[0] - x, theirs[0] - x),
            "1 - derivative": (1 - exact[1], 1 - theirs[1]),
            "second derivative": (exact[2], theirs[2]),
        }
        for what, (ours, pytorchs) in pairs.items():
            found[f"{name}: {what}"] = ours.item(), pytorchs.item()
    return found
