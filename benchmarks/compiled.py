"""Prints what a compiled forward and backward pass takes: ours, PyTorch's softplus and ReLU.

Entering a compiled function and its backward takes the same time whatever it computes. The figure
for 64 elements is that time; the figures without it are what the functions themselves take.
"""

import argparse
import statistics
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional

import softplus
from softplus.lab import timing

OURS, THEIRS, RELU = "ours", "F.softplus", "ReLU"
# As a model calls them.
FUNCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    OURS: lambda x: softplus.softplus(x),  # noqa: PLW0108 -- what torch.compile is to enter
    THEIRS: lambda x: functional.softplus(x),  # noqa: PLW0108
    RELU: lambda x: torch.relu(x),  # noqa: PLW0108
}
ELEMENTS, FEW = 65_536, 64
# The first call after another function's takes twice what the next ones do.
SECONDS_A_VISIT = 2e-2


def step(function: Callable[[Tensor], Tensor], x: Tensor, grad: Tensor) -> None:
    """Run forward and backward."""
    torch.autograd.grad(function(x), x, grad)


def medians(elements: int, rounds: int) -> dict[str, float]:
    """Return the microseconds of a compiled and of an eager step, by implementation."""
    torch.compiler.reset()  # each size is compiled for itself
    x, grad = torch.randn(elements, requires_grad=True), torch.ones(elements)
    calls = {}
    for name, function in FUNCTIONS.items():
        calls[f"compiled {name}"] = partial(step, torch.compile(function, fullgraph=True), x, grad)
        calls[f"eager {name}"] = partial(step, function, x, grad)
    times = timing.interleaved(calls, rounds, SECONDS_A_VISIT)
    return {name: statistics.median(seconds) * 1e6 for name, seconds in times.items()}


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=101)
    parser.add_argument("--elements", type=int, default=ELEMENTS)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    with timing.threads(arguments.threads):
        few = medians(FEW, arguments.rounds)
        many = medians(arguments.elements, arguments.rounds)
    print(f"float32 forward and backward, {arguments.threads} thread(s), ", end="")
    print(f"median of {arguments.rounds} interleaved rounds, microseconds")
    print(f"  {'elements':20} {FEW:>8,} {arguments.elements:>10,} {'without entering':>18}")
    for name, whole in many.items():
        print(f"  {name:20} {few[name]:8.1f} {whole:10.1f} {whole - few[name]:18.1f}")
    ours, theirs = f"compiled {OURS}", f"compiled {THEIRS}"
    ratio = many[theirs] / many[ours]
    print(f"  times faster than {theirs}: {ratio:.2f}", end="")
    print(f"  (bound >= 2: {'met' if ratio >= 2 else 'MISSED'})")
    bare = (many[theirs] - few[theirs]) / (many[ours] - few[ours])
    print(f"  the same without entering:              {bare:.2f}")


if __name__ == "__main__":
    main()
