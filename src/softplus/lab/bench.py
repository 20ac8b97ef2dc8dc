"""What the function costs beside ReLU and PyTorch's Softplus, and beside what was promised."""

import os
import statistics
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch._functorch.config as functorch_config
from rich import box
from rich.console import Console
from rich.table import Table
from torch import Tensor
from torch.nn import functional

from softplus.functional import softplus
from softplus.lab import timing
from softplus.lab.errors import UsageError, unknown
from softplus.ops import cpu

DTYPES = {
    "float32": torch.float32,
    "float64": torch.float64,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}
SIZES = (64, 4_096, 65_536, 1_048_576, 16_777_216)
# From here on results go into existing memory (`out=`): into fresh memory the time is that of the
# system's first touch of every page, whatever the function. That leaves the forward pass.
_INTO_EXISTING = 16_777_216
# The size at which a call is all overhead, and what autograd adds to it shows.
_OVERHEAD = 64

RELU, TORCH, OURS, COPY = "ReLU", "PyTorch", "softplus", "copy"
FORWARD, RECORDED = "forward", "with grad"
BACKWARD, DOUBLE_BACKWARD = "backward", "double backward"


@dataclass(frozen=True)
class Bound:
    """What one thread must reach: at most so many ReLUs, so many times PyTorch's speed."""

    over_relu: float | None
    speedup: float | None


# With AVX-512. AVX2 may take 1.6 times as long.
_BOUNDS = {
    (FORWARD, "float32", 64): Bound(None, 0.5),
    (RECORDED, "float32", 64): Bound(None, 0.5),
    (FORWARD, "float32", 4_096): Bound(2.7, 2.5),
    (FORWARD, "float32", 65_536): Bound(4.0, 4.0),
    (FORWARD, "float32", 1_048_576): Bound(1.5, 3.0),
    (FORWARD, "float32", 16_777_216): Bound(1.2, 2.5),
    (FORWARD, "bfloat16", 65_536): Bound(2.2, 4.0),
    (FORWARD, "float16", 65_536): Bound(2.7, 4.0),
    (FORWARD, "float64", 65_536): Bound(8.0, 2.5),
    (BACKWARD, "float32", 65_536): Bound(2.0, 1.7),
    (BACKWARD, "float32", 1_048_576): Bound(1.0, None),
    (DOUBLE_BACKWARD, "float32", 65_536): Bound(None, 4.0),
}
_ALLOWANCE = {"avx512": 1.0, "avx2": 1.6}


@dataclass(frozen=True)
class Settings:
    """What to measure: every dtype at every size on every number of threads."""

    dtypes: tuple[str, ...] = tuple(DTYPES)
    sizes: tuple[int, ...] = SIZES
    threads: tuple[int, ...] = ()
    rounds: int = 11
    visit: float = 4e-3
    compiled: bool = True

    @property
    def cases(self) -> int:
        """How many cases that makes."""
        passes = sum(len(_passes(size)) for size in self.sizes)
        return len(self.threads) * len(self.dtypes) * passes


@dataclass(frozen=True)
class Case:
    """One comparison: median seconds a call, by implementation, all from the same rounds."""

    direction: str
    dtype: str
    size: int
    threads: int
    eager: dict[str, float]
    compiled: dict[str, float] = field(default_factory=dict)

    @property
    def bound(self) -> Bound | None:
        """What this case must reach with the live instruction set, None where nothing is set."""
        allowance = _ALLOWANCE.get(cpu.instruction_set() or "")
        bound = _BOUNDS.get((self.direction, self.dtype, self.size))
        if self.threads != 1 or allowance is None or bound is None:
            return None
        return Bound(
            bound.over_relu and bound.over_relu * allowance,
            bound.speedup and bound.speedup / allowance,
        )

    def gigabytes_a_second(self, name: str) -> float:
        """Return the traffic of an eager forward pass: every element read once, written once."""
        return 2 * self.size * DTYPES[self.dtype].itemsize / self.eager[name] / 1e9


