"""Trains with Softplus, deploys an exact ReLU: annealing, `harden`, ONNX, onnxruntime.

Softplus keeps every unit alive in training, but it is hardly ever exactly 0, so nothing can be
skipped when the network runs. `BetaAnnealing` sharpens it while it trains, `harden` then puts ReLU
in its place, and what is exported is a standard ONNX file that knows nothing of this package.

The network is one in which many units of ReLU die: six narrow layers that read handwritten digits.
It is trained three times from each seed, with ReLU, with Softplus throughout, and annealed.
Needs onnxruntime and onnxscript.
"""

import argparse
import logging
import warnings
from collections import Counter, defaultdict
from functools import partial
from itertools import pairwise
from pathlib import Path
from statistics import fmean

import onnxruntime
import torch
from matplotlib.figure import Figure
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import Tensor, nn

from softplus import BetaAnnealing, Softplus, harden
from softplus.lab import audit, judge, timing

WIDTHS = [64, *[16] * 6, 10]
START, END = 1, 30  # of beta; END is reached after 90% of the steps, so that some are made there
RELU, SMOOTH, ANNEALED, HARDENED = "relu", "softplus", "annealed", "hardened"
COLOURS = {RELU: "black", SMOOTH: "#0072B2", ANNEALED: "#E69F00", HARDENED: "#D55E00"}
MEASURES = ("test accuracy", "outputs exactly 0", "dead units")


def network(arm: str) -> nn.Sequential:
    """Return a narrow, deep network."""
    activation = nn.ReLU if arm == RELU else Softplus
    layers = [part for pair in pairwise(WIDTHS) for part in (nn.Linear(*pair), activation())]
    return nn.Sequential(*layers[:-1])


def trained(arm: str, images: Tensor, labels: Tensor, epochs: int) -> nn.Module:
    """Return a network that reads digits."""
    model = network(arm)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    batches = [rows for _ in range(epochs) for rows in torch.randperm(len(labels)).split(64)]
    annealing = None
    if arm == ANNEALED:
        annealing = BetaAnnealing(model, START, END, steps=round(0.9 * len(batches)))
    for rows in batches:
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(images[rows]), labels[rows]).backward()
        optimizer.step()
        if annealing and not annealing.finished:
            annealing.step()
    return model


def measured(model: nn.Module, images: Tensor, labels: Tensor, test: list[int]) -> list[float]:
    """Return the accuracy on test images, and the shares of zeros and of dead units on all."""
    accuracy = (model(images[test]).argmax(1) == labels[test]).double().mean().item()
    calls = audit(model, [images]).calls
    dead = sum(len(call.dead) for call in calls) / sum(call.units for call in calls)
    return [accuracy, fmean(call.sparsity for call in calls), dead]


def deployed(model: nn.Module, images: Tensor) -> onnxruntime.InferenceSession:
    """Return what onnxruntime makes of the model's ONNX file, for any number of images."""
    program = torch.onnx.export(model.eval(), (images,), input_names=["images"], verbose=False)
    operators = Counter(node.op_type for node in program.model_proto.graph.node)
    print("an ONNX file of", ", ".join(f"{count} {name}" for name, count in operators.items()))
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(program.model_proto.SerializeToString(), options)


def draw(path: Path, found: dict[str, list[list[float]]]) -> None:
    """Draw every network as a dot, and a bar at the mean of each arm."""
    figure = Figure(figsize=(9, 2.2), layout="constrained")
    for column, (ax, title) in enumerate(zip(figure.subplots(1, 3), MEASURES, strict=True)):
        for height, (arm, colour) in enumerate(COLOURS.items()):
            values = [100 * run[column] for run in found[arm]]
            ax.plot(values, [height] * len(values), "o", color=colour, alpha=0.4)
            ax.plot(fmean(values), height, "|", color=colour, markersize=20, markeredgewidth=2)
        ax.set_yticks(range(len(COLOURS)), list(COLOURS) if column == 0 else [])
        ax.set(xlabel=f"{title}, %", ylim=(3.5, -0.5))
        ax.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=150)


def main() -> None:
    """Train, harden, print the table and the verdicts, and run the last networks as ONNX files."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a smoke test: too short to conclude")
    default = Path("train_smooth_deploy_sparse.png")
    parser.add_argument("--picture", type=Path, default=default)
    arguments = parser.parse_args()
    torch.set_num_threads(1)  # the same results, whatever the number of cores
    seeds, epochs = (2, 3) if arguments.quick else (10, 60)
    images, labels = map(torch.tensor, load_digits(return_X_y=True))
    images = images.float() / 16
    found = defaultdict(list)
    for seed in range(seeds):
        train, test = train_test_split(range(len(labels)), stratify=labels, random_state=seed)
        models = {}
        for arm in (RELU, SMOOTH, ANNEALED):
            torch.manual_seed(seed)  # the same start and the same batches for all
            models[arm] = trained(arm, images[train], labels[train], epochs)
        models[HARDENED] = harden(models[ANNEALED], sample=images)
        for arm, model in models.items():
            found[arm].append(measured(model, images, labels, test))

    print(f"{'means of ' + str(seeds) + ' networks':20}", *(f"{name:>18}" for name in MEASURES))
    for arm, runs in found.items():
        print(f"{arm:20}", *(f"{fmean(values):18.1%}" for values in zip(*runs, strict=True)))
    for column, name in ((0, MEASURES[0]), (2, MEASURES[2])):
        scores = {arm: [100 * run[column] for run in found[arm]] for arm in (RELU, HARDENED)}
        verdict = judge(scores, margin=1, test_ratio=1 / 3, lower_is_better=column == 2)
        print(f"\n{name}, %: {verdict}")

    print()
    rows = images[test]
    sessions = {arm: deployed(models[arm], rows) for arm in (SMOOTH, HARDENED)}
    calls = {
        arm: partial(session.run, None, {"images": rows.numpy()})
        for arm, session in sessions.items()
    }
    times = timing.interleaved(calls, rounds=21, visit=0.01).medians(HARDENED)
    (outputs,) = calls[HARDENED]()
    off = (torch.from_numpy(outputs) - models[HARDENED](rows)).abs().max().item()
    print(f"onnxruntime: {off:.1e} from PyTorch's outputs at most, and the hardened network takes")
    print(f"{times[HARDENED] / times[SMOOTH]:.2f} of the time of that with Softplus (one thread)")
    draw(arguments.picture, found)
    print(f"Picture: {arguments.picture}")


if __name__ == "__main__":
    # PyTorch's exporter warns of a class of its own, and that there is no torchvision.
    warnings.simplefilter("ignore", FutureWarning)
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    main()
