"""Predicts a quantity that is positive, by a distribution that is.

From the ten mean measurements of the cell nuclei in 569 breast tumours, the area of the largest
nuclei: positive, skewed, and the larger, the more it varies. That is a Gamma distribution, whose
mean is a network's output through `Positive` and whose relative spread is one parameter, kept
positive by `register_positive`. Against it stand the same with exp for the mean, and a Gaussian
of one spread, which gives small areas the wide intervals of large ones. More in docs/positive.md.
"""

import argparse
from pathlib import Path
from statistics import fmean
from typing import NamedTuple

import torch
from matplotlib.figure import Figure
from scipy import stats
from sklearn.datasets import load_breast_cancer
from torch import Tensor, nn
from torch.distributions import Distribution, Gamma, Normal

from softplus import Positive, Softplus, register_positive
from softplus.lab import judge

FIT, TEST = 455, 114  # rows of 569
FLOOR = 0.01  # of a mean and of a spread, in the unit below
MARGIN = 0.05  # nats: a smaller difference in the likelihood does not matter
SOFTPLUS, EXP, GAUSSIAN = "Gamma, Softplus mean", "Gamma, exp mean", "Gaussian"
MEANS = {
    SOFTPLUS: Positive(initial=1.0, floor=FLOOR),
    EXP: lambda raw: raw.exp() + FLOOR,
    GAUSSIAN: lambda raw: raw,
}

TABLE = load_breast_cancer()
INPUTS = torch.tensor(TABLE.data[:, :10], dtype=torch.float32)
AREAS = torch.tensor(TABLE.data[:, list(TABLE.feature_names).index("worst area")]).float()
UNIT = AREAS.mean()


class Result(NamedTuple):
    """What a network came to on the test rows."""

    loss: float  # negative log-likelihood in nats
    error: float  # mean relative error of the mean
    area: Tensor
    low: Tensor  # the ends of the interval that is to hold 90% of the areas
    high: Tensor


class Regression(nn.Module):
    """A network that returns the distribution of each area."""

    def __init__(self, likelihood: str) -> None:
        super().__init__()
        self.likelihood = likelihood
        self.body = nn.Sequential(nn.Linear(10, 32), Softplus(), nn.Linear(32, 1))
        # The standard deviation: of the Gaussian, or as a share of the Gamma's mean.
        self.spread = nn.Parameter(torch.tensor(0.5))
        register_positive(self, "spread", floor=FLOOR)

    def forward(self, x: Tensor) -> Distribution:
        mean = MEANS[self.likelihood](self.body(x).squeeze(1))
        if self.likelihood == GAUSSIAN:
            return Normal(mean, self.spread)
        shape = self.spread**-2
        return Gamma(shape, shape / mean)


def interval(distribution: Distribution) -> tuple[Tensor, Tensor]:
    """Return the ends of the interval that holds 90%."""
    if isinstance(distribution, Normal):
        frozen = stats.norm(distribution.mean, distribution.stddev)
    else:
        frozen = stats.gamma(distribution.concentration, scale=1 / distribution.rate)
    low, high = (torch.as_tensor(end) for end in frozen.interval(0.9))
    return low, high


def run(likelihood: str, seed: int, steps: int) -> Result:
    """Train on a split of its own, and test."""
    torch.manual_seed(seed)  # the same split and the same weights for all
    order = torch.randperm(len(AREAS))
    fit, test = order[:FIT], order[FIT:]
    x, y = (INPUTS - INPUTS[fit].mean(dim=0)) / INPUTS[fit].std(dim=0), AREAS / UNIT
    model = Regression(likelihood)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for _ in range(steps):
        optimizer.zero_grad()
        (-model(x[fit]).log_prob(y[fit]).mean()).backward()
        optimizer.step()
    with torch.no_grad():
        predicted = model(x[test])
        loss = -predicted.log_prob(y[test]).mean() + UNIT.log()  # of a density by area
        low, high = interval(predicted)
    error = (predicted.mean / y[test] - 1).abs().mean()
    return Result(loss.item(), error.item(), AREAS[test], low * UNIT, high * UNIT)


def draw(results: dict[str, list[Result]], path: Path) -> None:
    """Draw the intervals of the smallest areas of a split, by Gamma and Gaussian."""
    figure = Figure(figsize=(9, 4), dpi=150, layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    for panel, name, colour in zip(panels, (SOFTPLUS, GAUSSIAN), ("#0072B2", "black"), strict=True):
        result = results[name][0]
        smallest = result.area.argsort()[:60]
        places = range(len(smallest))
        ends = result.low[smallest], result.high[smallest]
        panel.vlines(places, *ends, color=colour, alpha=0.5, linewidth=3, label="90% interval")
        panel.plot(places, result.area[smallest], ".", color="#D55E00", label="measured")
        panel.set(title=name, xlabel=f"the {len(smallest)} smallest of {TEST} test areas")
        panel.legend(frameon=False, loc="upper left")
    panels[0].set(ylabel="area of the largest nuclei", ylim=(0, None))
    figure.savefig(path)


def main() -> None:
    """Train on many splits, and print the likelihoods, the errors and the verdicts."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a smoke test, too short to conclude")
    parser.add_argument("--picture", type=Path, default=Path("positive_target.png"))
    arguments = parser.parse_args()
    seeds, steps = (2, 20) if arguments.quick else (20, 400)
    torch.set_num_threads(1)  # so small a network gains nothing from a second

    results = {name: [run(name, seed, steps) for seed in range(seeds)] for name in MEANS}
    print(f"Means of {seeds} splits into {FIT} tumours to train on and {TEST} to test.\n")
    print(f"{'':22}{'NLL, nats':>11}{'relative error':>16}{'in 90% interval':>17}{'its width':>12}")
    for name, runs in results.items():
        held = [((r.area > r.low) & (r.area < r.high)).double().mean().item() for r in runs]
        width = fmean((r.high - r.low).mean().item() for r in runs)
        figures = fmean(r.loss for r in runs), fmean(r.error for r in runs), fmean(held), width
        print("{:22}{:11.3f}{:16.1%}{:17.1%}{:12.0f}".format(name, *figures))
    losses = {name: [result.loss for result in runs] for name, runs in results.items()}
    print(f"\n{judge(losses, lower_is_better=True, margin=MARGIN, test_ratio=TEST / FIT)}")
    draw(results, arguments.picture)
    print(f"Picture: {arguments.picture}")


if __name__ == "__main__":
    main()
