"""Trains one small network with ReLU and with Softplus, and compares their errors and their slopes.

Ten measurements of 442 diabetes patients are to tell how far the disease has progressed a year
later. In the code the two networks differ by one word. Each is then asked by how much its
prediction rises with a patient's body mass index: a derivative of the network, which jumps where
ReLU has its kinks and is smooth with Softplus.
"""

import argparse
import copy
import statistics
from pathlib import Path

import torch
from matplotlib.figure import Figure
from sklearn.datasets import load_diabetes
from torch import Tensor, nn

from softplus import Softplus
from softplus.lab import judge

ACTIVATIONS = {"relu": nn.ReLU(), "softplus": Softplus()}
COLOURS = {"relu": "black", "softplus": "#0072B2"}
TEST, VALIDATION = 88, 88  # of 442 rows; the other 266 are trained on
MARGIN = 1.0  # points of progression, which runs from 25 to 346: a smaller difference is none


def network(activation: nn.Module) -> nn.Sequential:
    """Return an ordinary network: ten measurements in, one number out."""
    return nn.Sequential(
        nn.Linear(10, 64), activation, nn.Linear(64, 64), activation, nn.Linear(64, 1)
    )


def train(model: nn.Module, x: Tensor, y: Tensor, held_out: slice, steps: int) -> nn.Module:
    """Train on the rows behind those held out, and return the model that did best on the latter."""
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    best, lowest = model, float("inf")
    for _ in range(steps):
        optimizer.zero_grad()
        nn.functional.mse_loss(model(x[held_out.stop :]), y[held_out.stop :]).backward()
        optimizer.step()
        with torch.no_grad():
            loss = nn.functional.mse_loss(model(x[held_out]), y[held_out]).item()
        if loss < lowest:
            best, lowest = copy.deepcopy(model), loss
    return best


def curve(model: nn.Module, column: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return one input from -2 to 3 deviations, the prediction for it, and that one's slope."""
    x = torch.zeros(1001, 10)  # an average patient
    x[:, column] = torch.linspace(-2, 3, 1001)
    x.requires_grad_()
    prediction = model(x)
    (slope,) = torch.autograd.grad(prediction.sum(), x)
    return x[:, column].detach(), prediction[:, 0].detach(), slope[:, column]


def main() -> None:
    """Train on many random splits, print the verdict, and draw the curves of the first one."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a smoke test: too short to conclude")
    parser.add_argument("--picture", type=Path, default=Path("quickstart.png"))
    arguments = parser.parse_args()
    seeds, steps = (2, 20) if arguments.quick else (20, 400)

    table = load_diabetes(scaled=False)
    inputs = torch.tensor(table.data, dtype=torch.float32)
    targets = torch.tensor(table.target[:, None], dtype=torch.float32)
    bmi = table.feature_names.index("bmi")
    errors: dict[str, list[float]] = {name: [] for name in ACTIVATIONS}
    jumps: dict[str, list[float]] = {name: [] for name in ACTIVATIONS}
    figure = Figure(figsize=(9, 3.6), dpi=150, layout="constrained")
    left, right = figure.subplots(1, 2)
    for seed in range(seeds):
        for name, activation in ACTIVATIONS.items():
            torch.manual_seed(seed)  # the same split, weights and order for both
            order = torch.randperm(len(inputs))
            fit = order[TEST + VALIDATION :]
            x = (inputs[order] - inputs[fit].mean(dim=0)) / inputs[fit].std(dim=0)
            unit, middle = targets[fit].std(), targets[fit].mean()
            y = (targets[order] - middle) / unit
            held_out = slice(TEST, TEST + VALIDATION)
            model = train(network(activation), x, y, held_out, steps)

            with torch.no_grad():
                error = (model(x[:TEST]) - y[:TEST]).abs().mean() * unit
            errors[name].append(error.item())
            deviations, prediction, slope = curve(model, bmi)
            slope = slope * unit / inputs[fit, bmi].std()
            jumps[name].append(slope.diff().abs().max().item())
            if seed == 0:
                index = deviations * inputs[fit, bmi].std() + inputs[fit, bmi].mean()
                left.plot(index, prediction * unit + middle, color=COLOURS[name], label=name)
                right.plot(index, slope, color=COLOURS[name], label=name)

    print(f"{seeds} splits of {len(inputs)} patients, mean over the splits")
    print(f"{'':10}{'test error, points':>20}{'largest jump of the slope':>28}")
    for name in ACTIVATIONS:
        mean, jump = statistics.mean(errors[name]), statistics.mean(jumps[name])
        print(f"{name:10}{mean:20.1f}{jump:28.3f}")
    ratio = TEST / (len(inputs) - TEST - VALIDATION)
    print(judge(errors, lower_is_better=True, margin=MARGIN, test_ratio=ratio))

    left.set(ylabel="predicted progression, points", title="an average patient")
    right.set(ylabel="points for each unit of the index", title="the slope of the left curve")
    for panel in (left, right):
        panel.set_xlabel("body mass index")
        panel.legend(frameon=False)
    figure.savefig(arguments.picture)
    print(f"Picture: {arguments.picture}")


if __name__ == "__main__":
    main()
