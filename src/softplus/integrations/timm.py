"""The names of this package's activations in timm."""

import math
from functools import partial

from torch import Tensor

from softplus import functional
from softplus.integrations import ACTIVATIONS

try:
    from timm.layers import create_act
except ImportError:
    raise ImportError(
        "softplus.integrations.timm is for timm, which is not installed: pip install timm"
    ) from None


def register_activations() -> None:
    """Let timm's models take "softplus", "shifted_softplus" and "logsigmoid" as `act_layer`.

    >>> import timm
    >>> register_activations()
    >>> timm.create_model("resnet18", act_layer="softplus").act1
    Softplus(beta=1, inplace=True)

    They are then known to `timm.layers.create_act_layer`, `get_act_layer` and `get_act_fn` too, in
    this process; calling it again changes nothing. timm has no such names, and no public way to add
    one: these go into the tables of `timm.layers.create_act`. With another beta give a model
    the class instead, `act_layer=functools.partial(Softplus, beta=10)`.

    The functions of `get_act_fn` keep their input for backward: timm's `GammaAct` changes the
    result in place.
    """
    create_act._ACT_LAYER_DEFAULT.update(ACTIVATIONS)  # noqa: SLF001 -- there is no public way
    create_act._ACT_FN_DEFAULT.update(  # noqa: SLF001
        softplus=partial(functional.softplus, threshold=math.inf),
        shifted_softplus=_shifted_softplus,
        logsigmoid=partial(functional.softplus, beta=-1.0, threshold=math.inf),
    )


def _shifted_softplus(input: Tensor, inplace: bool = False) -> Tensor:  # noqa: ARG001 -- timm's signature
    return functional.shifted_softplus(input)
