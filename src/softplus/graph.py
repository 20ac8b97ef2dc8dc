"""What `torch.fx` shows of a model: its calls in order, and the modules that they call."""

from typing import Any

from torch import fx, nn

from softplus import arguments, modules, samples

# The layers with a weight and a bias that the tools above understand; torch.fx looks into any
# subclass that is not PyTorch's own.
LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
ACTIVATIONS = (modules.Softplus, modules.ShiftedSoftplus)
# What a model may ask of a signal without reading it.
_NO_DATA = {"size", "dim", "shape", "ndim", "device", "dtype"}


class _Tracer(fx.Tracer):
    """Takes an activation of this package for a single call."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return isinstance(m, ACTIVATIONS) or super().is_leaf_module(m, module_qualified_name)


def calls(model: nn.Module) -> dict[fx.Node, Any]:
    """Return the nodes of a model's graph, each with the module that it calls or reads, if any.

    Raises:
        TypeError: `model` is no module.
        ValueError: torch.fx cannot trace it.
    """
    arguments.check_model(model)
    called = dict(model.named_modules(remove_duplicate=False))
    try:
        # A copy: the model's code may keep a proxy in an attribute.
        nodes = _Tracer().trace(samples.copied(model)).nodes
    except Exception as error:  # the model's own code runs with proxies and raises anything
        raise ValueError(
            f"the calls of {type(model).__name__} cannot be traced: pass a part of it whose "
            f"forward pass does not depend on values ({error})"
        ) from error
    paths = {
        "call_module": lambda node: node.target,
        "get_attr": lambda node: node.target.rpartition(".")[0],
    }
    return {node: called[paths[node.op](node)] if node.op in paths else None for node in nodes}


def reads_no_data(node: fx.Node) -> bool:
    """Whether a node asks for a shape, device or dtype and not for values."""
    if node.op == "call_method":
        return node.target in _NO_DATA
    return node.target is getattr and node.args[1] in _NO_DATA
