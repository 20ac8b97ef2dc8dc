"""Prints how many steps plain deep networks need to learn, by activation, start and depth.

Fully connected networks of width 128 without normalisation or skip connections, trained with Adam
on the 1,797 digits, until 90% of the training examples are right. The learning rate is tuned for
every arm and depth on seeds of its own. A second task keeps the first honest: the same inputs, with
labels that no linear network can learn, the signs of two products of principal components.

With `--json FILE` every run is kept there at once, and none that the file holds is made again.
"""

import argparse
import json
import math
import statistics
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from matplotlib import rc_context
from matplotlib.figure import Figure
from sklearn.datasets import load_digits
from torch import Tensor, nn

import softplus
from softplus.lab import timing

WIDTH, BATCH, LIMIT, GOAL = 128, 128, 600, 0.9
DEPTHS = (4, 16, 32, 64)
LEARNING_RATES = (1e-3, 3e-3, 3e-4, 1e-2, 1e-4, 3e-2, 3e-5)
TUNING_SEEDS = (100, 101)
Q = 25.0  # of the mirrored starts, at beta = 1
SMALL_Q = 0.01  # of the orthogonal start, where shifted Softplus is nearly x/2

DIGITS, PRODUCTS = "digits", "signs of products"
RELU, MIRRORED, OURS = "ReLU, He", "ReLU, mirrored, centred", "Softplus, mirrored, centred"


@dataclass(frozen=True)
class Run:
    """One training run: the step at which it reached the goal (None: not within the limit)."""

    steps: int | None
    limit: int
    accuracy: float