def settings(dtype: str | None, size: str | None, threads: str | None, quick: bool) -> Settings:
    """Return the settings for what the command line says; `quick` is a smoke test.

    Raises:
        UsageError: A dtype is unknown, or a size or a number of threads is not a whole number of
            at least 1.
    """
    every = sorted({1, torch.get_num_threads()})
    sizes = SIZES[:-1] if quick else SIZES
    return Settings(
        dtypes=tuple(DTYPES) if dtype is None else tuple(map(_dtype, dtype.split(","))),
        sizes=sizes if size is None else _whole("--size", size),
        threads=tuple(every) if threads is None else _whole("--threads", threads),
        rounds=3 if quick else Settings.rounds,
        visit=5e-4 if quick else Settings.visit,
        compiled=not quick,
    )


def _dtype(name: str) -> str:
    if name.strip() not in DTYPES:
        raise unknown("dtype", name.strip(), DTYPES)
    return name.strip()


def _whole(option: str, text: str) -> tuple[int, ...]:
    try:
        numbers = tuple(int(number) for number in text.split(","))
    except ValueError:
        numbers = (0,)
    if min(numbers) < 1:
        raise UsageError(f"{option} must be whole numbers of at least 1, got {text!r}")
    return numbers


def check_writable(option: str, path: Path | None) -> None:
    """Raise UsageError if the file cannot be written, before minutes are spent on its contents."""
    if path and (path.is_dir() or not os.access(path.parent, os.W_OK | os.X_OK)):
        raise UsageError(f"{option} {path} cannot be written: choose a file in a folder of yours")


def no_compiler() -> str | None:
    """Return why torch.compile cannot be measured here, None where it can."""
    try:
        torch.compile(functional.relu)(torch.zeros(8))
    except Exception as error:  # noqa: BLE001  # it has many ways to miss a compiler
        return f"torch.compile does not work here: {str(error).strip().splitlines()[0]}"
    return None


def run(settings: Settings, progress: Callable[[str], None]) -> Iterator[Case]:
    """Measure every case and yield it; `progress` hears what is on turn before it is measured."""
    for threads in settings.threads:
        # What backward reads must outlive it: it runs many times.
        with timing.threads(threads), functorch_config.patch(donated_buffer=False):
            for dtype in settings.dtypes:
                # What is compiled for one dtype and number of threads serves every size: twelve
                # compilations instead of sixty. A few more would reach PyTorch's limit, after
                # which it runs eagerly without a word.
                torch.compiler.reset()
                for size in settings.sizes:
                    for direction in _passes(size):
                        progress(f"{direction}, {dtype}, {size:,}, threads: {threads}")
                        yield _measure(settings, direction, dtype, size, threads)


def _passes(size: int) -> tuple[str, ...]:
    if size >= _INTO_EXISTING:
        return (FORWARD,)
    recorded = (RECORDED,) if size == _OVERHEAD else ()
    return (FORWARD, *recorded, BACKWARD, DOUBLE_BACKWARD)


def _measure(settings: Settings, direction: str, dtype: str, size: int, threads: int) -> Case:
    generator = torch.Generator().manual_seed(0)
    x, g, gg = (torch.randn(size, generator=generator).to(DTYPES[dtype]) for _ in range(3))
    tensors = (x, g, gg)
    calls = {name: _call(direction, name, f, tensors) for name, f in _FUNCTIONS.items()}
    if direction == FORWARD:
        y = torch.empty_like(x)
        calls[COPY] = partial(y.copy_, x)
    # torch.compile neither differentiates twice nor gains from `out=`.
    if settings.compiled and direction in {FORWARD, BACKWARD} and size < _INTO_EXISTING:
        for name, f in _FUNCTIONS.items():
            compiled = torch.compile(f, dynamic=True)
            calls[f"compiled {name}"] = _call(direction, name, compiled, tensors)
    context = torch.enable_grad if direction == RECORDED else torch.no_grad
    times = timing.interleaved(calls, settings.rounds, settings.visit, context)
    medians = {name: statistics.median(seconds) for name, seconds in times.items()}
    return Case(
        direction,
        dtype,
        size,
        threads,
        eager={name: medians[name] for name in medians if not name.startswith("compiled ")},
        compiled={
            name.removeprefix("compiled "): medians[name]
            for name in medians
            if name.startswith("compiled ")
        },
    )


