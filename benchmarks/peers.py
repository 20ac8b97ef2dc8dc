"""Prints what Softplus costs, and how exact it is: here, in PyTorch, JAX, NumPy and SciPy.

For each number of threads a process of its own computes, bound to as many cores before any library
starts: OpenMP, PyTorch and XLA then have that many threads. NumPy and SciPy never have more than
one. In each, rounds visit all implementations in turn, in a random order; a figure is the median of
the rounds' ratios, with the quartiles. Freed memory stays with the process, so that results come
into memory that it has: in fresh memory the system's first touch of every page is the time. Threads
of PyTorch's that wait for more leave their cores to the next visit.

Errors are those of tests/ulp.py and tests/references.py: on every 257th float32, on all numbers of
the half types, and on 8,001 float64 against 60 digits.

`--write` puts the figures into peers.json beside this file, and from there the tables and pictures
into docs/benchmarks.md.
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from statistics import quantiles

import torch
from implementations import DTYPES, RELU, THEIRS, Implementation, all_here
from pages import setting
from peers_page import BACKWARD, FORWARD, Cost, Error, Run, report, write
from torch import Tensor

from softplus.lab import machine, timing

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
import references
import ulp

SIZES = (4_096, 65_536, 1_048_576, 16_777_216)
# glibc maps no memory anew for a result, and gives none back. OpenMP's threads, which else turn for
# 5 ms when a call of PyTorch's is over, leave their cores to whoever is next after 0.1 ms. Inductor
# starts no processes that compile.
ENVIRONMENT = {
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": str(2**40),
    "GOMP_SPINCOUNT": "10000",
    "TORCHINDUCTOR_COMPILE_THREADS": "1",
}


# Costs


def here(options: argparse.Namespace) -> None:
    """Measure on so many threads, and print each figure as a line of JSON."""
    with timing.threads(options.here):
        implementations = all_here()
        for dtype in DTYPES:
            able = [each for each in implementations if dtype in each.dtypes]
            for size in options.sizes:
                generator = torch.Generator().manual_seed(0)
                x, g = (torch.randn(size, generator=generator).to(DTYPES[dtype]) for _ in range(2))
                for direction in (FORWARD, BACKWARD):
                    calls = prepared(able, direction, x, g)
                    times = timing.interleaved(calls, options.rounds, options.visit, torch.no_grad)
                    for name in calls:
                        over = (quartiles(times.ratios(name, of)) for of in (RELU, THEIRS))
                        cost = Cost(options.here, dtype, direction, size, name, *over, times.busy)
                        print(json.dumps(asdict(cost)), flush=True)


def quartiles(ratios: list[float]) -> list[float]:
    """Return the quartiles of ratios, to the four digits that are worth a line of a diff."""
    return [float(f"{quartile:.4g}") for quartile in quantiles(ratios, n=4)]


def prepared(
    implementations: list[Implementation], direction: str, x: Tensor, g: Tensor
) -> dict[str, Callable[[], object]]:
    """Return the calls of a pass by name, of those implementations that have it."""
    if direction == FORWARD:
        return {each.name: each.forward(x) for each in implementations}
    return {each.name: each.backward(x, g) for each in implementations if each.backward}


@contextmanager
def on_cores(count: int) -> Iterator[None]:
    """Bind what is started inside the block to so many cores, where the system can."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    every = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(every)[:count])
    try:
        yield
    finally:
        os.sched_setaffinity(0, every)


def costs(options: argparse.Namespace) -> Iterator[Cost]:
    """Measure on each number of threads, in a process of its own."""
    for threads in options.threads:
        command = [sys.executable, "-W", "ignore", __file__, "--here", str(threads)]
        command += ["--rounds", str(options.rounds), "--visit", str(options.visit)]
        command += ["--sizes", *map(str, options.sizes)]
        environment = os.environ | ENVIRONMENT | {"OMP_NUM_THREADS": str(threads)}
        with (
            on_cores(threads),
            subprocess.Popen(  # noqa: S603 -- this program
                command, stdout=subprocess.PIPE, text=True, env=environment
            ) as process,
        ):
            for line in process.stdout or ():
                yield Cost(**json.loads(line))
        if process.returncode:
            sys.exit(process.returncode)


# Errors


def errors(step: int) -> Iterator[Error]:
    """Find the largest errors of all implementations, on every so many float32 numbers."""
    implementations = [each for each in all_here() if each.name != RELU]
    for name, dtype in DTYPES.items():
        x, off = (doubles if name == "float64" else singles)(dtype, step)
        able = [each for each in implementations if name in each.dtypes]
        for direction in (FORWARD, BACKWARD):
            for by, call in prepared(able, direction, x, torch.ones_like(x)).items():
                with torch.no_grad():
                    result = call()
                if isinstance(result, tuple):  # of what is compiled: sizes have a place, too
                    (result,) = (each for each in result if each is not None)
                yield Error(name, direction, by, off[direction](torch.from_dlpack(result)))


def singles(dtype: torch.dtype, step: int) -> tuple[Tensor, dict[str, Callable[[Tensor], float]]]:
    """Return inputs of float32 or less, and how far the results of each pass are off."""
    x = ulp.patterns(step) if dtype == torch.float32 else ulp.all_halves(dtype)
    x = x[x.isfinite()]
    values, slopes, _ = ulp.exact(x)
    return x, {
        FORWARD: partial(ulp.worst, wanted=values),
        BACKWARD: partial(ulp.worst, wanted=slopes),
    }


def doubles(dtype: torch.dtype, _: int) -> tuple[Tensor, dict[str, Callable[[Tensor], float]]]:
    """Return the same of float64."""
    even = torch.linspace(-40, 40, 4000, dtype=dtype)
    magnitudes = torch.logspace(-20, 2.8, 2000, dtype=dtype)
    above_the_threshold = torch.tensor([20.0], dtype=dtype).nextafter(even[-1:])
    x = torch.cat([even, magnitudes, -magnitudes, above_the_threshold])
    values, slopes, *_ = zip(*map(references.derivatives, x.tolist()), strict=True)
    return x, {
        FORWARD: lambda result: max(references.ulp_errors(result, values)),
        BACKWARD: lambda result: max(references.ulp_errors(result, slopes)),
    }


# The whole


def main() -> None:
    """Measure, print, and write where that is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a fifth of the time: a look")
    parser.add_argument("--write", action="store_true", help="put the figures into the documents")
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    parser.add_argument("--threads", type=int, nargs="+", default=sorted({1, machine.cores()}))
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--visit", type=float, default=4e-3, help="seconds")
    parser.add_argument("--step", type=int, default=257, help="errors on every so many float32")
    parser.add_argument("--here", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.quick:
        options.rounds, options.visit, options.step = 3, 1e-3, 65_537
    if options.here:
        here(options)
        return
    if options.write and find_spec("jax") is None:
        parser.exit(2, "peers: the page has JAX on it: pip install '.[bench]'\n")
    found = []
    for cost in costs(options):
        where = f"{cost.threads} {cost.dtype} {cost.direction} {cost.size:,} {cost.name}"
        print(where, f"{cost.over_softplus[1]:.2f} of F.softplus", file=sys.stderr)
        found.append(cost)
    run = Run(setting("torch", "jax", "numpy", "scipy"), found, list(errors(options.step)))
    print(report(run))
    if options.write:
        write(run)


if __name__ == "__main__":
    main()
