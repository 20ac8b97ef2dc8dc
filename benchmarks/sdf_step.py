"""Prints what a training step of a signed-distance network costs: ours, nn.Softplus and ReLU.

The network is that of implicit surfaces (8 hidden layers of 256, beta = 100), the loss the value on
the surface and the eikonal term: |grad f| = 1 needs the gradient of a gradient, so every step runs
forward, backward and double backward. What `nn.Softplus` loses to subnormal numbers depends on the
CPU and on the start: the geometric one is that of implicit surfaces (Atzmon and Lipman, SAL, CVPR
2020), and a row shows the same step with subnormals flushed. Figures are the medians of the rounds'
ratios, with their ranges; `--write` puts them into docs/performance.md.
"""

import argparse
import math
import statistics
from collections.abc import Callable
from functools import partial
from itertools import pairwise

import torch
from pages import PERFORMANCE as PAGE
from pages import filled, markdown, setting, several
from torch import Tensor, nn

import softplus
from softplus.lab import timing

DEPTH, WIDTH, POINTS, BETA = 8, 256, 8192, 100
OURS, SMOOTH, THEIRS, RELU = "ours", "ours, beta = 1", "nn.Softplus", "ReLU"
FLUSHED = "nn.Softplus, subnormals flushed"
STARTS = ("default", "geometric")


def start_geometric(model: nn.Sequential) -> None:
    """Make the network the distance to a sphere of radius 0.5, approximately."""
    *hidden, last = [layer for layer in model if isinstance(layer, nn.Linear)]
    for layer in hidden:
        nn.init.normal_(layer.weight, 0, math.sqrt(2 / layer.out_features))
        nn.init.zeros_(layer.bias)
    nn.init.normal_(last.weight, math.sqrt(math.pi / last.in_features), 1e-6)
    nn.init.constant_(last.bias, -0.5)


def flushed(call: Callable[[], None]) -> None:
    """Call it with results and operands below 2^-126 taken for zero, in this thread."""
    torch.set_flush_denormal(True)
    try:
        call()
    finally:
        torch.set_flush_denormal(False)


def training(activation: nn.Module, points: int, start: str) -> partial[None]:
    """Return the call that makes one training step."""
    torch.manual_seed(0)
    widths = [3, *[WIDTH] * DEPTH]
    layers: list[nn.Module] = []
    for before, after in pairwise(widths):
        layers += [nn.Linear(before, after), activation]
    model = nn.Sequential(*layers, nn.Linear(WIDTH, 1))
    if start == "geometric":
        start_geometric(model)
    x = torch.rand(points, 3) * 2 - 1
    distance = x.norm(dim=1) - 0.5  # of a sphere
    return partial(step, model, torch.optim.Adam(model.parameters(), lr=1e-4), x, distance)


def step(model: nn.Module, optimizer: torch.optim.Optimizer, x: Tensor, distance: Tensor) -> None:
    """Make one training step."""
    x = x.detach().requires_grad_()
    f = model(x).squeeze(1)
    (gradient,) = torch.autograd.grad(f.sum(), x, create_graph=True)
    eikonal = (gradient.norm(dim=1) - 1).square().mean()
    optimizer.zero_grad()
    ((f - distance).abs().mean() + 0.1 * eikonal).backward()
    optimizer.step()


# What is shown: a name, of which steps it is the ratio, and what it must reach.
FIGURES = [
    ("times faster than `nn.Softplus`", THEIRS, OURS, "≥", 5),
    ("over ReLU", OURS, RELU, "≤", 1.1),
    (f"beta = {BETA} over beta = 1", OURS, SMOOTH, "≤", 1.15),
    ("`nn.Softplus` with subnormals flushed, over without", FLUSHED, THEIRS, "", math.nan),
]


def measured(points: int, start: str, rounds: int) -> timing.Times:
    """Time a step with every activation, from one start."""
    activations = {
        OURS: softplus.Softplus(BETA),
        SMOOTH: softplus.Softplus(1),
        THEIRS: nn.Softplus(BETA),
        RELU: nn.ReLU(),
    }
    steps: dict[str, Callable[[], None]] = {
        name: training(activation, points, start) for name, activation in activations.items()
    }
    steps[FLUSHED] = partial(flushed, training(nn.Softplus(BETA), points, start))
    return timing.interleaved(steps, rounds)


def table(times: dict[str, timing.Times]) -> str:
    """Return the figures of every start beside their bounds, bold where one is missed."""
    rows = []
    for what, above, below, sign, limit in FIGURES:
        row = [what]
        for of_start in times.values():
            ratios = of_start.ratios(above, below)
            middle = round(statistics.median(ratios), 2)
            missed = middle < limit if sign == "≥" else middle > limit
            shown = f"**{middle:.2f}**" if missed else f"{middle:.2f}"
            row.append(f"{shown} ({min(ratios):.2f} to {max(ratios):.2f})")
        rows.append([*row, f"{sign} {limit:g}" if sign else "—"])
    return markdown(["", *times, "bound"], rows)


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--points", type=int, default=POINTS)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--start", choices=STARTS, nargs="+", default=STARTS)
    parser.add_argument("--write", action="store_true", help="put the table into the page")
    options = parser.parse_args()
    with timing.threads(options.threads):
        times = {start: measured(options.points, start, options.rounds) for start in options.start}
    where = "; ".join(setting("torch").values())
    network = f"{DEPTH} x {WIDTH}, beta = {BETA}, {options.points:,} points"
    how = f"{several(options.threads)}, the median of {options.rounds} rounds"
    part = f"{where}; {network}, {how}.\n\n{table(times)}"
    print(part)
    if options.write:
        text = filled(PAGE.read_text("utf-8"), "sdf_step", {"step": part})
        PAGE.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
