"""Trains one small network with ReLU and with Softplus, and compares their errors and their slopes.

Ten measurements of 442 diabetes patients are to tell how far the disease has progressed a year
later. In the code the two networks differ by one word. Each is then asked by how much its
prediction rises with a patient's body mass index: that is a derivative of the network, which jumps
at the kinks of ReLU and is smooth with Softplus.
"""

import argparse
import copy
import statistics
from pathlib import Path
from typing import NamedTuple

import torch
from matplotlib.figure import Figure
from sklearn.datasets import load_diabetes
from torch import Tensor, nn

from softplus import Softplus
from softplus.lab import judge

ACTIVATIONS = {"relu": nn.ReLU(), "softplus": Softplus()}
COLOURS = {"relu": "black", "softplus": "#0072B2"}
FIT, VALIDATION, TEST = 266, 88, 88  # rows of 442
MARGIN = 1.0  # a difference in error that does not matter; the targets run from 25 to 346 points

TABLE = load_diabetes(scaled=False)
BMI = TABLE.feature_names.index("bmi")


class Result(NamedTuple):
    """The test error of a network, and what it says of an average patient by body mass index."""

    error: float
    bmi: Tensor
    prediction: Tensor
    slope: Tensor


def network(activation: nn.Module) -> nn.Sequential:
    """Return an ordinary network: ten measurements in, one number out."""
    return nn.Sequential(
        nn.Linear(10, 64), activation, nn.Linear(64, 64), activation, nn.Linear(64, 1)
    )


def train(model: nn.Module, x: Tensor, y: Tensor, steps: int) -> nn.Module:
    """Train on the first rows, and return the model as it was when it did best on the others."""
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    best, lowest = model, float("inf")
    for _ in range(steps):
        optimizer.zero_grad()
        nn.functional.mse_loss(model(x[:FIT]), y[:FIT]).backward()
        optimizer.step()
        with torch.no_grad():
            loss = nn.functional.mse_loss(model(x[FIT:]), y[FIT:]).item()
        if loss < lowest:
            best, lowest = copy.deepcopy(model), loss
    return best


def run(activation: nn.Module, seed: int, steps: int) -> Result:
    """Train a network on a split of its own, and look at what it has learned."""
    torch.manual_seed(seed)  # the same split and the same weights for both activations
    order = torch.randperm(len(TABLE.data))
    inputs = torch.tensor(TABLE.data, dtype=torch.float32)[order]
    targets = torch.tensor(TABLE.target, dtype=torch.float32)[order, None]
    (center, unit), (level, points) = (
        (rows[:FIT].mean(dim=0), rows[:FIT].std(dim=0)) for rows in (inputs, targets)
    )
    x, y = (inputs - center) / unit, (targets - level) / points
    model = train(network(activation), x[:-TEST], y[:-TEST], steps)
    with torch.no_grad():
        error = (model(x[-TEST:]) - y[-TEST:]).abs().mean() * points

    average = torch.zeros(1001, 10)
    average[:, BMI] = torch.linspace(-2, 3, 1001)
    average.requires_grad_()
    prediction = model(average)
    (gradient,) = torch.autograd.grad(prediction.sum(), average)
    return Result(
        error=error.item(),
        bmi=(average[:, BMI] * unit[BMI] + center[BMI]).detach(),
        prediction=(prediction[:, 0] * points + level).detach(),
        slope=gradient[:, BMI] * points / unit[BMI],
    )


def draw(results: dict[str, Result], path: Path) -> None:
    """Draw the predictions for an average patient and their slopes."""
    figure = Figure(figsize=(9, 3.6), dpi=150, layout="constrained")
    left, right = figure.subplots(1, 2)
    for name, result in results.items():
        left.plot(result.bmi, result.prediction, color=COLOURS[name], label=name)
        right.plot(result.bmi, result.slope, color=COLOURS[name], label=name)
    left.set(title="an average patient", ylabel="predicted progression, points")
    right.set(title="the slope of these curves", ylabel="points for a unit more")
    for panel in (left, right):
        panel.set_xlabel("body mass index")
        panel.legend(frameon=False)
    figure.savefig(path)


def main() -> None:
    """Train on many splits, print the errors, the slopes and the verdict; draw the first split."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a smoke test, too short to conclude")
    parser.add_argument("--picture", type=Path, default=Path("quickstart.png"))
    arguments = parser.parse_args()
    seeds, steps = (2, 20) if arguments.quick else (30, 400)
    torch.set_num_threads(1)  # so small a network gains nothing from a second

    results = {
        name: [run(activation, seed, steps) for seed in range(seeds)]
        for name, activation in ACTIVATIONS.items()
    }
    errors = {name: [result.error for result in runs] for name, runs in results.items()}
    print(f"Means of {seeds} networks, each on a split of its own into {FIT} rows to train on,")
    print(f"{VALIDATION} to stop by and {TEST} to test.\n")
    print(f"{'':10}{'test error, points':>20}{'largest jump of the slope':>28}")
    for name, runs in results.items():
        jump = statistics.mean(result.slope.diff().abs().max().item() for result in runs)
        print(f"{name:10}{statistics.mean(errors[name]):20.1f}{jump:28.3f}")
    print(f"\n{judge(errors, lower_is_better=True, margin=MARGIN, test_ratio=TEST / FIT)}")
    draw({name: runs[0] for name, runs in results.items()}, arguments.picture)
    print(f"Picture: {arguments.picture}")


if __name__ == "__main__":
    main()
