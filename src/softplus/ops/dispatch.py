"""What runs where the entry leaves a call: an operator, PyTorch's own softplus, the definition."""

import functools
import math

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.compiler import is_dynamo_compiling, is_exporting
from torch.fx.experimental.proxy_tensor import get_proxy_mode
from torch.nn import Parameter

from softplus.ops import cpu, definition, entry, gradients, sharding, standard, triton
from softplus.ops.definition import EXACT_THRESHOLD
from softplus.ops.entry import is_ordinary_beta
from softplus.ops.operators import beta_dtype, broadcast
from softplus.ops.plain import is_ordinary, under_autocast, under_transform

# PyTorch's own wrappers of tensors for which the operators have rules, and those for which any
# code that computes on tensors has them.
_WITH_RULES = ("FakeTensor", "FunctionalTensor", "DTensor")
_TRANSPARENT = ("FakeTensor", "FunctionalTensor")


def softplus(input: Tensor, beta: float | Tensor = 1.0, threshold: float | None = None) -> Tensor:
    """Return softplus of a checked call."""
    beta = _with_a_value(beta)
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
            variable = _as_tensor(float(beta))
            result = torch.ops.softplus.forward_at(input, variable, limit)
        return result
    # To torch.compile an argument of PyTorch's own is a constant, each value of it another graph.
    varies = is_dynamo_compiling() and not (_constant(beta) and _constant(threshold))
    if varies or not is_ordinary_beta(beta):
        return definition.softplus(_under_autocast(input), beta, limit)
    x = _under_autocast(input)
    if _runs_operators(x) or _compiled_for_gpu(x):
        result = torch.ops.softplus.forward(x, beta, limit)
        return result
    return standard.softplus(input, beta, limit)


def _limit(threshold: float | None) -> float:
    """Return the threshold as the operators take it: the exact function's is 50.

    But infinity: with it they keep the input. Written here, for with dynamic=True torch.compile
    takes a module's float for a variable.
    """
    if threshold is None or EXACT_THRESHOLD <= threshold < math.inf:
        return 50.0
    return float(threshold)


def _each(input: Tensor, beta: Tensor, threshold: float, *, shifted: bool) -> Tensor:
    """Return softplus with a tensor as beta, less ln2/beta where `shifted`."""
    plain = entry.each(input, beta, threshold, shifted)
    if plain is not None:
        return plain
    result: Tensor
    if _compiled_for_cpu(input, beta):
        b = beta.to(beta_dtype(input, beta))
        x, b = torch.broadcast_tensors(input, b)  # type: ignore[no-untyped-call]
        result = torch.ops.softplus.forward_each(x, b, threshold, shifted)
        return result
    x = _under_autocast(input)
    alike = type(x) is type(beta) or (is_ordinary(x) and is_ordinary(beta))
    if _runs_operators(x) and alike and x.device == beta.device:
        operator = torch.ops.softplus.forward_each
        if _is_followed(x):
            result = gradients.each(operator, x, beta, threshold, shifted)
        else:
            result = operator(*broadcast(x, beta), threshold, shifted)
        return result
    if _is_followed(x) and _is_followed(beta):
        return standard.softplus_each(x, beta, threshold, shifted)
    if shifted:
        return definition.shifted_softplus(x, beta)
    return definition.softplus(x, beta, threshold)


def shifted_softplus(
    input: Tensor, beta: float | Tensor = 1.0, shift: float | Tensor | None = None
) -> Tensor:
    """Return shifted_softplus of a checked call."""
    beta = _with_a_value(beta)
    result: Tensor
    if _compiled_for_cpu(input, beta) and _constant(beta) and _constant(shift):
        result = torch.ops.softplus.shifted(input, beta, shift)
        return result
    x = _under_autocast(input)
    if is_exporting() or _is_traced():
        result = definition.shifted_softplus(x, beta, shift)
    elif isinstance(shift, Tensor) or (isinstance(beta, Tensor) and shift is not None):
        wide, _ = definition.computing(x, beta)  # half types are rounded once, after all
        result = definition.less(softplus(wide, beta), shift).to(x.dtype)
    elif isinstance(beta, Tensor):
        return _each(input, beta, EXACT_THRESHOLD, shifted=True)
    elif is_dynamo_compiling() or not is_ordinary_beta(beta):
        result = definition.shifted_softplus(x, beta, shift)
    elif _runs_operators(x):
        result = torch.ops.softplus.shifted(x, beta, shift)
    elif _is_followed(x):
        result = standard.shifted_softplus(x, beta, shift)
    else:
        result = definition.shifted_softplus(x, beta, shift)
    return result


