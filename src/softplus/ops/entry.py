"""The entry to plain eager calls: the C++ one, or where it is absent its counterpart in Python.

Each function returns None where a call is not its own: `softplus.ops.dispatch` has it then, once
its arguments are checked.
"""

import math
from collections.abc import Callable
from numbers import Real
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import increment_version
from torch.compiler import is_exporting
from torch.nn import functional
from torch.overrides import has_torch_function_unary

from softplus.ops import cpu, gradients, standard, triton
from softplus.ops.composed import exact
from softplus.ops.cpu import calls
from softplus.ops.definition import EXACT_THRESHOLD
from softplus.ops.plain import (
    DTYPES,
    INTEGERS,
    is_dense,
    is_eager,
    is_ordinary,
    records,
    under_autocast,
    under_transform,
)
from softplus.ops.triton import recorded

# Without a public name: PyTorch's softplus with its `out`, and whether torch.jit.trace runs.
_of_pytorch: Callable[..., Tensor] = torch._C._nn.softplus  # noqa: SLF001
_trace = torch._C._get_tracing_state  # noqa: SLF001
_kernels = cpu.absent is None


def is_ordinary_beta(beta: float) -> bool:
    """Whether beta and 1/beta times an ordinary number stay in float32; else the definition minds.

    The limits stand in the code: with dynamic=True torch.compile takes a module's float for a
    variable, which `torch.cond` and its kin refuse.
    """
    return 2.0**-60 <= abs(beta) <= 2.0**60


def _softplus(
    input: Tensor, beta: Any, threshold: Any, inplace: Any, out: Tensor | None
) -> Tensor | None:
    if has_torch_function_unary(input) or not isinstance(input, Tensor):
        return None
    if isinstance(threshold, Tensor):
        return None
    threshold = 50.0 if threshold is None else _number(threshold)
    into = inplace or out is not None
    if type(beta) is not float:
        if isinstance(beta, Tensor) and beta.is_floating_point():
            return None if into else each(input, beta, threshold, False)
        beta = _number(beta)
    if not is_ordinary_beta(beta) or threshold != threshold:  # noqa: PLR0124 -- NaN
        result = None
    elif into:
        result = _softplus_into(input, beta, threshold, inplace, out)
    elif not served(input):
        result = _standard(input, beta, threshold)
    elif is_eager() and is_dense(input):
        result = _by_kernel(input, beta, threshold)
    else:
        result = None
    return result


def _by_kernel(input: Tensor, beta: float, threshold: float) -> Tensor | None:
    if not input.is_cpu:
        return None if under_autocast(input) else recorded.softplus(input, beta, threshold)
    if records(input):
        return gradients.recorded("forward", calls.plain_forward, input, beta, threshold)
    return calls.forward_into(torch.empty_like(input), input, beta, threshold)


def served(input: Tensor) -> bool:
    """Whether kernels serve a plain call: those of the CPU every one, those of a GPU large ones."""
    return _kernels if input.is_cpu else triton.serves(input)


def _number(value: Any) -> float:
    """Return a real number, or an integer in a tensor, as a float; NaN for what is neither."""
    try:
        if type(value) is int or type(value) is float:  # found at once
            return float(value)
        if isinstance(value, Tensor):
            number = is_eager() and is_dense(value, INTEGERS) and value.dim() == 0
            return float(value.item()) if number else math.nan
        return float(value) if isinstance(value, Real) else math.nan
    except OverflowError:
        return math.nan


def _standard(input: Tensor, beta: float, threshold: float) -> Tensor | None:
    """Return PyTorch's own softplus, which follows every transform, mode and subclass."""
    if input.dtype not in DTYPES or _trace() is not None or is_exporting():
        return None
    try:
        if input.dtype == torch.float16:
            return standard.softplus(input, beta, threshold)
        return _of_pytorch(input, beta, exact(threshold))
    except (RuntimeError, TypeError):  # of a sparse or masked tensor: the checks say what to do
        return None


def _softplus_into(  # noqa: PLR0911 -- each kind of call leaves as soon as it is known
    input: Tensor, beta: float, threshold: float, inplace: Any, out: Tensor | None
) -> Tensor | None:
    """Write softplus over the input, or into `out`, where autograd records nothing."""
    if (inplace and out is not None) or not (is_eager() and is_dense(input)):
        return None
    if records(input):
        return _overwritten(input, beta, threshold) if inplace else None
    target = input if out is None else out
    if target is not input:
        if not is_dense(target) or target.dtype != input.dtype or target.device != input.device:
            return None
        if records(target):
            return None
    if target.is_inference() and not torch.is_inference_mode_enabled():
        return None
    if not served(input):
        return _of_pytorch(input, beta, exact(threshold), out=target)
    if not input.is_contiguous() or (target is not input and not _apart(target, input)):
        return None
    into = calls.forward_into if input.is_cpu else triton.forward_into
    into(target, input, beta, threshold)
    increment_version(target)
    return target


