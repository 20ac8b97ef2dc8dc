"""Prints what a training step of a signed-distance network costs: ours, nn.Softplus and ReLU.

The network is that of implicit surfaces (8 hidden layers of 256, beta = 100), the loss the value on
the surface and the eikonal term: |grad f| = 1 needs the gradient of a gradient, so every step runs
forward, backward and double backward.
"""

import argparse
import statistics
from functools import partial
from itertools import pairwise

import torch
from torch import Tensor, nn

import softplus
from softplus.lab import timing

DEPTH, WIDTH, POINTS, BETA = 8, 256, 8192, 100
OURS, SMOOTH, THEIRS, RELU = "ours", "ours, beta = 1", "nn.Softplus", "ReLU"


def training(activation: nn.Module, points: int) -> partial[None]:
    """Return the call that makes one training step."""
    torch.manual_seed(0)
    widths = [3, *[WIDTH] * DEPTH]
    layers: list[nn.Module] = []
    for before, after in pairwise(widths):
        layers += [nn.Linear(before, after), activation]
    model = nn.Sequential(*layers, nn.Linear(WIDTH, 1))
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


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--points", type=int, default=POINTS)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    steps = {
        OURS: training(softplus.Softplus(BETA), arguments.points),
        SMOOTH: training(softplus.Softplus(1), arguments.points),
        THEIRS: training(nn.Softplus(BETA), arguments.points),
        RELU: training(nn.ReLU(), arguments.points),
    }
    with timing.threads(arguments.threads):
        times = timing.interleaved(steps, arguments.rounds)
    median = {name: statistics.median(seconds) for name, seconds in times.items()}
    print(f"{DEPTH} x {WIDTH}, beta = {BETA}, {arguments.points:,} points, ", end="")
    print(f"{arguments.threads} thread(s), median of {arguments.rounds} interleaved rounds")
    for name, seconds in median.items():
        print(f"  {name:16} {seconds * 1e3:8.0f} ms a step")
    figures = [
        ("times faster than nn.Softplus", median[THEIRS] / median[OURS], ">= 5", lambda r: r >= 5),
        ("over ReLU", median[OURS] / median[RELU], "<= 1.1", lambda r: r <= 1.1),
        ("over beta = 1", median[OURS] / median[SMOOTH], "<= 1.15", lambda r: r <= 1.15),
    ]
    for what, ratio, bound, met in figures:
        print(f"  {what:30} {ratio:6.2f}  (bound {bound}: {'met' if met(ratio) else 'MISSED'})")


if __name__ == "__main__":
    main()
