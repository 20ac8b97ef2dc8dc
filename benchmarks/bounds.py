"""Prints what the function costs on one thread beside what it must reach, red where that is missed.

`softplus bench` times it the same way, for users; the bounds are this project's own.
"""

import argparse
from dataclasses import dataclass, replace

from rich.console import Console
from rich.table import Table

from softplus.lab import bench
from softplus.ops import cpu


@dataclass(frozen=True)
class Bound:
    """What a pass must reach: at most so many ReLUs, so many times PyTorch's speed."""

    over_relu: float | None
    speedup: float | None


# With AVX-512.
BOUNDS = {
    (bench.FORWARD, "float32", 64): Bound(None, 0.5),
    (bench.RECORDED, "float32", 64): Bound(None, 0.5),
    (bench.FORWARD, "float32", 4_096): Bound(2.7, 2.5),
    (bench.FORWARD, "float32", 65_536): Bound(2.2, 6.8),
    (bench.FORWARD, "float32", 1_048_576): Bound(2.2, 6.5),
    (bench.FORWARD, "float32", 16_777_216): Bound(1.2, 2.5),
    (bench.FORWARD, "bfloat16", 65_536): Bound(1.5, 4.0),
    (bench.FORWARD, "float16", 65_536): Bound(1.8, 4.0),
    (bench.FORWARD, "float64", 65_536): Bound(6.0, 2.5),
    (bench.BACKWARD, "float32", 65_536): Bound(1.2, 1.7),
    (bench.BACKWARD, "float32", 1_048_576): Bound(1.0, None),
    (bench.DOUBLE_BACKWARD, "float32", 65_536): Bound(None, 4.0),
}
# How many times as long an instruction set may take.
ALLOWANCE = {"avx512": 1.0, "avx2": 1.5}


def bound(case: bench.Case, instruction_set: str) -> Bound | None:
    """Return what the case must reach with this instruction set, None where nothing is set."""
    found = BOUNDS.get((case.direction, case.dtype, case.size))
    if found is None:
        return None
    allowance = ALLOWANCE[instruction_set]
    return Bound(
        found.over_relu and found.over_relu * allowance, found.speedup and found.speedup / allowance
    )


def beside(figure: float, sign: str, limit: float | None) -> str:
    """Return a figure with its bound, in colour."""
    if limit is None:
        return f"{figure:.2f}"
    met = figure <= limit if sign == "≤" else figure >= limit
    return f"[{'green' if met else 'red'}]{figure:.2f} ({sign} {limit:.3g})[/]"


def main() -> None:
    """Time what has a bound, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="3 rounds instead of 11: a look")
    quick = parser.parse_args().quick
    instruction_set = cpu.instruction_set()
    if instruction_set not in ALLOWANCE:
        parser.exit(
            1, f"no bound is set for {instruction_set or 'an installation without kernels'}\n"
        )

    table = Table("pass", "dtype", title=f"one thread, {instruction_set}")
    for heading in ("elements", "ours / ReLU", "times faster than PyTorch's"):
        table.add_column(heading, justify="right")
    sizes = {
        dtype: ",".join(str(n) for n in bench.SIZES if any(key[1:] == (dtype, n) for key in BOUNDS))
        for dtype in bench.DTYPES
    }
    for dtype, size in sizes.items():
        settings = replace(bench.settings(dtype, size, "1", quick), compiled=False)
        for case in bench.run(settings, lambda _: None):
            limits = bound(case, instruction_set)
            if limits:
                relu, theirs, ours = (case.eager[n] for n in (bench.RELU, bench.TORCH, bench.OURS))
                table.add_row(
                    case.direction,
                    dtype,
                    f"{case.size:,}",
                    beside(ours / relu, "≤", limits.over_relu),
                    beside(theirs / ours, "≥", limits.speedup),
                )
    Console().print(table)


if __name__ == "__main__":
    main()
