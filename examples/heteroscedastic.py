"""Predicts a mean and a scale for 442 diabetes patients, and prints what the scale is worth.

Three networks that differ in the scale of their Gaussian likelihood alone: one learned number, kept
positive by `register_positive`; a function of the patient through Softplus; the same through exp.
"""

import argparse
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.distributions import Normal

from softplus import Positive, Softplus, register_positive
from softplus.lab import problems, statistics, timing, verdicts

UNIT = 100.0  # of the targets, which run from 25 to 346
SPREAD = 0.77  # the standard deviation of the targets, in that unit
HIDDEN, STEPS, LEARNING_RATE, WEIGHT_DECAY = 32, 400, 1e-2, 1e-2
FLOOR = 0.01  # of a scale: below 1% of the unit a likelihood would reward memorising a patient
FIXED, SOFTPLUS, EXP = "one scale for all", "Softplus scale", "exp scale"
SCALES: dict[str, Callable[[Tensor], Tensor]] = {
    SOFTPLUS: Positive(initial=SPREAD, floor=FLOOR),
    EXP: lambda raw: raw.exp() + FLOOR,
}


class Regression(nn.Module):
    """A network that returns the distribution of the target."""

    def __init__(self, inputs: int, scale: str) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(inputs, HIDDEN), Softplus(), nn.Linear(HIDDEN, 2))
        self.of_raw = SCALES.get(scale)
        if self.of_raw is None:
            self.scale = nn.Parameter(torch.tensor(1.0))
            register_positive(self, "scale", floor=FLOOR)

    def forward(self, x: Tensor) -> Normal:
        mean, raw = self.body(x).unbind(dim=1)
        return Normal(mean, self.scale if self.of_raw is None else self.of_raw(raw))


def nll(distribution: Normal, targets: Tensor) -> Tensor:
    """Return the mean negative log-likelihood in nats."""
    loss: Tensor = -distribution.log_prob(targets).mean()
    return loss


def train(scale: str, seed: int) -> tuple[float, float]:
    """Return the test NLL, and the share of test targets within the predicted 95% interval."""
    problem = problems.load("diabetes")
    fit, check, test = problem.split(seed)
    x, y = problem.data.prepared(fit), problem.data.targets / UNIT
    torch.manual_seed(seed)
    model = Regression(x.shape[1], scale)
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
        inside = (y[test] - predicted.mean).abs() < 1.96 * predicted.stddev
        # A density per UNIT, brought back to one per point of the target.
        loss = nll(predicted, y[test]) + torch.tensor(UNIT).log()
    return loss.item(), inside.double().mean().item()


def main() -> None:
    """Train on every split and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--splits", type=int, default=20)
    splits = parser.parse_args().splits
    fit, _, test = problems.load("diabetes").split(0)
    ratio = len(test) / len(fit)
    with timing.threads(1):
        results = {
            name: [train(name, seed) for seed in range(splits)] for name in (FIXED, SOFTPLUS, EXP)
        }
    losses = {name: [loss for loss, _ in runs] for name, runs in results.items()}
    print(f"diabetes, {splits} splits: {len(fit)} patients to fit, {len(test)} to test")
    print(f"{'':20} {'test NLL, nats':>22} {'worst split':>12} {'in the 95% interval':>20}")
    for name, runs in results.items():
        loss = statistics.mean_interval(losses[name])
        inside = sum(share for _, share in runs) / splits
        interval = f"{loss.center:.3f} [{loss.low:.3f}, {loss.high:.3f}]"
        print(f"{name:20} {interval:>22} {max(losses[name]):12.3f} {inside:20.1%}")
    scores = {name: dict(enumerate(values)) for name, values in losses.items()}
    for verdict in verdicts.decide(
        scores, SOFTPLUS, test_ratio=ratio, margin=0.05, higher_is_better=False
    ):
        answers = {"on these patients": verdict.these_rows, "on others": verdict.other_rows}
        for where, answer in answers.items():
            if answer:
                gap = answer.interval
                print(
                    f"{verdict.arm} less {SOFTPLUS} {where}: {gap.center:+.3f} nats "
                    f"[{gap.low:+.3f}, {gap.high:+.3f}], so: {answer.winner}"
                )


if __name__ == "__main__":
    main()
