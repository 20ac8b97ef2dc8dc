"""What runs where the entry leaves a call: an operator, PyTorch's own softplus, the definition."""

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.compiler import is_dynamo_compiling, is_exporting
from torch.nn import Parameter

from softplus.ops import cpu, definition, entry, sharding, standard
from softplus.ops.definition import EXACT_THRESHOLD
from softplus.ops.entry import LEAST_BETA, MOST_BETA
from softplus.ops.plain import is_ordinary, under_transform

# PyTorch's own wrappers of tensors for which the operators have rules.
_WRAPPERS = ("FakeTensor", "FunctionalTensor", "DTensor")


def softplus(input: Tensor, beta: float | Tensor = 1.0, threshold: float | None = None) -> Tensor:
    """Return softplus of a checked call."""
    limit = _limit(threshold)
    if is_exporting() or _is_traced():
        return standard.deployed(input, beta, limit)
    if isinstance(beta, Tensor):
        return _each(input, beta, limit, shifted=False)
    result: Tensor
    if _compiled_for_cpu(input, beta) and _constant(threshold):
        if _constant(beta):
            result = torch.ops.softplus.forward(input, beta, limit)
        else:
            variable = torch.ones((), dtype=torch.float64, device="cpu") * beta
            result = torch.ops.softplus.forward_at(input, variable, limit)
        return result
    if not LEAST_BETA <= abs(beta) <= MOST_BETA:
        return definition.softplus(_under_autocast(input), beta, limit)
    if _runs_operators(input):
        result = torch.ops.softplus.forward(input, beta, limit)
        return result
    return standard.softplus(input, beta, limit)


def _limit(threshold: float | None) -> float:
    """Return the threshold as the operators and PyTorch's own take it: the exact function's is 50.

    Written here, for with dynamic=True torch.compile takes a module's float for a variable.
    """
    return 50.0 if threshold is None or threshold >= EXACT_THRESHOLD else float(threshold)


def _each(input: Tensor, beta: Tensor, threshold: float, *, shifted: bool) -> Tensor:
    """Return softplus with a tensor as beta, less ln2/beta where `shifted`."""
    plain = entry.each(input, beta, threshold, shifted)
    if plain is not None:
        return plain
    if _runs_operators(input) and type(input) is type(beta):
        x, b = torch.broadcast_tensors(input, beta.to(torch.float64))
        x = input if x.shape == input.shape else x
        result: Tensor = torch.ops.softplus.forward_each(x, b, threshold, shifted)
        return result
    input = _under_autocast(input)
    if shifted:
        return definition.shifted_softplus(input, beta)
    return definition.softplus(input, beta, threshold)


def shifted_softplus(
    input: Tensor, beta: float | Tensor = 1.0, shift: float | Tensor | None = None
) -> Tensor:
    """Return shifted_softplus of a checked call."""
    if _compiled_for_cpu(input, beta) and _constant(beta) and _constant(shift):
        result: Tensor = torch.ops.softplus.shifted(input, beta, shift)
        return result
    if is_exporting() or _is_traced() or is_dynamo_compiling() or isinstance(shift, Tensor):
        return definition.shifted_softplus(_under_autocast(input), beta, shift)
    if isinstance(beta, Tensor):
        if shift is None:
            return _each(input, beta, EXACT_THRESHOLD, shifted=True)
        x, _ = definition.computing(input, beta)  # half types are rounded once, after all
        return (_each(x, beta, EXACT_THRESHOLD, shifted=False) - shift).to(input.dtype)
    if LEAST_BETA <= abs(beta) <= MOST_BETA:
        if _runs_operators(input):
            result = torch.ops.softplus.shifted(input, beta, shift)
            return result
        if shift is not None:
            return standard.shifted_softplus(_under_autocast(input), beta, shift)
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


def _is_traced() -> bool:
    tracing: bool = torch.jit.is_tracing()  # type: ignore[attr-defined,no-untyped-call]
    return tracing


def _runs_operators(input: Tensor) -> bool:
    """Whether the operators serve an eager call: on the CPU, of a tensor that they have rules for.

    At a level of torch.func, and with tangents, PyTorch's own softplus costs no more than itself.
    """
    if cpu.absent is not None or is_dynamo_compiling() or under_transform():
        return False
    if input.device.type != "cpu":
        return False
    if is_ordinary(input):
        return input.numel() > 0  # an empty result has the strides that PyTorch gives it
    kind = type(input)
    if kind.__name__ == "DTensor":
        sharding.register()
    return kind.__name__ in _WRAPPERS and kind.__module__.startswith("torch.")


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
        and LEAST_BETA <= abs(beta) <= MOST_BETA
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
