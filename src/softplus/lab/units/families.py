"""The activations that are watched, and the layers whose outputs are units."""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

import softplus

# Arguments of activations that say where the result goes.
WRITING = {"input", "inplace", "out"}


class Family(NamedTuple):
    """An activation: its name, a function that is not in place, and how its derivative goes.

    One whose derivative never falls has its steepest slope at the largest input.
    """

    name: str
    function: Callable[..., Tensor]
    rising: bool = False


RELU = Family("relu", torch.relu, rising=True)
_LEAKY_RELU = Family("leaky_relu", functional.leaky_relu, rising=True)
_SOFTPLUS = Family("softplus", functional.softplus, rising=True)
_ELU = Family("elu", functional.elu)

# By the function that Python calls; a call of a module ends in one of them.
FAMILIES: dict[Any, Family] = {
    **dict.fromkeys((functional.relu, torch.relu, torch.relu_, Tensor.relu, Tensor.relu_), RELU),
    **dict.fromkeys((functional.leaky_relu, functional.leaky_relu_), _LEAKY_RELU),
    **dict.fromkeys((functional.elu, functional.elu_), _ELU),
    functional.softplus: _SOFTPLUS,
    softplus.softplus: _SOFTPLUS._replace(function=softplus.softplus),
    softplus.shifted_softplus: Family("shifted_softplus", softplus.shifted_softplus, rising=True),
    **{
        function: Family(function.__name__, function)
        for function in (
            functional.celu,
            functional.selu,
            functional.gelu,
            functional.silu,
            functional.mish,
            functional.hardswish,
            functional.hardtanh,
            functional.relu6,
        )
    },
}

# What makes units, and where their axis is, counted from the end.
UNIT_AXES: dict[Callable[..., Tensor], int] = {
    **dict.fromkeys(
        (functional.linear, functional.bilinear, torch.matmul, Tensor.matmul, Tensor.__matmul__), -1
    ),
    **dict.fromkeys((torch.mm, Tensor.mm, torch.bmm, torch.addmm, torch.baddbmm), -1),
    **dict.fromkeys((functional.layer_norm, functional.rms_norm), -1),
    **dict.fromkeys((functional.conv1d, functional.conv_transpose1d), -2),
    **dict.fromkeys((functional.conv2d, functional.conv_transpose2d), -3),
    **dict.fromkeys((functional.conv3d, functional.conv_transpose3d), -4),
}
# Their axis is the second one.
CHANNEL_NORMS = {functional.batch_norm, functional.group_norm, functional.instance_norm}
