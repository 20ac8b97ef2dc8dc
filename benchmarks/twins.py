"""Times arms that compute the same under two names: how often their ratio's interval leaves out 1.

An honest 95% interval does so once in twenty.

    python benchmarks/twins.py --pairs 20
"""

import argparse
from dataclasses import dataclass

from softplus.lab import activations, cost, problems
from softplus.lab.activations import Activation


@dataclass(frozen=True)
class Twin(Activation):
    """An activation under another name."""

    @property
    def name(self) -> str:
        """Return a name that is not the other's."""
        return f"twin of {super().name}"


def main() -> None:
    """Print the ratio of every pair, and how many intervals left out 1."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=20)
    parser.add_argument("--task", default="digits")
    arguments = parser.parse_args()
    problem, relu = problems.load(arguments.task), activations.parse("relu")
    twin = Twin(**vars(relu))
    measured = wrong = 0
    for _ in range(arguments.pairs):
        found = cost.measure(problem, [relu, twin], relu.name)[twin.name]
        if found.busy:
            print(found.busy)
            continue
        ratio = found.ratio
        outside = not ratio.low <= 1 <= ratio.high
        print(f"{ratio.center:.3f} [{ratio.low:.3f}, {ratio.high:.3f}]{' *' if outside else ''}")
        measured += 1
        wrong += outside
    print(f"of {measured} pairs measured, the interval of {wrong} leaves out 1")


if __name__ == "__main__":
    main()
