"""A model converted, and what it then computes compared with what it did: operator by operator."""

import io
import pickle
from collections import Counter
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from softplus import convert


class Operators(TorchDispatchMode):
    """Counts the operators that run, those in place with the others."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        del types
        self.counts[func.overloadpacket.__name__.rstrip("_")] += 1
        return func(*args, **(kwargs or {}))

    @property
    def relus(self) -> int:
        return self.counts["relu"]

    @property
    def clamps(self) -> int:
        return sum(self.counts[name] for name in ("clamp", "clamp_min", "clamp_max"))


class Again(nn.Module):
    """ReLU by other operators, so that every `relu` still seen is one that was left."""

    calls = 0

    def forward(self, x: Tensor) -> Tensor:
        Again.calls += 1
        return torch.where(x > 0, x, 0)


def run(model: nn.Module, *inputs: Any) -> tuple[list[Tensor], Operators]:
    """Return the tensors that a model puts out in eval mode, and the operators it ran.

    Gradients are on: without them PyTorch's encoder layers run as one operator.
    """
    torch.manual_seed(0)
    with Operators() as operators:
        output = model.eval()(*inputs)
    tensors = [leaf.detach() for leaf in tree_leaves(output) if isinstance(leaf, Tensor)]
    return tensors, operators


def check(
    model: nn.Module, *inputs: Any, relus: int | None = None, sample: Any = None
) -> nn.Module:
    """Return the model with `Again` for ReLU, having checked that it is for every one and no clamp.

    `relus` is how many there are, one at least.
    """
    outputs, before = run(model, *inputs)
    assert before.relus == relus if relus is not None else before.relus > 0
    converted = convert(model, {"relu": Again()}, sample=sample)
    Again.calls = 0
    found, after = run(converted, *inputs)
    assert after.relus == 0
    assert Again.calls == before.relus
    assert after.clamps == before.clamps
    torch.testing.assert_close(found, outputs, rtol=0, atol=0)
    for site in converted.conversion.sites:
        assert any(isinstance(each, Again) for each in converted.get_submodule(site.name).modules())
    return converted


def pickled(model: nn.Module) -> nn.Module:
    """Return the copy that a pickle gives."""
    copied: nn.Module = pickle.loads(pickle.dumps(model))  # noqa: S301 -- our own
    return copied


def saved(model: nn.Module) -> nn.Module:
    """Return the copy that `torch.save` and `torch.load` give."""
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    loaded: nn.Module = torch.load(file, weights_only=False)
    return loaded


def image(size: int = 64) -> Tensor:
    """Return two pictures of noise."""
    return torch.rand(2, 3, size, size, generator=torch.Generator().manual_seed(0))