_FUNCTIONS: dict[str, Callable[..., Tensor]] = {
    RELU: torch.relu,
    TORCH: functional.softplus,
    OURS: softplus,
}


def _call(
    direction: str, name: str, f: Callable[..., Tensor], tensors: tuple[Tensor, Tensor, Tensor]
) -> Callable[[], Any]:
    """Return the call that runs one pass of `f`, and nothing else: tensors are x, g and gg."""
    x, g, gg = tensors
    if direction == FORWARD:
        if x.numel() < _INTO_EXISTING:
            return partial(f, x)
        y = torch.empty_like(x)
        into_existing = {
            RELU: partial(torch.clamp_min, x, 0, out=y),
            TORCH: partial(torch.ops.aten.softplus, x, 1, 20, out=y),
            OURS: partial(softplus, x, out=y),
        }
        return into_existing[name]
    x = x.clone().requires_grad_()
    if direction == RECORDED:
        return partial(f, x)
    y = f(x)
    if direction == BACKWARD:
        # The node itself: the engine around it takes 10 microseconds, whatever the function.
        node: Any = y.grad_fn
        return partial(node if callable(node) else node.apply, g)  # .apply: torch.compile's own
    g = g.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(y, x, g, create_graph=True)
    # With the engine: PyTorch's Softplus runs several nodes here.
    return partial(torch.autograd.grad, gradient, (g, x), gg, retain_graph=True)


def results(settings: Settings, cases: list[Case], skipped: str | None) -> dict[str, Any]:
    """Return everything measured, as JSON holds it; times in seconds, medians over the rounds."""
    return {
        "torch": torch.__version__,
        "cpu": torch.backends.cpu.get_cpu_capability(),
        "cores": os.cpu_count(),
        "kernels": cpu.instruction_set(),
        "no_kernels": cpu.absent,
        "not_compiled": skipped,
        "settings": asdict(settings),
        "cases": [{**asdict(case), "bound": case.bound and asdict(case.bound)} for case in cases],
    }


def show(cases: list[Case], console: Console) -> None:
    """Print one table for each number of threads."""
    for threads in dict.fromkeys(case.threads for case in cases):
        table = Table(
            title=f"Softplus beside ReLU and PyTorch's Softplus, threads: {threads}",
            caption="Ratios of medians from the same rounds; in brackets the bound, red where it "
            f"is missed. From {_INTO_EXISTING:,} elements on into existing memory.",
            box=box.SIMPLE_HEAD,
            pad_edge=False,
        )
        table.add_column("", no_wrap=True)
        for heading in (
            "elements",
            "ours, µs",
            "PyTorch's\n/ ReLU",
            "ours\n/ ReLU",
            "times faster\nthan PyTorch's",
        ):
            table.add_column(heading, justify="right", no_wrap=True)
        for dtype in dict.fromkeys(case.dtype for case in cases):
            table.add_section()
            table.add_row(f"[bold]{dtype}[/]")
            for case in cases:
                if (case.threads, case.dtype) == (threads, dtype):
                    size, bound = f"{case.size:,}", case.bound
                    table.add_row(case.direction, size, *_figures(case.eager, bound))
                    if case.compiled:
                        table.add_row("  compiled", "", *_figures(case.compiled, None))
        console.print(table)


def _figures(seconds: dict[str, float], bound: Bound | None) -> list[str]:
    relu, theirs, ours = (seconds[name] for name in (RELU, TORCH, OURS))
    bound = bound or Bound(None, None)
    return [
        f"{ours * 1e6:,.1f}",
        f"{theirs / relu:.2f}",
        _beside(ours / relu, "≤", bound.over_relu),
        _beside(theirs / ours, "≥", bound.speedup),
    ]


def _beside(figure: float, sign: str, bound: float | None) -> str:
    """Return a figure with its bound."""
    if bound is None:
        return f"{figure:.2f}"
    met = figure <= bound if sign == "≤" else figure >= bound
    return f"[{'green' if met else 'red'}]{figure:.2f} ({sign} {bound:.3g})[/]"
