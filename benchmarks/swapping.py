"""Prints what replacing ReLU in a running script costs, over the script that needs no replacing.

A small network trains, of which the calls of ReLU are a large share of the work: three layers of
64 units, 64 rows a step. Each round runs it bare and as the arm relu, and with softplus written
into the script and swapped in; the figures are medians of the rounds' ratios, with the extremes.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from softplus.lab import activations
from softplus.lab.scripts import launching

SCRIPT = """
import sys, time
import torch
from torch import nn
import softplus  # in each variant, so that they differ in the swap alone
activation = softplus.Softplus if sys.argv[1] == "softplus" else nn.ReLU
torch.manual_seed(0)
layers = [nn.Linear(64, 64), activation()] * 3
model = nn.Sequential(*layers, nn.Linear(64, 10))
optimizer = torch.optim.Adam(model.parameters(), fused=True)
x, y = torch.randn(64, 64), torch.randint(10, (64,))
start = time.process_time()
for _ in range(int(sys.argv[2])):
    optimizer.zero_grad()
    nn.functional.cross_entropy(model(x), y).backward()
    optimizer.step()
print(time.process_time() - start)
"""
# What the script computes by itself, and the arm that it runs as; None is without us.
VARIANTS = {
    "bare": ("relu", None),
    "arm relu": ("relu", "relu"),
    "softplus written by hand": ("softplus", None),
    "arm softplus": ("relu", "softplus"),
}
PAIRS = [("arm relu", "bare"), ("arm softplus", "softplus written by hand")]


def run(file: Path, variant: str, steps: int) -> tuple[float, float]:
    """Return the seconds of a variant's steps and of its whole process."""
    function, arm = VARIANTS[variant]
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        if arm is not None:
            environment = launching.environment(
                activations.parse(arm), seed=0, folder=Path(folder), threads=1
            )
        start = time.perf_counter()
        command = [sys.executable, str(file), function, str(steps)]
        printed = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True)  # noqa: S603
        return float(printed.stdout), time.perf_counter() - start


def main() -> None:
    """Run the rounds, print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=5000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "train.py"
        file.write_text(SCRIPT, encoding="utf-8")
        rounds = [
            {name: run(file, name, options.steps) for name in VARIANTS}
            for _ in range(options.rounds)
        ]
    for ours, theirs in PAIRS:
        for place, what in enumerate(("steps", "whole process")):
            ratios = [each[ours][place] / each[theirs][place] for each in rounds]
            seconds = statistics.median(each[theirs][place] for each in rounds)
            print(
                f"{ours} over {theirs}, {what} ({seconds:.2f} s): {statistics.median(ratios):.4f} "
                f"({min(ratios):.4f} to {max(ratios):.4f})"
            )


if __name__ == "__main__":
    main()