def _overwritten(input: Tensor, beta: float, threshold: float) -> Tensor | None:
    """Write softplus over an input on a GPU that autograd follows, where backward needs no copy.

    What autograd may refuse, a leaf or a view, is for the checks: nothing is written before.
    """
    checked = input.is_leaf or input._is_view()  # noqa: SLF001 -- it has no public name
    if checked or not triton.serves(input) or not input.is_contiguous():
        return None
    if under_autocast(input) or not gradients.output_determines_gradient(input, threshold):
        return None
    return recorded.overwrite(input, beta, threshold)


def _apart(target: Tensor, input: Tensor) -> bool:
    """Whether a result can be written into memory that shares none with a contiguous input."""
    fits = target.shape == input.shape and target.is_contiguous()
    return fits and target.untyped_storage().data_ptr() != input.untyped_storage().data_ptr()


def each(input: Tensor, beta: Tensor, threshold: float, shifted: bool) -> Tensor | None:
    """Return softplus with a floating-point tensor as beta, less ln2/beta where `shifted`."""
    if not (is_eager() and is_dense(input) and is_dense(beta)) or under_autocast(input):
        return None
    if input.device != beta.device and beta.dim() > 0:
        return None
    try:
        if not served(input) or input.device != beta.device:
            return standard.softplus_each(input, beta, threshold, shifted)
        on_cpu = input.is_cpu
        forward = calls.plain_forward_each if on_cpu else triton.implementations()["forward_each"]
        return gradients.each(forward, input, beta, threshold, shifted)
    except RuntimeError:  # the checks say what to do about a shape
        return None


def _shifted_softplus(input: Tensor, beta: Any, shift: Any) -> Tensor | None:
    if has_torch_function_unary(input) or not isinstance(input, Tensor):
        return None
    if isinstance(beta, Tensor) and beta.is_floating_point():
        return each(input, beta, EXACT_THRESHOLD, True) if shift is None else None
    beta, number = _number(beta), 0.0 if shift is None else _number(shift)
    if not (is_ordinary_beta(beta) and abs(number) < math.inf):
        return None
    if not (is_eager() and is_dense(input)) or under_autocast(input):
        return None
    given = None if shift is None else number
    if served(input):
        return gradients.plain("shifted", input, beta, given)
    return standard.shifted_softplus(input, beta, given)


def _logsigmoid(input: Tensor) -> Tensor | None:
    """Return PyTorch's own log-sigmoid, whose backward takes no exponential, where it serves.

    It has no rules for DTensor, forgets other layouts, and in float16 softplus's way to a second
    derivative is needed. On accelerators autocast leaves it alone, but not softplus.
    """
    own = (
        isinstance(input, Tensor)
        and not has_torch_function_unary(input)
        and input.is_cpu
        and is_ordinary(input)
        and input.dtype in (torch.float32, torch.float64, torch.bfloat16)
        and input.layout is torch.strided
        and input.is_contiguous()
        and not (served(input) or under_transform() or _trace() or is_exporting())
    )
    return functional.logsigmoid(input) if own else _softplus(input, -1.0, None, False, None)


def _inverse_softplus(input: Tensor, beta: Any) -> Tensor | None:
    if not (is_eager() and is_dense(input) and served(input)) or under_autocast(input):
        return None
    beta = _number(beta)
    if not is_ordinary_beta(beta):
        return None
    return gradients.plain("inverse", input, beta)


# With the arguments (input, beta, threshold, inplace, out), (input, beta, shift), (input, beta),
# (input).
_Entry = Callable[..., Tensor | None]


def _telling(function: _Entry) -> _Entry:
    """Return the function where there are no kernels: a call that they would serve tells of it."""

    def call(input: Any, *arguments: Any) -> Tensor | None:
        result = function(input, *arguments)
        if result is not None and input.is_cpu:
            cpu.warn_of_absence()
            globals().update(_WITHOUT_KERNELS)  # told: this takes a tenth of a call on 64 elements
        return result

    return call


def _logsigmoid_by_kernel(input: Tensor) -> Tensor | None:
    return softplus(input, -1.0, None, False, None)


_WITHOUT_KERNELS: dict[str, _Entry] = {
    "softplus": _softplus,
    "shifted_softplus": _shifted_softplus,
    "inverse_softplus": _inverse_softplus,
    "logsigmoid": _logsigmoid,
}

softplus: _Entry = _softplus
shifted_softplus: _Entry = _shifted_softplus
inverse_softplus: _Entry = _inverse_softplus
logsigmoid: _Entry = _logsigmoid_by_kernel
if not _kernels:
    globals().update({name: _telling(call) for name, call in _WITHOUT_KERNELS.items()})
elif cpu.entry_absent is None:
    softplus = cpu.softplus
    shifted_softplus = cpu.shifted_softplus
    inverse_softplus = cpu.inverse_softplus
    if triton.POSSIBLE:
        cpu.serve_gpu(_softplus, triton.from_bytes)