class CentredReLU(nn.Module):
    """ReLU less its mean at variance Q, sqrt(Q / 2 pi)."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(x) - math.sqrt(Q / (2 * math.pi))


# How the weights start


def he(model: nn.Sequential) -> None:
    """Draw the weights for ReLU, as He et al. 2015."""
    for layer in linear_layers(model):
        nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        nn.init.zeros_(layer.bias)


def orthogonal(model: nn.Sequential) -> None:
    """Draw orthogonal weights with the gain that keeps a small variance under shifted Softplus."""
    gain = softplus.calculate_gain("shifted_softplus", q=SMALL_Q)
    first, *hidden, last = linear_layers(model)
    for layer, scale in [
        (first, math.sqrt(SMALL_Q * WIDTH / first.in_features)),
        *((layer, gain) for layer in hidden),
        (last, gain / math.sqrt(SMALL_Q)),
    ]:
        nn.init.orthogonal_(layer.weight, scale)
        nn.init.zeros_(layer.bias)


def as_drawn(model: nn.Sequential) -> None:
    """Leave the weights that PyTorch has drawn."""
    del model


def linear_layers(model: nn.Sequential) -> list[nn.Linear]:
    """Return the layers with weights."""
    return [layer for layer in model if isinstance(layer, nn.Linear)]


Arm = tuple[Callable[[], nn.Module], Callable[[nn.Sequential], object]]


def ours(q: float) -> Arm:
    """Return centred Softplus with mirrored weights, at pre-activations of variance q."""
    shift = softplus.centering(1.0, q)
    return partial(softplus.ShiftedSoftplus, shift=shift), partial(softplus.looks_linear_, q=q)


mirrored = partial(softplus.looks_linear_, q=Q)
ARMS: dict[str, Arm] = {
    RELU: (nn.ReLU, he),
    "ReLU, mirrored": (nn.ReLU, mirrored),
    MIRRORED: (CentredReLU, mirrored),
    "Softplus, PyTorch's default": (softplus.Softplus, as_drawn),
    "Softplus, He": (softplus.Softplus, he),
    "shifted Softplus, orthogonal": (softplus.ShiftedSoftplus, orthogonal),
    "Softplus, mirrored": (softplus.Softplus, mirrored),
    OURS: ours(Q),
}
OTHER_Q = {f"the same with q = {q:g}": ours(q) for q in (1.0,)}
TASKS = {
    DIGITS: tuple(ARMS),
    PRODUCTS: (RELU, "ReLU, mirrored", MIRRORED, "Softplus, mirrored", OURS, *OTHER_Q),
}


# Training


@cache
def data(task: str) -> tuple[Tensor, Tensor]:
    """Return the inputs, of mean 0 and variance 1 over all pixels, and the labels of a task."""
    digits = load_digits()
    x = torch.tensor(digits.data, dtype=torch.float64)
    x = x - x.mean(dim=0)
    x = x / x.std()
    if task == DIGITS:
        return x.float(), torch.tensor(digits.target)
    components = torch.linalg.svd(x, full_matrices=False).U
    signs = components[:, [0, 2]] * components[:, [1, 3]] > 0
    return x.float(), 2 * signs[:, 0].long() + signs[:, 1].long()


def network(arm: str, inputs: int, depth: int, outputs: int) -> nn.Sequential:
    """Return a network of `depth` layers with weights, at the start of its arm."""
    activation, start = (ARMS | OTHER_Q)[arm]
    parts: list[nn.Module] = []
    for before, after in pairwise([inputs, *[WIDTH] * (depth - 1), outputs]):
        parts += [nn.Linear(before, after), activation()]
    model = nn.Sequential(*parts[:-1])
    start(model)
    return model


def is_watched(step: int) -> bool:
    """Whether the accuracy is looked at after a step: at each at first, then every 5, every 10."""
    return step <= 40 or step % (5 if step <= 200 else 10) == 0


def train(task: str, arm: str, depth: int, *, rate: float, seed: int, limit: int) -> Run:
    """Train until the goal or the limit."""
    torch.manual_seed(seed)
    x, y = data(task)
    model = network(arm, x.shape[1], depth, int(y.max()) + 1)
    optimizer = torch.optim.Adam(model.parameters(), lr=rate)
    order = torch.empty(0, dtype=torch.long)
    accuracy = 0.0
    for step in range(1, limit + 1):
        if len(order) < BATCH:
            order = torch.randperm(len(x))
        batch, order = order[:BATCH], order[BATCH:]
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x[batch]), y[batch])
        if not loss.isfinite():
            break
        loss.backward()
        optimizer.step()
        if is_watched(step):
            with torch.no_grad():
                accuracy = float((model(x).argmax(dim=1) == y).double().mean())
            if accuracy >= GOAL:
                return Run(step, limit, accuracy)
    return Run(None, limit, accuracy)


class Study:
    """The runs made so far, kept in a file where one is given."""

    def __init__(self, path: Path | None) -> None:
        self.path = path
        kept = json.loads(path.read_text()) if path and path.exists() else {}
        self.runs = {name: Run(**run) for name, run in kept.items()}

    def run(self, task: str, arm: str, depth: int, *, rate: float, seed: int, limit: int) -> Run:
        """Return the run of these settings, made now or before."""
        name = f"{task} | {arm} | depth {depth} | lr {rate:g} | seed {seed}"
        found = self.runs.get(name)
        if found is None or (found.steps is None and found.limit < limit):
            found = train(task, arm, depth, rate=rate, seed=seed, limit=limit)
            self.runs[name] = found
            if self.path:
                kept = {key: vars(run) for key, run in self.runs.items()}
                fresh = self.path.with_name(self.path.name + ".new")
                fresh.write_text(json.dumps(kept, indent=1))
                fresh.replace(self.path)
        return found

    def best_rate(self, task: str, arm: str, depth: int, limit: int) -> float:
        """Return the learning rate whose slower tuning run reaches the goal first.

        A rate is given up once it cannot win; where none reaches the goal, the accuracy decides.
        """
        best, fewest, highest = LEARNING_RATES[0], math.inf, -1.0
        for rate in LEARNING_RATES:
            steps: list[float] = []
            accuracies = []
            for seed in TUNING_SEEDS:
                allowed = int(min(limit, fewest))
                run = self.run(task, arm, depth, rate=rate, seed=seed, limit=allowed)
                steps.append(run.steps or math.inf)
                accuracies.append(run.accuracy)
                if steps[-1] >= fewest and fewest < math.inf:
                    break
            if max(steps) < fewest or (
                fewest == math.inf and statistics.mean(accuracies) > highest
            ):
                best, fewest, highest = rate, max(steps), statistics.mean(accuracies)
        return best

    def steps(self, task: str, arm: str, depth: int, seeds: int, limit: int) -> dict[str, Any]:
        """Return the steps to the goal at the best learning rate, one figure a seed."""
        rate = self.best_rate(task, arm, depth, limit)
        runs = [
            self.run(task, arm, depth, rate=rate, seed=seed, limit=limit) for seed in range(seeds)
        ]
        return {"rate": rate, "steps": sorted(run.steps or math.inf for run in runs)}


# Showing


def shown(steps: list[float]) -> str:
    """Return the median and the range of steps, of which some may be never."""
    three = (statistics.median_low(steps), min(steps), max(steps))
    median, low, high = ("never" if s == math.inf else f"{s:.0f}" for s in three)
    return median if low == high else f"{median} ({low}-{high})"


def claims(table: dict[tuple[str, str, int], dict[str, Any]]) -> None:
    """Print what the package promises beside what came out."""
    median = {key: statistics.median_low(cell["steps"]) for key, cell in table.items()}
    depths = sorted({depth for _, _, depth in table})
    rows = []
    for depth in depths:
        mine, relu = median[DIGITS, OURS, depth], median[DIGITS, RELU, depth]
        if depth == max(DEPTHS):
            default = median[DIGITS, "Softplus, PyTorch's default", depth]
            rows += [
                (depth, OURS, mine, "at most 20", mine <= 20),
                (depth, RELU, relu, "about 260", 200 <= relu <= 330),
                (depth, "Softplus, PyTorch's default", default, "never", default == math.inf),
            ]
        else:
            rows.append((depth, OURS, mine, f"at most ReLU's {relu:g}", mine <= relu))
        twin = median[DIGITS, MIRRORED, depth]
        rows.append((depth, MIRRORED, twin, "as few as Softplus's", twin <= mine))
    print(f"\n{'layers':>6}  {'on ' + DIGITS:30} {'steps':>6}  claimed")
    for depth, arm, steps, claim, met in rows:
        figure = "never" if steps == math.inf else f"{steps:g}"
        print(f"{depth:6}  {arm:30} {figure:>6}  {claim}: {'yes' if met else 'NO'}")


def plot(path: Path, table: dict[tuple[str, str, int], dict[str, Any]], limit: int) -> None:
    """Draw the median steps by depth, never at the top."""
    style: Any = {"svg.fonttype": "none", "svg.hashsalt": "softplus", "legend.frameon": False}
    with rc_context(style):
        figure = Figure(figsize=(10, 4.2), layout="constrained")
        panels = figure.subplots(1, len(TASKS), sharey=True)
        for ax, (task, arms) in zip(panels, TASKS.items(), strict=True):
            for number, arm in enumerate(ARMS):
                if arm not in arms:  # nor are the other q drawn
                    continue
                depths = sorted(depth for t, a, depth in table if (t, a) == (task, arm))
                medians = [statistics.median_low(table[task, arm, d]["steps"]) for d in depths]
                reached = [min(median, 1.5 * limit) for median in medians]
                line = "--" if arm.startswith("ReLU") else "-"
                ax.plot(depths, reached, f"o{line}", color=f"C{number}", label=arm)
            ax.set(title=task, xlabel="layers", xscale="log", yscale="log")
            ax.set_xticks(depths, [str(depth) for depth in depths], minor=False)
            ax.minorticks_off()
            ax.grid(color="#e5e5e5")
        ticks = [tick for tick in (2, 5, 10, 20, 50, 100, 200, 500) if tick <= limit]
        panels[0].set_yticks([*ticks, 1.5 * limit], [*map(str, ticks), "never"])
        panels[0].set_ylabel(f"steps to {GOAL:.0%} training accuracy")
        entries = panels[0].get_legend_handles_labels()
        figure.legend(*entries, loc="outside lower center", ncols=4, fontsize=8)
        figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)


def main() -> None:
    """Train and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="depths 4 and 16, 2 seeds, 100 steps")
    parser.add_argument("--plot", type=Path)
    parser.add_argument("--json", type=Path, help="keep every run here, and go on from there")
    arguments = parser.parse_args()
    depths = DEPTHS[:2] if arguments.quick else DEPTHS
    seeds, limit = (2, 100) if arguments.quick else (arguments.seeds, LIMIT)
    study = Study(arguments.json)
    table = {}
    with timing.threads(1):
        for task, arms in TASKS.items():
            print(f"{task}: median steps to {GOAL:.0%} training accuracy, {seeds} seeds (range)")
            print(f"{'':30}", *(f"{f'{depth} layers':>18}" for depth in depths))
            for arm in arms:
                print(f"{arm:30}", end="", flush=True)
                for depth in depths:
                    table[task, arm, depth] = study.steps(task, arm, depth, seeds, limit)
                    print(f" {shown(table[task, arm, depth]['steps']):>18}", end="", flush=True)
                print()
    claims(table)
    if arguments.plot:
        plot(arguments.plot, table, limit)


if __name__ == "__main__":
    main()
