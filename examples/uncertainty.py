"""Predicts how wrong its own predictions may be, and checks that on patients it has not seen.

For 442 diabetes patients a network gives a normal distribution of the progression of the disease
after a year: a mean, and a standard deviation, which must be positive. It comes from an output of
the network through `Positive`, which is Softplus with a start and a floor, or through exp. The
deviations are good if 80% of the patients are within the interval that is to hold 80% of them, and
if patients with a larger one are further off. Where all are too small, one factor mends them:
*rescaled* ones are multiplied by what the validation rows ask for. And they should be of use for a
patient unlike those seen, where exp grows faster. More in docs/positive.md.
"""

import argparse
import copy
from pathlib import Path
from statistics import median
from typing import NamedTuple

import torch
from matplotlib.figure import Figure
from sklearn.datasets import load_diabetes
from torch import Tensor, nn
from torch.distributions import Normal

from softplus import Positive, Softplus
from softplus.lab import judge

FIT, VALIDATION, TEST = 266, 88, 88  # rows of 442
# Of a deviation. Without one a likelihood rewards, without end, being sure of a training row.
FLOOR = 0.05
REACH = (1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0)  # times a patient's distance from the average
MARGIN = 0.05  # nats: a smaller difference in the likelihood does not matter

TABLE = load_diabetes()
SOFTPLUS, EXP = "Softplus", "exp"
COLOURS = {SOFTPLUS: "#0072B2", EXP: "#D55E00"}
DEVIATIONS = {
    SOFTPLUS: Positive(initial=1.0, floor=FLOOR),  # the standardised targets have a spread of 1
    EXP: lambda raw: raw.exp() + FLOOR,
}


class Result(NamedTuple):
    """What a network came to on the test rows."""

    loss: float  # negative log-likelihood
    deviation: Tensor  # as predicted for each patient
    error: Tensor  # its size
    factor: float  # by which the deviations are too small on the validation rows
    far: Tensor  # the largest deviation for patients REACH times as unusual


def predict(model: nn.Module, way: str, x: Tensor) -> Normal:
    """Return the distribution of each patient's target."""
    mean, raw = model(x).unbind(dim=1)
    return Normal(mean, DEVIATIONS[way](raw))


def train(model: nn.Module, way: str, x: Tensor, y: Tensor, steps: int) -> nn.Module:
    """Train on the first rows, and return the model as it was when it did best on the others."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    best, lowest = model, float("inf")
    for _ in range(steps):
        optimizer.zero_grad()
        loss = -predict(model, way, x).log_prob(y)
        loss[:FIT].mean().backward()
        if loss[FIT:].mean() < lowest:
            best, lowest = copy.deepcopy(model), loss[FIT:].mean().item()
        optimizer.step()
    return best


def run(way: str, seed: int, steps: int) -> Result:
    """Train on a split of its own and test the predictions on patients that were not seen."""
    torch.manual_seed(seed)  # the same split and the same weights for both ways
    order = torch.randperm(len(TABLE.data))
    x, y = (torch.tensor(a, dtype=torch.float32)[order] for a in (TABLE.data, TABLE.target))
    points = y[:FIT].std()  # of progression, in a unit of the standardised target
    x, y = ((a - a[:FIT].mean(dim=0)) / a[:FIT].std(dim=0) for a in (x, y))
    model = nn.Sequential(nn.Linear(10, 32), Softplus(), nn.Linear(32, 2))
    model = train(model, way, x[:-TEST], y[:-TEST], steps)
    with torch.no_grad():
        predicted = predict(model, way, x)
        far = [predict(model, way, times * x[-TEST:]).stddev.max() for times in REACH]
    loss = -predicted.log_prob(y) + points.log()  # of a density by points
    deviation, error = predicted.stddev * points, (y - predicted.mean).abs() * points
    ratio = (error / deviation)[FIT:-TEST]
    return Result(
        loss=loss[-TEST:].mean().item(),
        deviation=deviation[-TEST:],
        error=error[-TEST:],
        factor=ratio.square().mean().sqrt().item(),
        far=torch.stack(far) * points,
    )


def inside(runs: list[Result], level: float, *, rescaled: bool = False) -> float:
    """Return the share of test patients within the interval of a level."""
    width = Normal(0.0, 1.0).icdf(torch.tensor((1 + level) / 2))
    factors = [result.factor if rescaled else 1.0 for result in runs]
    held = [r.error < width * f * r.deviation for r, f in zip(runs, factors, strict=True)]
    return torch.cat(held).double().mean().item()


def draw(results: dict[str, list[Result]], path: Path) -> None:
    """Draw the errors by predicted deviation, and the deviations of ever more unusual patients."""
    figure = Figure(figsize=(9, 3.8), dpi=150, layout="constrained")
    left, right = figure.subplots(1, 2)
    left.plot([30, 75], [30, 75], ":", color="grey", label="as predicted")
    for (way, runs), dashes in zip(results.items(), ("-", "--"), strict=True):
        style = {"color": COLOURS[way], "linestyle": dashes, "marker": "o", "label": way}
        deviation, error = (torch.cat([r[i] for r in runs]) for i in (1, 2))
        fifths = deviation.argsort().chunk(5)
        means = [[a[rows].square().mean().sqrt() for rows in fifths] for a in (deviation, error)]
        left.plot(*means, **style)
        right.plot(REACH, torch.stack([r.far for r in runs]).quantile(0.5, dim=0), **style)
    left.set(xlabel="predicted deviation, by fifths of patients", ylabel="their error, points")
    right.set(xlabel="times as unusual", ylabel="largest predicted deviation, points")
    left.legend(frameon=False)
    figure.savefig(path)


def main() -> None:
    """Train on many splits, print the shares inside, the verdict and the deviations far out."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a smoke test, too short to conclude")
    parser.add_argument("--picture", type=Path, default=Path("uncertainty.png"))
    arguments = parser.parse_args()
    seeds, steps = (2, 20) if arguments.quick else (20, 300)
    torch.set_num_threads(1)  # so small a network gains nothing from a second

    results = {way: [run(way, seed, steps) for seed in range(seeds)] for way in COLOURS}
    print(f"{seeds} splits: {FIT} patients to train on, {VALIDATION} to stop by, {TEST} to test.\n")
    print(f"{'inside of the interval of':28}{'50%':>7}{'80%':>7}{'95%':>7}   deviation far out")
    for way, runs in results.items():
        for rescaled in (False, True):
            shares = [inside(runs, level, rescaled=rescaled) for level in (0.5, 0.8, 0.95)]
            name = f"{way}, rescaled" if rescaled else way
            far = median(r.far[-1].item() * (r.factor if rescaled else 1) for r in runs)
            print("{:28}{:7.1%}{:7.1%}{:7.1%}{:20,.0f}".format(name, *shares, far))
    print(f"Far out: the largest for test patients {REACH[-1]:g} times as unusual as they are.")
    losses = {way: [result.loss for result in runs] for way, runs in results.items()}
    print("\nNegative log-likelihood on the test patients, in nats:")
    print(judge(losses, lower_is_better=True, margin=MARGIN, test_ratio=TEST / FIT))
    draw(results, arguments.picture)
    print(f"Picture: {arguments.picture}")


if __name__ == "__main__":
    main()
