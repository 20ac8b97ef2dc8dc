"""Folding a shift: what a layer behind the activation subtracts, its bias can."""

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import fx, nn

from softplus import graph
from softplus.modules import ShiftedSoftplus

# What may stand between: what is done to x, done to x - c, gives the same minus c.
_CONSTANT_KEEPING = (
    *(nn.Identity, nn.Flatten, nn.Unflatten, nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d),
    *(nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d),
    *(nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d),
)
_CALLS = {torch.flatten, "flatten", "reshape", "view"}


def fold_shifts(model: nn.Module, activations: Mapping[str, Any]) -> None:
    """Subtract the shift of every ShiftedSoftplus in the bias of the layers that it feeds.

    Raises:
        ValueError: A shift of the user's cannot be folded; the message says why.
    """
    shifted = {n: module for n, module in activations.items() if type(module) is ShiftedSoftplus}
    if not shifted:
        return
    try:
        calls = graph.calls(model)
    except ValueError:  # no call is then known, which is what the errors below say
        calls = {}
    for name, module in shifted.items():
        if module.shift is None and module.num_parameters > 1:
            continue  # a default shift for each channel; left out, as the bound allows
        try:
            layers = _layers_fed_by(module, calls)
        except ValueError as error:
            if module.shift is None:
                continue  # left out, as the bound allows
            raise ValueError(
                f"the shift={module.shift:g} of {name} cannot be folded: {error}; have it feed "
                "Linear layers or convolutions without zero padding alone, or use shift=None, "
                "which vanishes as beta grows"
            ) from None
        shift = math.log(2) / smallest_beta(module) if module.shift is None else module.shift
        for layer in layers:
            _fold(shift, layer)


def smallest_beta(module: Any) -> float:
    """Return the smallest beta of a Softplus, learnable or not."""
    return float(torch.as_tensor(module.beta).detach().min())


def _layers_fed_by(module: nn.Module, calls: dict[fx.Node, nn.Module | None]) -> set[Any]:
    """Return the layers that the module feeds, and that nothing else does."""
    ahead = [node for node, called in calls.items() if called is module]
    if not ahead:
        raise ValueError(
            "torch.fx, which shows where it goes, meets no call of it (control flow that depends "
            "on data and PyTorch's own compound modules hide calls)"
        )
    if module.inplace and any(len(node.all_input_nodes[0].users) > 1 for node in ahead):
        raise ValueError("it works in place, and what it writes over is used elsewhere too")
    reached = set()
    while ahead:
        for user in ahead.pop().users:
            layer = calls[user]
            if isinstance(layer, graph.LAYERS):
                _check_takes_constant(user, layer)
                reached.add(user)
            elif isinstance(layer, _CONSTANT_KEEPING) or (layer is None and user.target in _CALLS):
                ahead.append(user)
            elif not graph.reads_no_data(user):
                raise ValueError(f"it goes into {user.target} ({user.op})")
    layers = {calls[user] for user in reached}
    for node, called in calls.items():
        if called in layers and node not in reached:
            raise ValueError(f"{node.target}, which it goes into, is used on something else too")
    return layers


def _check_takes_constant(node: fx.Node, layer: nn.Module) -> None:
    padding = getattr(layer, "padding", "valid")
    if padding != "valid" and any(padding) and layer.padding_mode == "zeros":
        raise ValueError(
            f"the zeros with which {node.target} pads its input (padding={padding}) are not "
            "shifted, so its borders would come out wrong"
        )


def _fold(shift: float, layer: Any) -> None:
    # On the CPU in float64: the sum of a wide layer's weights, and devices without float64.
    weight = layer.weight.detach().cpu().double()
    bias = 0.0 if layer.bias is None else layer.bias.detach().cpu().double()
    folded = (bias - shift * weight.flatten(1).sum(dim=1)).to(layer.weight)
    layer.bias = nn.Parameter(folded, requires_grad=layer.weight.requires_grad)
