"""Betas: the smallest ones that keep close enough to ReLU on a sample.

Softplus exceeds ReLU by ln(1 + e^(-beta·|x|)) / beta: at most by ln2/beta, less for larger beta and
|x|. Shifted by ln2/beta it stays below by ln2/beta minus that, which is most for the largest |x|.
"""

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from softplus import samples
from softplus.conversion.replacements import InPlace
from softplus.modules import Softplus

Modules = Mapping[str, nn.Module]

# Where a sample has no value near zero, a tiny beta would do for it and for nothing else.
_LEAST_SHARE = 1e-3
# What the rounding of the model's own type may take of a tolerance.
_ROUNDING_SHARE = 1e-3
# Sites that run once settle in the first run; others rise from run to run, less each time.
_RUNS = 10


def present_betas(modules: Modules) -> dict[str, float | list[float]]:
    """Return the beta of each module that has one; of a learnable one, its present value."""
    found: dict[str, float | list[float]] = {}
    for name, module in modules.items():
        beta = getattr(_inner(module), "beta", None)
        if isinstance(beta, Tensor) and not beta.is_meta:
            found[name] = beta.squeeze().tolist()
        elif isinstance(beta, (int, float)):
            found[name] = beta
    return found


def set_beta(module: nn.Module, beta: float) -> None:
    """Set the beta of a Softplus, learnable or not."""
    module = _inner(module)
    if isinstance(module.raw_beta, Tensor):
        learnable: Any = Softplus(beta, learnable=True)
        with torch.no_grad():
            module.raw_beta.copy_(learnable.raw_beta)
    else:
        module.beta = beta  # type: ignore[assignment]  # no submodule


def choose(model: nn.Module, modules: Modules, sample: Any, tolerance: float) -> dict[str, float]:
    """Give each module the smallest beta that keeps its output within the tolerance of ReLU's.

    One that the sample does not reach, or that does not settle, gets ln2/tolerance: always enough.
    """
    tolerance *= 1 - _ROUNDING_SHARE
    sure = math.log(2) / tolerance
    chosen = dict.fromkeys(modules, 0.0)
    risen: set[str] = set()

    def raise_beta(name: str, input: Tensor) -> None:
        beta = _smallest_beta(_inner(modules[name]), input, tolerance, sure)
        if beta > chosen[name]:
            chosen[name] = beta
            risen.add(name)
            set_beta(modules[name], beta)

    for _ in range(_RUNS):
        risen.clear()
        watch(model, modules, sample, raise_beta)
        if not risen:
            break
    for name, beta in chosen.items():
        if name in risen or beta == 0:
            chosen[name] = sure
            set_beta(modules[name], sure)
    return chosen


def _inner(module: nn.Module) -> nn.Module:
    return module.module if isinstance(module, InPlace) else module


def _smallest_beta(module: nn.Module, input: Tensor, tolerance: float, sure: float) -> float:
    """Return the smallest beta that holds for these inputs, 0 if there are none."""
    sizes = input.detach().abs().double()
    sizes = sizes[sizes.isfinite()]
    if not len(sizes):
        return 0.0
    ends = torch.stack([sizes.min(), sizes.max(), -sizes.min(), -sizes.max()]).cpu()

    def holds(beta: float) -> bool:
        options = {"threshold": module.threshold} if isinstance(module, Softplus) else {}
        new: Tensor = type(module)(beta, **options)(ends)
        return samples.difference(new, ends.relu()) <= tolerance

    low, high = _LEAST_SHARE * sure, sure
    if holds(low):
        return low
    while high / low > 1 + _ROUNDING_SHARE:
        middle = math.sqrt(low * high)
        low, high = (low, middle) if holds(middle) else (middle, high)
    return high


def watch(
    model: nn.Module, modules: Modules, sample: Any, look: Callable[[str, Tensor], None]
) -> Any:
    """Run a model on a sample, show what each module receives, and return the output.

    Raises:
        TypeError: A site gets more than its input.
    """

    @torch.no_grad()
    def hook(name: str, _: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        (received, *more) = (*args, *kwargs.values())
        if more:
            raise TypeError(
                f"the function that {name!r} stands for is called with more than its input, such "
                "as inplace=True, which a module does not take: drop that, or exclude the site"
            )
        look(name, received)

    handles = [
        module.register_forward_pre_hook(partial(hook, name), with_kwargs=True)
        for name, module in modules.items()
    ]
    try:
        return samples.run(model, sample)
    finally:
        for handle in handles:
            handle.remove()
