"""A converted model on a sample: its betas, its distance from the original, what is left."""

import ast
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from softplus import functional, samples
from softplus.conversion import betas, counting
from softplus.conversion.sites import Found, Kind, Site

Original = Callable[[Tensor], Tensor]
# The betas that a tolerance takes; the differences of the sites; of the output; what is left.
Measured = tuple[dict[str, float], dict[str, float], float | None, list[Site]]


def measure(
    model: nn.Module,
    copied: nn.Module,
    modules: betas.Modules,
    sample: Any,
    tolerance: float | None,
    *,
    chosen: list[Found],
    others: list[Found],
) -> Measured:
    """Run a model and a copy, which has the modules at the chosen sites, on a sample."""
    before = samples.run(samples.evaluation_copy(model), sample)
    chosen_betas = {} if tolerance is None else betas.choose(copied, modules, sample, tolerance)
    after, differences = _compare(copied, modules, _originals(model, chosen), sample)
    families = {each.family for each in chosen}
    left = counting.remaining(copied, sample, families, replaced=chosen, known=others)
    return chosen_betas, differences, samples.largest_difference(before, after), left


def _originals(model: nn.Module, chosen: list[Found]) -> dict[str, Original]:
    """Return what each site computes before it is replaced, where that is fixed."""
    originals: dict[str, Original] = {}
    for each in chosen:
        name, options = each.call.spelling.name, each.call.options
        if each.kind is Kind.MODULE:
            # Not the module itself, whose hooks would run.
            originals[each.name] = model.get_submodule(each.name).forward
        elif not any(isinstance(value, ast.AST) for value in options.values()):
            homes = (functional, nn.functional, torch)
            function = next(getattr(home, name) for home in homes if hasattr(home, name))
            originals[each.name] = partial(function, **options)
    return originals


def _compare(
    model: nn.Module, modules: betas.Modules, originals: Mapping[str, Original], sample: Any
) -> tuple[Any, dict[str, float]]:
    """Return the output on a sample, and the largest difference of each module from its original.

    The latter on what it receives there; a module that the sample does not reach has none.
    """
    largest: dict[str, float] = {}

    def look(name: str, input: Tensor) -> None:
        new, old = modules[name].forward(input.clone()), originals[name](input.clone())
        largest[name] = max(largest.get(name, 0.0), samples.difference(new, old))

    compared = {name: module for name, module in modules.items() if name in originals}
    return betas.watch(model, compared, sample, look), largest
