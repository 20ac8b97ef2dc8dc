"""The Softplus-vs-ReLU table of definitions, every value computed when it is shown."""

import math
from collections.abc import Callable

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from softplus import softplus
from softplus.lab.activations import derivatives, parse

_POINTS = (-2.0, -1.0, 0.0, 1.0, 2.0, 5.0)
_DTYPES = (torch.float64, torch.float32, torch.bfloat16, torch.float16)
# PyTorch's default threshold.
_REVERSION = 20.0


def show(console: Console) -> None:
    """Print the four tables."""
    for table in (_definitions(), _values(), _underflow(), _reversion()):
        console.print(table)


def _definitions() -> Table:
    table = Table(title="What they are", show_lines=True)
    for heading in ("", "Softplus", "ReLU"):
        table.add_column(heading)
    table.add_row("function", "ln(1 + e^x)", "max(x, 0)")
    table.add_row("with sharpness beta", "ln(1 + e^(beta·x)) / beta", "the limit beta to infinity")
    table.add_row(
        "derivative", "sigmoid(x) = 1 / (1 + e^-x)", "1 for x > 0, 0 for x < 0, none at 0"
    )
    table.add_row("second derivative", "sigmoid(x)·(1 - sigmoid(x))", "0, none at 0")
    smooth, kinked = parse("softplus"), parse("relu")
    table.add_row("shape", smooth.shape(), kinked.shape())
    for limit in (-math.inf, math.inf):
        value, slope, curvature = derivatives(softplus, torch.tensor([limit], dtype=torch.float64))
        relu = torch.relu(torch.tensor([limit]))
        table.add_row(
            f"at {limit:+}".replace("inf", "infinity"),
            f"{value.item():g}, derivative {slope.item():g}, second {curvature.item():g}",
            f"{relu.item():g}",
        )
    return table


def _values() -> Table:
    table = Table(title="What they give")
    for heading in ("x", "Softplus", "derivative", "second derivative", "ReLU", "derivative"):
        table.add_column(heading, justify="right")
    x = torch.tensor(_POINTS, dtype=torch.float64)
    relu_slope = parse("relu").derivative(x)
    for point, *figures in zip(
        _POINTS, *derivatives(softplus, x), torch.relu(x), relu_slope, strict=True
    ):
        smooth = [f"{figure.item():.4f}" for figure in figures[:3]]
        kinked = [f"{figure.item():g}" for figure in figures[3:]]
        if point == 0:
            kinked[1] += " (PyTorch's choice)"
        table.add_row(f"{point:g}", *smooth, *kinked)
    return table


def _underflow() -> Table:
    table = Table(
        title="Where floating point ends",
        caption=(
            "Softplus is never zero, but floating point rounds: from these points on to the left "
            "its value, and its derivative, underflow to exactly 0. ReLU's are 0 from x = 0 on."
        ),
    )
    table.add_column("")
    for heading in ("subnormal from x =", "zero from x =", "derivative zero from x ="):
        table.add_column(heading, justify="right")
    for dtype in _DTYPES:
        tiny = torch.finfo(dtype).tiny  # the smallest normal number
        edges = [_edge(softplus, tiny, dtype), _edge(softplus, 0, dtype), _edge(_slope, 0, dtype)]
        table.add_row(str(dtype).removeprefix("torch."), *(f"{edge:.2f}" for edge in edges))
    return table


def _slope(x: Tensor) -> Tensor:
    return derivatives(softplus, x, orders=1)[1]


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


def _reversion() -> Table:
    table = Table(
        title="PyTorch's reversion to x above a threshold of 20, at the next number above 20",
        caption=(
            "PyTorch returns x there to avoid an overflow. The exact function does not overflow, "
            "so this package has no threshold unless you set one below 20."
        ),
    )
    table.add_column("")
    for heading in ("exact", "torch.nn.Softplus"):
        table.add_column(heading, justify="right")
    for dtype in (torch.float64, torch.float32):
        limits = torch.tensor([[_REVERSION], [math.inf]], dtype=dtype)
        x = torch.nextafter(*limits)
        exact, theirs = derivatives(softplus, x), derivatives(nn.functional.softplus, x)
        name = str(dtype).removeprefix("torch.")
        table.add_row(
            f"{name}: softplus(x) - x",
            f"{(exact[0] - x).item():.3g}",
            f"{(theirs[0] - x).item():.3g}",
        )
        table.add_row(
            f"{name}: 1 - derivative",
            f"{(1 - exact[1]).item():.3g}",
            f"{(1 - theirs[1]).item():.3g}",
        )
        table.add_row(
            f"{name}: second derivative", f"{exact[2].item():.3g}", f"{theirs[2].item():.3g}"
        )
    return table
