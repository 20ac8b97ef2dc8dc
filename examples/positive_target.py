"""Predicts a positive quantity with a Gamma likelihood, and prints what that is worth.

From the ten mean measurements of the cell nuclei in 569 breast tumours, the area of the largest
nuclei, 185 to 4254: positive, skewed, and the larger the more it varies. The mean of the Gamma
distribution is Softplus of a network, its relative spread one positive parameter; against it stand
the same with exp, and a Gaussian of constant scale.
"""

import argparse
from collections.abc import Callable
from functools import cache

import torch
from sklearn.datasets import load_breast_cancer
from torch import Tensor, nn
from torch.distributions import Distribution, Gamma, Normal

from softplus import Positive, Softplus, register_positive
from softplus.lab import statistics, timing

UNIT = 1000.0  # of the areas
HIDDEN, STEPS, LEARNING_RATE, WEIGHT_DECAY = 32, 400, 1e-2, 1e-2
FLOOR = 1e-3  # of a mean and of a spread
SOFTPLUS, EXP, GAUSS = "Gamma, Softplus mean", "Gamma, exp mean", "Gaussian"
MEANS: dict[str, Callable[[Tensor], Tensor]] = {
    SOFTPLUS: Positive(initial=1.0, floor=FLOOR),
    EXP: lambda raw: raw.exp() + FLOOR,
}


class Regression(nn.Module):
    """A network that returns the distribution of the target."""

    def __init__(self, inputs: int, likelihood: str) -> None:
        super().__init__()
        self.likelihood = likelihood
        self.body = nn.Sequential(nn.Linear(inputs, HIDDEN), Softplus(), nn.Linear(HIDDEN, 1))
        # The standard deviation: of the Gaussian, or as a share of the Gamma's mean.
        self.spread = nn.Parameter(torch.tensor(0.5))
        register_positive(self, "spread", floor=FLOOR)

    def forward(self, x: Tensor) -> Distribution:
        raw = self.body(x).squeeze(1)
        if self.likelihood == GAUSS:
            return Normal(raw, self.spread)
        mean = MEANS[self.likelihood](raw)
        shape = self.spread**-2
        return Gamma(shape, shape / mean)


@cache
def data() -> tuple[Tensor, Tensor]:
    """Return the ten mean measurements and the largest area."""
    table = load_breast_cancer()
    column = list(table.feature_names).index("worst area")
    return (
        torch.tensor(table.data[:, :10], dtype=torch.float32),
        torch.tensor(table.data[:, column] / UNIT, dtype=torch.float32),
    )


def split(seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return the rows that a seed draws to fit (60%), to stop training (20%) and to test (20%)."""
    order = torch.randperm(len(data()[0]), generator=torch.Generator().manual_seed(seed))
    fifth = len(order) // 5
    return order[2 * fifth :], order[:fifth], order[fifth : 2 * fifth]


def nll(distribution: Distribution, targets: Tensor) -> Tensor:
    """Return the mean negative log-likelihood in nats."""
    loss: Tensor = -distribution.log_prob(targets).mean()
    return loss


def train(likelihood: str, seed: int) -> tuple[float, float]:
    """Return the test NLL, and the mean relative error of the predicted mean."""
    fit, check, test = split(seed)
    x, y = data()
    x = (x - x[fit].mean(dim=0)) / x[fit].std(dim=0)
    torch.manual_seed(seed)
    model = Regression(x.shape[1], likelihood)
    optimizer = torch.optim.AdamW(model.parameters(), LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    lowest, kept = float("inf"), model.state_dict()
    for _ in range(STEPS):
        optimizer.zero_grad()
        nll(model(x[fit]), y[fit]).backward()
        optimizer.step()
        with torch.no_grad():
            checked = nll(model(x[check]), y[check]).item()
        if checked < lowest:
            lowest = checked
            kept = {name: value.clone() for name, value in model.state_dict().items()}
    model.load_state_dict(kept)
    with torch.no_grad():
        predicted = model(x[test])
        error = (predicted.mean / y[test] - 1).abs().mean()
        # A density per UNIT, brought back to one per unit of area.
        loss = nll(predicted, y[test]) + torch.tensor(UNIT).log()
    return loss.item(), error.item()


def main() -> None:
    """Train on every split and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--splits", type=int, default=20)
    splits = parser.parse_args().splits
    fit, _, test = split(0)
    ratio = len(test) / len(fit)
    with timing.threads(1):
        results = {
            name: [train(name, seed) for seed in range(splits)] for name in (SOFTPLUS, EXP, GAUSS)
        }
    losses = {name: [loss for loss, _ in runs] for name, runs in results.items()}
    print(f"breast tumours, {splits} splits: {len(fit)} to fit, {len(test)} to test")
    print(f"{'':22} {'test NLL, nats':>22} {'worst split':>12} {'relative error':>15}")
    for name, runs in results.items():
        loss = statistics.mean_interval(losses[name], ratio)
        error = sum(error for _, error in runs) / splits
        interval = f"{loss.center:.3f} [{loss.low:.3f}, {loss.high:.3f}]"
        print(f"{name:22} {interval:>22} {max(losses[name]):12.3f} {error:15.1%}")
    reference = losses.pop(SOFTPLUS)
    for verdict in statistics.decide(
        losses, SOFTPLUS, reference, test_ratio=ratio, margin=0.05, higher_is_better=False
    ):
        gap = verdict.difference
        print(
            f"{verdict.arm} less {SOFTPLUS}: {gap.center:+.3f} nats "
            f"[{gap.low:+.3f}, {gap.high:+.3f}], so: {verdict.winner}"
        )


if __name__ == "__main__":
    main()
