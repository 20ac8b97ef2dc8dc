"""What runs where the C++ entry leaves a call: an operator node, PyTorch's own, the definition."""

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.compiler import is_dynamo_compiling, is_exporting
from torch.nn import Parameter, functional

from softplus.ops import cpu, definition, operators  # noqa: F401 -- registers them


def softplus(input: Tensor, beta: float | Tensor = 1.0, threshold: float | None = None) -> Tensor:
    """Return softplus of a checked call."""
    if threshold is None or threshold >= definition.EXACT_THRESHOLD:
        # Above 50 x and softplus(x) are the same number in every dtype, and e^50 overflows in none
        # of those that PyTorch computes in: with this threshold its operator is exact. Written
        # here, for with dynamic=True torch.compile takes a module's float for a variable.
        threshold = 50.0
    if is_exporting():
        return _standard(input, beta, threshold)
    if _compiled_for_cpu(input, beta) and _constant(threshold):
        result: Tensor
        if _constant(beta):
            result = torch.ops.softplus.forward(input, beta, threshold)
        else:
            variable = torch.ones((), dtype=torch.float64, device="cpu") * beta
            result = torch.ops.softplus.forward_at(input, variable, threshold)
        return result
    return definition.softplus(_under_autocast(input), beta, threshold)


def _standard(input: Tensor, beta: float | Tensor, threshold: float) -> Tensor:
    """Return softplus by PyTorch's operator alone: a deployed model does not need this package.

    In float32 for half types, for ONNX rounds after every step: to 1.3 ULP in place of 0.5.
    """
    x, beta = definition.computing(input, beta)
    if isinstance(beta, Tensor):
        u = x * beta
        y = torch.where(u > threshold, x, functional.softplus(u, 1.0, threshold) / beta)
    else:
        y = functional.softplus(x, beta, threshold)
    return y.to(input.dtype)


def shifted_softplus(
    input: Tensor, beta: float | Tensor = 1.0, shift: float | Tensor | None = None
) -> Tensor:
    """Return shifted_softplus of a checked call."""
    if _compiled_for_cpu(input, beta) and _constant(beta) and _constant(shift):
        result: Tensor = torch.ops.softplus.shifted(input, beta, shift)
        return result
    return definition.shifted_softplus(_under_autocast(input), beta, shift)


def inverse_softplus(input: Tensor, beta: float | Tensor = 1.0) -> Tensor:
    """Return inverse_softplus of a checked call."""
    return definition.inverse_softplus(_under_autocast(input), beta)


def _under_autocast(input: Tensor) -> Tensor:
    """Return the input as PyTorch's autocast gives it to softplus: on accelerators in float32."""
    device = input.device.type
    if device in ("cpu", "meta") or input.dtype == torch.float64:
        return input
    autocast = torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device)
    return input.float() if autocast else input


def _compiled_for_cpu(input: Tensor, beta: float | Tensor) -> bool:
    """Whether torch.compile traces a CPU call that the kernels serve as one node.

    Inductor's own code for the definition takes as long as eager: 98 against 90 microseconds at
    65,536 elements.
    """
    return (
        is_dynamo_compiling()
        and not is_exporting()
        and cpu.entry_absent is None
        and input.device.type == "cpu"
        and not isinstance(beta, Tensor)
        and 2.0**-60 <= abs(beta) <= 2.0**60  # ordinary_beta in operators.h
        # A subclass, as DTensor, has rules for PyTorch's operators alone, and a tangent would be
        # lost in the kernels.
        and type(input) in (Tensor, Parameter)
        and forward_ad._current_level < 0  # noqa: SLF001 -- the level has no public name
    )


def _constant(value: float | Tensor | None) -> bool:
    """Whether torch.compile takes this for a constant, as it does a number until it changes."""
    if isinstance(value, Tensor):
        return False
    return value is None or torch.fx.experimental.symbolic_shapes.has_static_value(value)
