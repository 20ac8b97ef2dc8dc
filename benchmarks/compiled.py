"""Prints what compiled functions take, alone and beside reductions: softplus, ReLU, none.

Entering a compiled function and its backward takes the same time whatever it computes, some 100
microseconds: look at 1,048,576 elements too, where that is small. "none", the same function without
an activation, shows what the code around it takes.
"""

import argparse
import statistics
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

import softplus
from softplus.lab import timing

Activation = Callable[[Tensor], Tensor]
OURS, THEIRS, RELU, NONE = "ours", "F.softplus", "F.relu", "none"
# As a model calls them.
ACTIVATIONS: dict[str, Activation] = {
    OURS: lambda x: softplus.softplus(x),  # noqa: PLW0108 -- what torch.compile is to enter
    THEIRS: lambda x: functional.softplus(x),  # noqa: PLW0108
    RELU: lambda x: functional.relu(x),  # noqa: PLW0108
    NONE: lambda x: x * 1.5,
}
ROW = 512
CASES: dict[str, tuple[bool, Callable[[Activation, nn.Module, nn.Module], Activation]]] = {
    # name: (with backward, the function)
    "chain": (False, lambda act, *_: lambda x: act(x * x + 0.1) * x),
    "chain, training": (True, lambda act, *_: lambda x: act(x * x + 0.1) * x),
    "plain, training": (True, lambda act, *_: act),
    "layer_norm, act": (False, lambda act, layer, _: lambda x: act(layer(x))),
    "layer_norm, act, training": (True, lambda act, layer, _: lambda x: act(layer(x))),
    "act, layer_norm, training": (True, lambda act, layer, _: lambda x: layer(act(x))),
    "batch_norm, act, training": (True, lambda act, _, batch: lambda x: act(batch(x))),
    "act, softmax, training": (True, lambda act, *_: lambda x: torch.softmax(act(x), -1)),
}
# compiled ours / compiled F.softplus, compiled ours / eager ours
BOUNDS: dict[str, tuple[float, float]] = {"chain": (0.6, 1.0), "chain, training": (1.0, 1.0)}
BESIDE_A_REDUCTION = (1.0, 1.0)


def runner(function: Activation, x: Tensor, grad: Tensor | None) -> Callable[[], Any]:
    """Return a call of the function, with its backward where a gradient is given."""
    if grad is not None:
        return lambda: function(x).backward(grad)

    def forward() -> None:
        with torch.no_grad():
            function(x)

    return forward


def ratios(case: str, elements: int, rounds: int) -> dict[str, float]:
    """Return medians of the microseconds of each call, and of the ratios, round by round."""
    trains, build = CASES[case]
    x = torch.randn(elements // ROW, ROW, requires_grad=trains)
    grad = torch.randn(elements // ROW, ROW) if trains else None
    torch.compiler.reset()
    calls = {}
    for name, activation in ACTIVATIONS.items():
        function = build(activation, nn.LayerNorm(ROW), nn.BatchNorm1d(ROW))
        calls[f"eager {name}"] = runner(function, x, grad)
        calls[f"compiled {name}"] = runner(torch.compile(function, fullgraph=True), x, grad)
    times = timing.interleaved(calls, rounds, visit=1e-2)
    found = {name: statistics.median(seconds) * 1e6 for name, seconds in times.items()}

    def ratio(a: str, b: str) -> float:
        return statistics.median(map(float.__truediv__, times[a], times[b]))

    found["of compiled F"] = ratio(f"compiled {OURS}", f"compiled {THEIRS}")
    for name in ACTIVATIONS:
        found[f"of eager, {name}"] = ratio(f"compiled {name}", f"eager {name}")
    return found


def beside(figure: float, limit: float) -> str:
    """Return a ratio with its bound."""
    return f"{figure:5.2f} (<= {limit:g} {'met' if figure <= limit else 'MISSED'})"


def show(case: str, found: dict[str, float]) -> None:
    """Print the figures of a case beside their bounds."""
    of_theirs, of_eager = BOUNDS.get(case, BESIDE_A_REDUCTION)
    pairs = [f"{n} {found[f'compiled {n}']:.0f}/{found[f'eager {n}']:.0f}" for n in ACTIVATIONS]
    print(f"  {case:26}", *pairs)
    print(f"    ours, of compiled F.softplus: {beside(found['of compiled F'], of_theirs)}")
    others = [f"{name} {found[f'of eager, {name}']:.2f}" for name in (THEIRS, RELU, NONE)]
    print(
        f"    of its eager: ours {beside(found[f'of eager, {OURS}'], of_eager)},", ", ".join(others)
    )


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=51)
    parser.add_argument("--elements", type=int, nargs="+", default=[65_536, 1_048_576])
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    print(f"float32, {arguments.threads} thread(s), median of {arguments.rounds} rounds in turn;")
    print("compiled / eager in microseconds")
    with timing.threads(arguments.threads):
        for elements in arguments.elements:
            print(f"{elements:,} elements")
            for case in arguments.cases:
                show(case, ratios(case, elements, arguments.rounds))


if __name__ == "__main__":
    main()
