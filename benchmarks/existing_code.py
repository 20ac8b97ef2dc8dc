"""Prints what patch() does for the speed of existing code: PyTorch's functions, and libraries' own.

The libraries are those of `make test-peers`, running the programs of tests/peers/programs.py.
"""

import argparse
import statistics
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional

from softplus import patch
from softplus.lab import timing
from softplus.lab.statistics import median_interval

sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "peers"))
SIZES = [64, 4096, 65_536, 262_144]
FUNCTIONS = {"softplus": functional.softplus, "logsigmoid": functional.logsigmoid}
SECONDS_A_VISIT = 3e-4  # shorter than the time slice of a machine that others use too


def measure(what: str, call: Callable[[], Any], rounds: int) -> None:
    """Print the time of a call without and with the patch, taken in turn, and their ratio."""
    once = min(timing.interleaved({"once": call}, 3)["once"])
    repeats = max(1, round(SECONDS_A_VISIT / once))
    patches = []

    def run() -> None:
        for _ in range(repeats):
            call()

    times = timing.interleaved(
        {
            "without": run,
            "put on": lambda: patches.append(patch()),
            "with": run,
            "take off": lambda: patches.pop().remove(),
        },
        rounds,
    )
    ratios = [a / b for a, b in zip(times["without"], times["with"], strict=True)]
    ratio = median_interval(ratios)
    columns = [
        what,
        *(f"{statistics.median(times[name]) / repeats * 1e6:,.1f}" for name in ("without", "with")),
        f"{ratio.center:.2f} ({ratio.low:.2f} to {ratio.high:.2f})",
    ]
    print(f"| {' | '.join(columns)} |", flush=True)


def functions(rounds: int) -> None:
    """Measure PyTorch's functions in float32, alone and with the backward pass."""
    for size in SIZES:
        x = 3 * torch.randn(size)
        leaf, ones = x.clone().requires_grad_(), torch.ones(size)
        for name, function in FUNCTIONS.items():
            measure(f"`{name}`, {size:,}", partial(function, x), rounds)

            def both(function: Callable[[torch.Tensor], torch.Tensor] = function) -> None:
                torch.autograd.grad(function(leaf), leaf, ones)  # noqa: B023  # measured in its turn

            measure(f"`{name}` and backward, {size:,}", both, rounds)


def programs(rounds: int) -> None:
    """Measure the libraries."""
    from programs import PROGRAMS  # noqa: PLC0415  # needs what `make test-peers` installs

    for name, prepare in PROGRAMS.items():
        measure(name, prepare(dtype=torch.float32), rounds)


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=101)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.manual_seed(0)
    print("| float32 | without, us | with patch(), us | times faster (95%) |\n|---|---|---|---|")
    with timing.threads(arguments.threads):
        functions(arguments.rounds)
        programs(arguments.rounds)


if __name__ == "__main__":
    main()
