"""Times the function beside ReLU and PyTorch's Softplus, eager and compiled."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from statistics import quantiles
from typing import Any

import torch
import torch._functorch.config as functorch_config
from torch import Tensor
from torch.nn import functional

from softplus.functional import softplus
from softplus.lab import timing
from softplus.lab.errors import UsageError, unknown

DTYPES = {
    "float32": torch.float32,
    "float64": torch.float64,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}
SIZES = (64, 4_096, 65_536, 1_048_576, 16_777_216)
# From here on results go into existing memory (`out=`): into fresh memory the time is that of the
# system's first touch of every page, whatever the function. That leaves the forward pass.
INTO_EXISTING = 16_777_216
# The size at which a call is all overhead, and what autograd adds to it shows.
_OVERHEAD = 64

RELU, TORCH, OURS, COPY = "ReLU", "PyTorch", "softplus", "copy"
FORWARD, RECORDED = "forward", "with grad"
BACKWARD, DOUBLE_BACKWARD = "backward", "double backward"


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
    """One comparison: median seconds a call, by implementation, all from the same rounds.

    `spread` is how far the middle half of the rounds lies apart in the time of ours over ReLU's,
    as a share. `busy` says why the times cannot be trusted, None where they can.
    """

    direction: str
    dtype: str
    size: int
    threads: int
    eager: dict[str, float]
    compiled: dict[str, float] = field(default_factory=dict)
    spread: float = 0.0
    busy: str | None = None

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
    if size >= INTO_EXISTING:
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
    if settings.compiled and direction in {FORWARD, BACKWARD} and size < INTO_EXISTING:
        for name, f in _FUNCTIONS.items():
            compiled = torch.compile(f, dynamic=True)
            calls[f"compiled {name}"] = _call(direction, name, compiled, tensors)
    context = torch.enable_grad if direction == RECORDED else torch.no_grad
    times = timing.interleaved(calls, settings.rounds, settings.visit, context)
    medians = times.medians(RELU)
    low, middle, high = quantiles(times.ratios(OURS, RELU), n=4)
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
        spread=(high - low) / middle,
        busy=times.busy,
    )


def backward_alone(y: Tensor, g: Tensor) -> Callable[[], Any]:
    """Return the call that runs the node which made y, for a gradient.

    The engine around it takes 10 microseconds, whatever the function.
    """
    node: Any = y.grad_fn
    return partial(node if callable(node) else node.apply, g)  # .apply: torch.compile's own


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
        if x.numel() < INTO_EXISTING:
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
        return backward_alone(y, g)
    g = g.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(y, x, g, create_graph=True)
    # With the engine: PyTorch's Softplus runs several nodes here.
    return partial(torch.autograd.grad, gradient, (g, x), gg, retain_graph=True)
