"""Prints what annealing and hardening a Softplus network brings beside ReLU and smooth Softplus.

Fully connected networks on digits, in three settings in which ReLU units die. A seed draws the
split, the initial weights and the order of the batches, the same for every arm.
"""

import argparse
import copy
import json
import statistics as python_statistics
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from matplotlib import rc_context
from matplotlib.figure import Figure
from torch import Tensor, nn

import softplus
from softplus.lab import activations, measures, problems, statistics, verdicts
from softplus.lab.problems.networks import Data

RELU, SMOOTH, ANNEALED = "ReLU", "smooth", "annealed"
START, END = 1.0, 30.0
# The rest of the training is at END; the state with the best validation accuracy of that rest is
# the one judged, in every arm.
ANNEALED_SHARE = 0.9
LOOK_EVERY = 5
EPOCHS, SEEDS = 60, 30
# The settings were chosen on seeds 0 to 7; none of these has been seen before.
FIRST_SEED = 300


@dataclass(frozen=True)
class Setting:
    """A network and how it is trained; `momentum` 0 stands for Adam."""

    name: str
    depth: int
    width: int
    learning_rate: float
    momentum: float

    def optimizer(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        """Return the optimizer of the setting."""
        if self.momentum:
            return torch.optim.SGD(parameters, self.learning_rate, self.momentum)
        return torch.optim.Adam(parameters, self.learning_rate)


SETTINGS = [
    Setting("deep and narrow", 6, 16, 1e-2, 0),
    Setting("high learning rate, momentum", 3, 64, 0.15, 0.9),
    Setting("high learning rate, Adam", 3, 64, 2e-2, 0),
]


@dataclass(frozen=True)
class Claim:
    """What annealed networks are compared in, with which arm, and the verdicts that meet it.

    Quantities and margins are in percent.
    """

    quantity: str
    text: str
    against: str
    margin: float
    higher_is_better: bool
    met_by: tuple[str, ...]

    def outcome(self, verdict: str) -> str:
        """Return what came of the claim."""
        if verdict == "cannot tell":
            return "within the noise"
        return f"{'met' if verdict in self.met_by else 'MISSED'} ({verdict})"


CLAIMS = [
    Claim("accuracy", "no loss against ReLU", RELU, 1, True, (ANNEALED, "equivalent")),
    Claim("accuracy", "nor against smooth", SMOOTH, 1, True, (ANNEALED, "equivalent")),
    Claim("zeros", "at ReLU's level", RELU, 5, True, (ANNEALED, "equivalent")),
    Claim("dead", "fewer than ReLU", RELU, 1, False, (ANNEALED,)),
    Claim("skipped", "at ReLU's level", RELU, 5, True, (ANNEALED, "equivalent")),
]


def train(setting: Setting, arm: str, seed: int, epochs: int) -> dict[str, float]:
    """Train one network and measure its best state near the end, in percent."""
    problem = problems.load("digits", depth=setting.depth, width=setting.width)
    rows, validation, test = problem.split(seed)
    data = problem.data
    inputs = data.prepared(rows)
    torch.manual_seed(seed)
    activation = activations.parse("relu" if arm == RELU else f"softplus:beta={START}")
    model: nn.Module = problem.model(activation)
    optimizer = setting.optimizer(model.parameters())
    batches = [
        batch
        for _ in range(epochs)
        for batch in rows[torch.randperm(len(rows))].split(problem.batch_size)
    ]
    settled = round(ANNEALED_SHARE * len(batches))
    annealing = softplus.BetaAnnealing(model, START, END, settled) if arm == ANNEALED else None
    best, best_state = -1.0, model.state_dict()
    for step, batch in enumerate(batches, start=1):
        optimizer.zero_grad()
        torch.autograd.backward(problem.loss(model, inputs[batch], data.targets[batch]))
        optimizer.step()
        if annealing and not annealing.finished:
            annealing.step()
        if step >= settled and step % LOOK_EVERY == 0:
            metric = accuracy(data, model, inputs, validation)
            if metric > best:
                best, best_state = metric, copy.deepcopy(model.state_dict())
    model.load_state_dict(best_state)

    result = {}
    if annealing:
        result["before"] = accuracy(data, model, inputs, test)
        model = softplus.harden(model, inputs)
        result["difference"] = model.difference
        # Those that measures looks at carry the mark of the arm.
        for name in [name for name, part in model.named_children() if type(part) is nn.ReLU]:
            model.set_submodule(name, activations.parse("relu").build())
    found = measures.measure(model, inputs)
    return {
        **result,
        "accuracy": accuracy(data, model, inputs, test),
        "zeros": 100 * found.sparsity,
        "dead": 100 * found.dead,
        "skipped": 100 * skipped(model, inputs),
    }


def accuracy(data: Data, model: nn.Module, inputs: Tensor, rows: Tensor) -> float:
    """Return the accuracy on these rows, in percent."""
    with torch.no_grad():
        return data.metric(model(inputs[rows]), data.targets[rows])


def skipped(model: nn.Sequential, inputs: Tensor) -> float:
    """Return the share of the multiplications whose factor from a hidden activation is exactly 0.

    The zeros of the digits themselves, the same for every arm, count as multiplications to make.
    """
    x, zero, everything = inputs, 0.0, 0.0
    with torch.no_grad():
        for index, layer in enumerate(model):
            if isinstance(layer, nn.Linear):
                everything += x.numel() * layer.out_features
                zero += float((x == 0).sum()) * layer.out_features if index else 0.0
            x = layer(x)
    return zero / everything


def compare(setting: Setting, seeds: list[int], epochs: int) -> dict[str, Any]:
    """Train every arm on every seed; return the values and the verdicts."""
    runs = {
        arm: [train(setting, arm, seed, epochs) for seed in seeds]
        for arm in (RELU, SMOOTH, ANNEALED)
    }
    ratio = 20 / 60  # of the test set to the training set, see Network.split
    values = {
        quantity: {arm: [run[quantity] for run in of_arm] for arm, of_arm in runs.items()}
        for quantity in dict.fromkeys(claim.quantity for claim in CLAIMS)
    }
    rows = []
    for claim in CLAIMS:
        of = values[claim.quantity]
        scores = {arm: dict(enumerate(of[arm])) for arm in (claim.against, ANNEALED)}
        (verdict,) = verdicts.decide(
            scores,
            claim.against,
            test_ratio=ratio,
            margin=claim.margin,
            higher_is_better=claim.higher_is_better,
        )
        answer = verdict.other_rows
        assert answer is not None  # noqa: S101  # the ratio is given
        rows.append(
            {
                **vars(claim),
                "outcome": claim.outcome(answer.winner),
                "difference": vars(answer.interval),
                "means": {arm: vars(statistics.mean_interval(v)) for arm, v in of.items()},
            }
        )
    return {
        "setting": vars(setting),
        "values": values,
        "claims": rows,
        "largest_output_difference": python_statistics.median(
            run["difference"] for run in runs[ANNEALED]
        ),
        "accuracy_changed_by_hardening": max(
            abs(run["accuracy"] - run["before"]) for run in runs[ANNEALED]
        ),
    }


def show(result: dict[str, Any]) -> None:
    """Print the table of a setting."""
    setting = result["setting"]
    with_what = f"SGD, momentum {setting['momentum']}" if setting["momentum"] else "Adam"
    print(f"\n{setting['name']}: {setting['depth']} hidden layers of {setting['width']}, ", end="")
    print(f"{with_what}, learning rate {setting['learning_rate']}")
    print(f"  {'%':9}", *(f"{arm:>21}" for arm in (RELU, SMOOTH, ANNEALED)), end="")
    print(f" {'difference':>21}  claim")
    for row in result["claims"]:
        means = [row["means"][arm] for arm in (RELU, SMOOTH, ANNEALED)]
        cells = [text({k: min(max(v, 0), 100) for k, v in mean.items()}) for mean in means]
        cells.append(text(row["difference"], "+"))
        print(f"  {row['quantity']:9}", *(f"{cell:>21}" for cell in cells), end="")
        print(f"  {row['text']}: {row['outcome']}")
    print(f"  hardening changed the outputs by {result['largest_output_difference']:.2g} ", end="")
    print("(the largest; median of the seeds), the accuracy by at most ", end="")
    print(f"{result['accuracy_changed_by_hardening']:.2g} points")


def text(interval: dict[str, float], sign: str = "") -> str:
    """Return the mean with its interval."""
    return "{center:{s}.1f} ({low:{s}.1f}, {high:{s}.1f})".format(**interval, s=sign)


def plot(path: Path, results: list[dict[str, Any]]) -> None:
    """Draw the arms of every setting, a dot a seed and a bar at their mean."""
    titles = {"accuracy": "test accuracy", "zeros": "outputs exactly 0", "dead": "dead units"}
    colours = {RELU: "black", SMOOTH: "#0072B2", ANNEALED: "#D55E00"}
    figure = Figure(figsize=(9, 1.7 * len(results)), layout="constrained")
    panels = figure.subplots(len(results), len(titles), squeeze=False)
    for line, result in zip(panels, results, strict=True):
        for ax, (quantity, title) in zip(line, titles.items(), strict=True):
            for height, (arm, colour) in enumerate(colours.items()):
                found = result["values"][quantity][arm]
                mean = python_statistics.mean(found)
                ax.plot(found, [height] * len(found), "o", color=colour, alpha=0.3)
                ax.plot(mean, height, "|", color=colour, markersize=22, markeredgewidth=2)
            if quantity != "accuracy":
                ax.set_xlim(-3, 100)
            ax.set_ylim(2.5, -0.5)
            ax.set_yticks(range(3), colours if ax is line[0] else [])
            ax.set_xlabel(f"{title} (%)")
            ax.spines[["top", "right"]].set_visible(False)
        line[0].set_title(result["setting"]["name"], loc="left", fontsize=10)
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "softplus"}):
        figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)


def main() -> None:
    """Measure and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--quick", action="store_true", help="3 seeds of 5 epochs: a look")
    parser.add_argument("--json", type=Path, help="write every value here")
    parser.add_argument("--plot", type=Path, help="draw the arms here")
    arguments = parser.parse_args()
    seeds, epochs = (3, 5) if arguments.quick else (arguments.seeds, EPOCHS)
    print(
        f"digits, {seeds} seeds, {epochs} epochs; smooth: beta = {START:g}; annealed: beta from ",
        end="",
    )
    print(f"{START:g} to {END:g} over {ANNEALED_SHARE:.0%} of the steps, then hardened")
    results = []
    for setting in SETTINGS:
        results.append(compare(setting, list(range(FIRST_SEED, FIRST_SEED + seeds)), epochs))
        show(results[-1])
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=1) + "\n")
    if arguments.plot:
        plot(arguments.plot, results)


if __name__ == "__main__":
    main()
