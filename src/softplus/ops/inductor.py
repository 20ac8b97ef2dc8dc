"""What Inductor, the backend of torch.compile, knows of the operators beyond results' shapes.

In a graph an operator is a node that calls a kernel. The `score_mod` of `flex_attention` is no
graph: Inductor writes it into the inner loop of the attention, where nothing can be called, and
asks each operator for its formula. That is the definition's.

On a GPU no operator is a node: Inductor gets the formulas while autograd's graph is cut in two, and
fuses them with what is around. What backward needs is then what it needs of the kernels.
"""

import functools
import hashlib
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, fx

from softplus.ops import definition
from softplus.ops.composed import COMPOSED

_FORMULAS: dict[str, Callable[..., Tensor]] = {
    "forward": definition.softplus,
    "forward_at": definition.softplus,
    "shifted": definition.shifted_softplus,
    "inverse": definition.inverse_softplus,
    "forward_each": COMPOSED["forward_each"],
}


_ON_GPU: dict[str, Callable[..., Any]] = {
    "forward": definition.softplus,
    "backward": definition.backward,
    "double_backward": COMPOSED["double_backward"],
}


def with_rules(fake: Callable[..., Any]) -> Callable[..., Any]:
    """Return the fake of an operator that first tells Inductor, where it is loaded, the rules.

    A compiler calls an operator's fake before it does anything else with it. So `import softplus`
    loads no compiler, and none comes to compile an operator without its rules.
    """

    @functools.wraps(fake)
    def telling(*arguments: Any) -> Any:
        if "torch._inductor.config" in sys.modules:
            _key_caches()
        if "torch._inductor.lowering" in sys.modules:
            _register_formulas()
        return fake(*arguments)

    return telling


@functools.cache
def _key_caches() -> None:
    """Put the sources of the rules into the keys of the caches on disk.

    Of an operator these see its name alone: they would serve what an earlier version compiled.
    """
    sources = sorted(Path(__file__).parent.rglob("*.py"))
    key = hashlib.sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()
    config: Any = torch._inductor.config  # noqa: SLF001 -- Inductor's settings, documented so
    # A setting for a user's own functions: whatever it holds is a part of every key.
    config.unsafe_marked_cacheable_functions = {
        **config.unsafe_marked_cacheable_functions,
        "torch.ops.softplus": key,
    }


@functools.cache
def _register_formulas() -> None:
    import_module("torch._inductor.subgraph_lowering")  # which Inductor loads late
    decomposition: Any = torch._inductor.decomposition  # noqa: SLF001
    for name, formula in _ON_GPU.items():
        operator = getattr(torch.ops.softplus, name).default
        decomposition.decompositions[operator] = functools.partial(_decompose, formula)
    decomposition.fast_random_decomps.cache_clear()  # a copy of the table
    lowering: Any = torch._inductor.lowering  # noqa: SLF001 -- there is no public name for this
    for name in _FORMULAS | _ON_GPU:
        operator = getattr(torch.ops.softplus, name).default
        # In a graph what Inductor makes of any operator: a node, on memory laid out as in eager.
        strides = lowering.get_layout_constraint_tag(operator, with_default=True)
        constraint = lowering.tag_to_layout_constraint(strides)
        lowering.make_fallback(operator, constraint, override_decomp=True)
        if name in _FORMULAS:
            lower = functools.partial(_lower, lowering.lowerings[operator], _FORMULAS[name])
            lowering.lowerings[operator] = lower


def _decompose(formula: Callable[..., Any], *arguments: Any) -> Any:
    """Return a call on a GPU as its formula; any other stays an operator."""
    return formula(*arguments) if _on_gpu(arguments[0]) else NotImplemented


def _on_gpu(tensor: Tensor) -> bool:
    return tensor.is_cuda


def _lower(node: Callable[..., Any], formula: Callable[..., Tensor], *arguments: Any) -> Any:
    """Return Inductor's code for a call: the node or, where nothing can be called, the formula."""
    inductor: Any = torch._inductor  # noqa: SLF001
    if not isinstance(
        inductor.virtualized.V.graph, inductor.subgraph_lowering.PointwiseSubgraphLowering
    ):
        return node(*arguments)
    numbers = [
        torch.empty((), dtype=each.get_dtype()) if isinstance(each, inductor.ir.IRNode) else each
        for each in arguments
    ]
    decompositions = inductor.decomposition.select_decomp_table()
    graph = torch.fx.experimental.proxy_tensor.make_fx(formula, decompositions)(*numbers)
    return _Lowering(graph).run(*arguments)


class _Lowering(fx.Interpreter):
    """Runs a graph on Inductor's code for tensors in place of tensors."""

    def call_function(self, target: Any, args: Any, kwargs: Any) -> Any:
        lowerings: Any = torch._inductor.lowering.lowerings  # noqa: SLF001
        return lowerings[target](*args, **kwargs)
