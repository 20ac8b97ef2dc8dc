"""Trains 32 plain layers, without normalisation or skip connections, from four starts.

In a plain deep network Softplus with PyTorch's own start learns nothing: its outputs are all
positive, and what tells two inputs apart fades from layer to layer. ReLU with He's start, the usual
remedy, learns slowly. `looks_linear_` starts a network of any depth as an exact linear map that
keeps all lengths, and `centering` takes the mean out of what each layer hands on. Because
softplus(x) - softplus(-x) = x, this works for Softplus, and because the same holds of relu, for
ReLU too. The data are 1,797 handwritten digits. More in docs/deep-networks.md.
"""

import argparse
import math
from itertools import pairwise
from pathlib import Path
from statistics import fmean, median_low
from typing import NamedTuple

import torch
from matplotlib.figure import Figure
from sklearn.datasets import load_digits
from torch import Tensor, nn

from softplus import ShiftedSoftplus, Softplus, centering, looks_linear_
from softplus.lab import judge

DEPTH, WIDTH, BATCH = 32, 128, 64
FIT, TEST = 1077, 360  # rows of 1,797; the 360 between are to choose by
RATES = (3e-4, 1e-3, 3e-3)  # each start takes the one that suits it best
TUNING_SEED = 1000
GOAL, EVERY = 0.9, 10  # the validation accuracy to reach, looked at every so many steps
Q = 25.0  # variance of the pre-activations, for which the start and the centring are made


def he(model: nn.Sequential) -> None:
    """Draw the weights for ReLU, as in He et al., Delving Deep into Rectifiers, ICCV 2015."""
    for layer in model:
        if isinstance(layer, nn.Linear):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            nn.init.zeros_(layer.bias)


def looks_linear(model: nn.Sequential) -> None:
    """Start as a linear isometry."""
    looks_linear_(model, q=Q)


RELU = "ReLU, He"
ARMS = {
    RELU: (nn.ReLU, he),
    "ReLU, looks linear": (nn.ReLU, looks_linear),
    "Softplus, PyTorch's own": (Softplus, lambda model: model),
    "Softplus, looks linear": (lambda: ShiftedSoftplus(shift=centering(q=Q)), looks_linear),
}
COLOURS = ("black", "grey", "#D55E00", "#0072B2")


def network(arm: str) -> nn.Sequential:
    """Return DEPTH linear layers with an activation between any two."""
    activation, start = ARMS[arm]
    parts: list[nn.Module] = []
    for inputs, outputs in pairwise([64, *[WIDTH] * (DEPTH - 1), 10]):
        parts += [nn.Linear(inputs, outputs), activation()]
    model = nn.Sequential(*parts[:-1])
    start(model)
    return model


def accuracy(model: nn.Module, x: Tensor, y: Tensor) -> float:
    """Return the share of the rows that are classified right."""
    with torch.no_grad():
        return (model(x).argmax(dim=1) == y).double().mean().item()


class Result(NamedTuple):
    """What a training came to."""

    curve: list[float]  # the validation accuracy every so many steps
    test: float  # accuracy at the step at which that was best


def train(arm: str, rate: float, seed: int, steps: int) -> Result:
    """Train on a split of its own with Adam."""
    torch.manual_seed(seed)
    digits = load_digits()
    order = torch.randperm(len(digits.data))
    x, y = torch.tensor(digits.data).float()[order], torch.tensor(digits.target)[order]
    x = (x - x[:FIT].mean(dim=0)) / x[:FIT].std()  # the start wants inputs of variance 1
    model = network(arm)
    optimizer = torch.optim.Adam(model.parameters(), lr=rate, fused=True)
    curve: list[float] = []
    for step in range(1, steps + 1):
        batch = torch.randint(FIT, (BATCH,))
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x[batch]), y[batch]).backward()
        optimizer.step()
        if step % EVERY == 0:
            now = accuracy(model, x[FIT:-TEST], y[FIT:-TEST])
            if now > max(curve, default=-1.0):
                test = accuracy(model, x[-TEST:], y[-TEST:])
            curve.append(now)
    return Result(curve, test)


def steps_to_goal(curve: list[float]) -> float:
    """Return the first step at which the goal was seen to be reached, infinity for never."""
    return next((i * EVERY for i, value in enumerate(curve, 1) if value >= GOAL), math.inf)


def draw(results: dict[str, list[Result]], path: Path) -> None:
    """Draw the curve of every training."""
    figure = Figure(figsize=(9, 4), dpi=150, layout="constrained")
    panel = figure.subplots()
    for (arm, runs), colour in zip(results.items(), COLOURS, strict=True):
        for seed, run in enumerate(runs):
            steps = [i * EVERY for i in range(1, len(run.curve) + 1)]
            panel.plot(steps, run.curve, color=colour, linewidth=1, label=None if seed else arm)
    panel.set(xlabel="steps", ylabel="validation accuracy", ylim=(0, 1))
    panel.legend(frameon=False, loc=(0.7, 0.3))
    figure.savefig(path)


def main() -> None:
    """Choose the learning rates, train, and print the steps, the accuracies and the verdicts."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a smoke test, too short to conclude")
    parser.add_argument("--picture", type=Path, default=Path("deep_plain_network.png"))
    arguments = parser.parse_args()
    seeds, steps = (2, 30) if arguments.quick else (6, 300)
    torch.set_num_threads(1)  # layers this small gain nothing from a second

    print(f"{DEPTH} layers, {steps} steps, {seeds} splits of the digits for each start")
    print(f"{'':26}{'learning rate':>14}{f'steps to {GOAL:.0%}':>14}{'test accuracy':>15}")
    results: dict[str, list[Result]] = {}
    for arm in ARMS:
        tuned = {rate: sum(train(arm, rate, TUNING_SEED, steps // 3).curve) for rate in RATES}
        rate = max(tuned, key=tuned.get)
        runs = results[arm] = [train(arm, rate, seed, steps) for seed in range(seeds)]
        median = median_low([steps_to_goal(run.curve) for run in runs])
        reached = "never" if median == math.inf else median
        print(f"{arm:26}{rate:14g}{reached:>14}{fmean(run.test for run in runs):15.1%}")
    scores = {name: [100 * run.test for run in runs] for name, runs in results.items()}
    print(f"\n{judge(scores, reference=RELU, margin=1.0, test_ratio=TEST / FIT)}")

    draw(results, arguments.picture)
    print(f"Picture: {arguments.picture}")


if __name__ == "__main__":
    main()