def inverse_softplus(input: Tensor, beta: float | Tensor = 1.0) -> Tensor:
    """Return inverse_softplus of a checked call."""
    beta = _with_a_value(beta)
    x = _under_autocast(input)
    served = not (is_exporting() or _is_traced()) and _runs_operators(x)
    if served and not isinstance(beta, Tensor) and is_ordinary_beta(beta):
        result: Tensor = torch.ops.softplus.inverse(x, beta)
        return result
    return definition.inverse_softplus(x, beta)


def _under_autocast(input: Tensor) -> Tensor:
    """Return the input as PyTorch's autocast gives it to softplus: on accelerators in float32."""
    return input.float() if under_autocast(input) else input


def _is_traced() -> bool:
    return torch._C._get_tracing_state() is not None  # noqa: SLF001 -- torch.jit.is_tracing


def _runs_operators(input: Tensor) -> bool:
    """Whether the operators serve an eager call: by kernels, of a tensor that they have rules for.

    At a level of torch.func, and with tangents, PyTorch's own softplus costs no more than itself.
    """
    if is_dynamo_compiling() or under_transform():
        return False
    if not entry.served(input):
        return False
    if is_ordinary(input):
        return input.numel() > 0  # an empty result has the strides that PyTorch gives it
    if _is_one_of(input, ("DTensor",)):
        sharding.register()
    return _is_one_of(input, _WITH_RULES)


def _is_followed(input: Tensor) -> bool:
    """Whether an autograd function of PyTorch's operators serves an eager call.

    Not under make_fx: it records the operators in place of the function, whose backward is lost.
    """
    if is_dynamo_compiling() or under_transform() or get_proxy_mode():
        return False
    return is_ordinary(input) or _is_one_of(input, _TRANSPARENT)


def _is_one_of(input: Tensor, names: tuple[str, ...]) -> bool:
    return _name_in_torch(type(input)) in names


@functools.cache
def _name_in_torch(kind: type) -> str:
    """Return the name of one of PyTorch's classes, nothing of any other."""
    return kind.__name__ if kind.__module__.startswith("torch.") else ""


def _compiled_for_cpu(input: Tensor, beta: float | Tensor) -> bool:
    """Whether torch.compile traces a CPU call that the kernels serve as one node.

    Inductor's own code for the definition takes as long as eager: 98 against 90 microseconds at
    65,536 elements, and with a tensor as beta twice what the one-liner takes.
    """
    return (
        is_dynamo_compiling()
        and not is_exporting()
        and cpu.absent is None
        and _is_plain_on_cpu(input)
        and (_is_plain_on_cpu(beta) if isinstance(beta, Tensor) else is_ordinary_beta(beta))
        # A tangent would be lost in the kernels.
        and forward_ad._current_level < 0  # noqa: SLF001 -- the level has no public name
    )


def _is_plain_on_cpu(tensor: Tensor) -> bool:
    # A subclass, as DTensor, has rules for PyTorch's operators alone.
    return tensor.device.type == "cpu" and type(tensor) in (Tensor, Parameter)


def _compiled_for_gpu(input: Tensor) -> bool:
    """Whether torch.compile traces a call on a GPU, which is to keep what the kernels keep.

    Inductor fuses it; another backend's code calls the kernels.
    """
    return (
        is_dynamo_compiling()
        and not is_exporting()
        and triton.POSSIBLE
        and input.is_cuda
        and type(input) in (Tensor, Parameter)
        and forward_ad._current_level < 0  # noqa: SLF001 -- the level has no public name
    )


def _with_a_value(beta: float | Tensor) -> float | Tensor:
    """Return beta, as a tensor where it is a number that has no value yet."""
    if is_dynamo_compiling() and not isinstance(beta, Tensor) and has_no_value_yet(beta):
        return _as_tensor(beta)
    return beta


def has_no_value_yet(number: float) -> bool:
    """Whether torch.compile traces a number that only a run will know: the .item() of a tensor."""
    if _constant(number):
        return False
    shapes = torch.fx.experimental.symbolic_shapes
    positive = abs(number) > 0
    return shapes.guard_or_true(positive) and not shapes.guard_or_false(positive)


def _as_tensor(beta: float) -> Tensor:
    return torch.ones((), dtype=torch.float64, device="cpu") * beta


def _constant(value: float | Tensor | None) -> bool:
    """Whether torch.compile takes this for a constant, as it does a number until it changes."""
    if isinstance(value, Tensor):
        return False
    return value is None or torch.fx.experimental.symbolic_shapes.has_static_value(value)
