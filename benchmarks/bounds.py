"""Prints what the function costs on one thread beside what it must reach, bold where it misses.

`softplus bench` times it the same way, for users; the bounds are this project's own. Each run is a
process; figures are the medians of the runs, with their ranges.

`--write` puts the table into docs/performance.md, at the mark of the instruction set that is live:
SOFTPLUS_ISA=avx2 forces another.
"""

import argparse
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing import get_context
from statistics import median

import torch
from pages import PERFORMANCE as PAGE
from pages import filled, markdown, setting

from softplus import softplus
from softplus.lab import bench, timing
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
    (bench.BACKWARD, "float32", 65_536): Bound(1.2, 1.7),
    (bench.DOUBLE_BACKWARD, "float32", 65_536): Bound(None, 4.0),
    (bench.FORWARD, "float32", 1_048_576): Bound(2.2, 6.5),
    (bench.BACKWARD, "float32", 1_048_576): Bound(1.0, None),
    (bench.FORWARD, "float32", 16_777_216): Bound(1.2, 2.5),
    (bench.FORWARD, "float64", 65_536): Bound(6.0, 2.5),
    (bench.FORWARD, "bfloat16", 65_536): Bound(1.5, 4.0),
    (bench.FORWARD, "float16", 65_536): Bound(1.8, 4.0),
}
# Of float32 forward at 65,536, over beta = 1: for another beta, where beta·x is the same.
BETA, OVER_BETA_1 = 100.0, 1.25
# How many times as long an instruction set may take.
ALLOWANCE = {"avx512": 1.0, "avx2": 1.5}
# As the page calls what `softplus bench` calls otherwise.
PASSES = {bench.RECORDED: "forward with grad"}

Key = tuple[str, str, int]  # the pass, the dtype, the elements
Figures = tuple[float, float, float]  # PyTorch's / ReLU, ours / ReLU, PyTorch's / ours


def bound(key: Key, instruction_set: str) -> Bound:
    """Return what a pass must reach with this instruction set."""
    found, allowance = BOUNDS[key], ALLOWANCE[instruction_set]
    return Bound(
        found.over_relu and found.over_relu * allowance, found.speedup and found.speedup / allowance
    )


def over_beta_1(quick: bool) -> float:
    """Return how many times as long the forward pass takes with another beta."""
    x = torch.randn(65_536, generator=torch.Generator().manual_seed(0))
    calls = {"1": partial(softplus, x), "another": partial(softplus, x / BETA, beta=BETA)}
    with timing.threads(1):
        times = timing.interleaved(calls, 9 if quick else 45, 4e-3, torch.no_grad)
    return median(times.ratios("another", "1"))


def run(quick: bool) -> tuple[dict[Key, Figures], float]:
    """Time once what has a bound."""
    found = {}
    for dtype in bench.DTYPES:
        sizes = ",".join(
            str(n) for n in bench.SIZES if any(key[1:] == (dtype, n) for key in BOUNDS)
        )
        settings = replace(bench.settings(dtype, sizes, "1", quick), compiled=False)
        for case in bench.run(settings, lambda _: None):
            relu, theirs, ours = (case.eager[n] for n in (bench.RELU, bench.TORCH, bench.OURS))
            key = case.direction, dtype, case.size
            found[key] = theirs / relu, ours / relu, theirs / ours
    return found, over_beta_1(quick)


def cell(figures: Sequence[float], sign: str = "≤", limit: float | None = None) -> str:
    """Return the median of a figure's runs with their range, bold where it misses its limit."""
    middle = round(median(figures), 2)
    met = limit is None or (middle <= limit if sign == "≤" else middle >= limit)
    spread = f" ({min(figures):.2f} to {max(figures):.2f})" if len(figures) > 1 else ""
    return (f"{middle:.2f}" if met else f"**{middle:.2f}**") + spread


def table(runs: Sequence[dict[Key, Figures]], instruction_set: str) -> str:
    """Return the figures of all runs beside their bounds."""
    rows = []
    for key in BOUNDS:
        limits = bound(key, instruction_set)
        theirs, ours, speedup = zip(*(each[key] for each in runs), strict=True)
        rows.append([
            f"{key[1]} {PASSES.get(key[0], key[0])}, {key[2]:,}",
            f"{median(theirs):.2f}",
            cell(ours, "≤", limits.over_relu),
            f"≤ {limits.over_relu:.3g}" if limits.over_relu else "—",
            cell(speedup, "≥", limits.speedup),
            f"≥ {limits.speedup:.3g}" if limits.speedup else "—",
        ])  # fmt: skip
    over_relu = ["PyTorch's / ReLU", "ours / ReLU", "bound"]
    return markdown(["", *over_relu, "times faster than PyTorch's", "bound"], rows)


def main() -> None:
    """Time what has a bound, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="3 rounds instead of 11: a look")
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--write", action="store_true", help="put the table into the page")
    options = parser.parse_args()
    instruction_set = cpu.instruction_set()
    if instruction_set not in ALLOWANCE:
        live = instruction_set or "an installation without kernels"
        parser.exit(1, f"no bound is set for {live}\n")
    with ProcessPoolExecutor(1, get_context("spawn"), max_tasks_per_child=1) as pool:
        runs, others = zip(*pool.map(run, [options.quick] * options.runs), strict=True)
    where = "; ".join(setting("torch").values())
    how = "one run" if len(runs) == 1 else f"the median of {len(runs)} runs"
    limit = OVER_BETA_1 * ALLOWANCE[instruction_set]
    another = f"beta = {BETA:g} over beta = 1, float32 forward, 65,536, where beta·x is the same"
    part = (
        f"{where}; one thread, {how}.\n\n{table(runs, instruction_set)}\n"
        f"{another}: {cell(others, limit=limit)}, bound {limit:.3g}."
    )
    print(part)
    if options.write:
        text = filled(PAGE.read_text("utf-8"), "bounds", {instruction_set: part})
        PAGE.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
