"""Prints the share of a whole training step that the activation costs as the network grows.

The share is (step - step without activation) / step: a layer's products grow with the square of its
width, its activation with the width. `--write` puts the table into docs/performance.md.
"""

import argparse
import statistics
from functools import partial
from pathlib import Path

import torch
from matplotlib.figure import Figure
from pages import PERFORMANCE as PAGE
from pages import filled, markdown, setting, several
from torch import Tensor, nn

import softplus
from softplus.lab import timing

DEPTH = 3
BARE = "identity"
ACTIVATIONS = {
    BARE: nn.Identity,
    "ReLU": nn.ReLU,
    "Softplus, ours": softplus.Softplus,
    "`nn.Softplus`": nn.Softplus,
}


def training(activation: nn.Module, width: int, batch: int) -> partial[None]:
    """Return the call that makes one training step."""
    torch.manual_seed(0)
    layers = [module for _ in range(DEPTH) for module in (nn.Linear(width, width), activation)]
    model = nn.Sequential(*layers, nn.Linear(width, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    return partial(step, model, optimizer, torch.randn(batch, width), torch.randn(batch, 1))


def step(model: nn.Module, optimizer: torch.optim.Optimizer, x: Tensor, y: Tensor) -> None:
    """Make one training step."""
    optimizer.zero_grad()
    nn.functional.mse_loss(model(x), y).backward()
    optimizer.step()


def shares(width: int, batch: int, rounds: int) -> tuple[float, dict[str, float]]:
    """Return the bare step in seconds and the share of each activation, of medians."""
    steps = {name: training(build(), width, batch) for name, build in ACTIVATIONS.items()}
    times = timing.interleaved(steps, rounds, visit=10e-3)
    median = {name: statistics.median(seconds) for name, seconds in times.items()}
    bare = median.pop(BARE)
    return bare, {name: (seconds - bare) / seconds for name, seconds in median.items()}


def plot(path: Path, widths: list[int], table: dict[str, list[float]]) -> None:
    """Draw the shares by width."""
    figure = Figure(figsize=(6, 3.6), layout="constrained")
    ax = figure.subplots()
    for name, column in table.items():
        ax.plot(widths, [100 * share for share in column], "o-", label=name)
    ax.set_xscale("log", base=2)
    ax.set_xlabel("width")
    ax.set_ylabel("share of the step (%)")
    ax.legend(frameon=False)
    figure.savefig(path)


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--widths", default="32,64,128,256,512,1024,2048")
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--plot", type=Path)
    parser.add_argument("--write", action="store_true", help="put the table into the page")
    options = parser.parse_args()
    widths = [int(width) for width in options.widths.split(",")]
    shown: dict[str, list[float]] = {name: [] for name in ACTIVATIONS if name != BARE}
    rows = []
    with timing.threads(options.threads):
        for width in widths:
            bare, row = shares(width, options.batch, options.rounds)
            for name, column in shown.items():
                column.append(row[name])
            rows.append([f"{width:,}", f"{bare * 1e3:.3g}", *(f"{row[n]:.0%}" for n in shown)])
    where = "; ".join(setting("torch").values())
    how = f"batch {options.batch}, {several(options.threads)}, {options.rounds} rounds"
    heads = ["width", "step without activation, ms", *shown]
    part = f"{where}; {DEPTH} hidden layers, float32, {how}.\n\n{markdown(heads, rows)}"
    print(part)
    if options.plot:
        plot(options.plot, widths, shown)
    if options.write:
        text = filled(PAGE.read_text("utf-8"), "width", {"share": part})
        PAGE.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
