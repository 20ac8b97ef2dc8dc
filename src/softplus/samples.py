"""A run of a model on a sample that leaves no trace, and how far two of its outputs lie apart."""

import copy
import dataclasses
import sys
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

_T = TypeVar("_T")


def evaluation_copy(model: nn.Module) -> nn.Module:
    """Return a copy of a model that samples may run through, in evaluation mode."""
    return copied(model).eval()


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Have a model in evaluation mode, and each of its modules as it was afterwards."""
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True


def copied(thing: _T) -> _T:
    """Return a deep copy, of what autograd has computed too: a module may keep such a tensor."""
    with _Cloning():
        return copy.deepcopy(thing)


def run(model: nn.Module, sample: Any) -> Any:
    """Return what a model makes of a sample.

    A mapping (a dict, a tokenizer's output) holds keyword arguments, a tuple (a named one too)
    positional ones; anything else, a list for one, is the only argument. The model gets a copy,
    for it may write into it, and runs as written: torch.compile stands aside. What it draws at
    random it draws again in the next run, and the generators stay as they are. Whether autograd
    records is the caller's choice, for a model may differentiate inside.
    """
    sample = copied(sample)
    devices = {each.device for each in model.parameters() if each.is_cuda}
    with uncompiled(), torch.random.fork_rng(devices):
        if isinstance(sample, Mapping):
            return model(**sample)
        return model(*sample) if isinstance(sample, tuple) else model(sample)


def tensors(output: Any) -> Iterator[Tensor]:
    """Yield the tensors of an output that hold fractions, complex ones as pairs.

    They may lie in a mapping, a list, a tuple or a dataclass, and those in others.
    """
    if isinstance(output, Tensor):
        if output.is_complex():
            yield torch.view_as_real(output.resolve_conj())
        elif output.is_floating_point():
            yield output
    elif isinstance(output, Mapping):
        yield from tensors(list(output.values()))
    elif isinstance(output, (list, tuple)):
        for part in output:
            yield from tensors(part)
    elif dataclasses.is_dataclass(output):
        yield from tensors([getattr(output, each.name) for each in dataclasses.fields(output)])


def largest_difference(first: Any, second: Any) -> float | None:
    """Return the largest difference between the floating-point tensors of two outputs.

    What is equal differs by 0, infinities and NaN too; a NaN on one side alone makes it NaN; other
    numbers or shapes of tensors make it infinite. None where neither output has such tensors.
    """
    ours, theirs = list(tensors(first)), list(tensors(second))
    if [tensor.shape for tensor in ours] != [tensor.shape for tensor in theirs]:
        return float("inf")
    sizes = [difference(one, other) for one, other in zip(ours, theirs, strict=True)]
    return float(torch.tensor(sizes, dtype=torch.float64).max()) if sizes else None


def difference(first: Tensor, second: Tensor) -> float:
    """Return the largest difference between the elements of two tensors, as the above has it."""
    one, other = first.detach().cpu().double(), second.detach().cpu().double()
    same = (one == other) | (one.isnan() & other.isnan())
    sizes = (one - other).abs().masked_fill(same, 0.0)
    return float(sizes.max()) if sizes.numel() else 0.0


class _Cloning(TorchFunctionMode):
    """Has deepcopy clone tensors, which refuses those that autograd has computed."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        del types
        if func is Tensor.__deepcopy__ and not args[0].is_leaf:
            return args[0].detach().clone().requires_grad_().clone()
        return func(*args, **(kwargs or {}))


def uncompiled() -> AbstractContextManager[None]:
    """Have compiled modules run as written."""
    # Loading the compiler takes seconds; where it is not loaded nothing is compiled.
    if "torch._dynamo" not in sys.modules:
        return nullcontext()
    stance: AbstractContextManager[None] = torch.compiler.set_stance("force_eager")
    return stance
