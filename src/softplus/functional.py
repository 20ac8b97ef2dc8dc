"""Softplus and its relatives as functions, drop-in beside `torch.nn.functional`.

A plain eager call on a CPU tensor goes to the kernels at once. Any other has its arguments checked
and goes to `softplus.ops.dispatch`; a tensor subclass or a tracer that overrides torch functions
(`fx.symbolic_trace`, for one) sees the whole function as one call.
"""

from collections.abc import Callable
from numbers import Real

import torch
from torch import Tensor
from torch.compiler import is_dynamo_compiling
from torch.overrides import handle_torch_function, has_torch_function

from softplus.ops import cpu, dispatch

_DTYPES = (torch.float32, torch.float64, torch.bfloat16, torch.float16)


def softplus(
    input: Tensor,
    beta: float | Tensor = 1.0,
    threshold: float | None = None,
    *,
    inplace: bool = False,
    out: Tensor | None = None,
) -> Tensor:
    """Return ln(1 + e^(beta·x)) / beta for every element, the smooth alternative to ReLU.

    >>> softplus(torch.tensor([-2.0, 0.0, 2.0]))
    tensor([0.1269, 0.6931, 2.1269])

    A drop-in for `torch.nn.functional.softplus`, exact for every input: nothing overflows, the
    derivative is the sigmoid of beta·x (0.5 at exactly 0), and NaN comes from NaN alone. In the
    limits, -inf gives 0 and +inf gives +inf.

    Args:
        input: A strided tensor of any shape; float32, float64, bfloat16 or float16.
        beta: The sharpness, in units of 1/input: a finite number other than 0, or a
            floating-point tensor that broadcasts against `input` (one per channel, learnable),
            to which gradients flow. The values of a tensor are not inspected.
        threshold: Where beta·x exceeds it the result is x itself. None, and any threshold of 20
            or more, is the exact function: PyTorch reverts to x only to avoid an overflow that
            does not exist here.
        inplace: Write the result into `input` and return it.
        out: Write the result into this tensor and return it.

    Returns:
        A tensor of the dtype, device and memory format of `input`, and of its shape broadcast
        with that of `beta`.

    Raises:
        TypeError: `input` is not a floating-point strided tensor, or `beta` or `threshold` is
            neither a number nor, for `beta`, such a tensor.
        ValueError: A number `beta` is zero, NaN or infinite, `threshold` is NaN, `beta` does not
            broadcast, or both `inplace` and `out` are given.
        RuntimeError: The result cannot be written where `inplace` or `out` want it, which is then
            unchanged: a leaf that requires grad, memory whose elements overlap, a shape, dtype or
            device that does not fit.

    Source: Dugas et al., Incorporating Second-Order Functional Knowledge for Better Option
    Pricing, NIPS 2000.
    """
    if not is_dynamo_compiling():
        try:
            plain = cpu.softplus(input, beta, threshold, inplace, out)
        except RuntimeError:
            if inplace:
                _check_overwritable(input)  # whose message names a way out
            raise
        if plain is not None:
            return plain
    overriders = (input, beta, out)
    if has_torch_function(overriders):
        result: Tensor = handle_torch_function(
            softplus,
            overriders,
            input,
            beta,
            threshold,
            inplace=inplace,
            out=out,
        )
        return result
    _check_input(input)
    _check_beta(beta, input)
    check_threshold(threshold)
    if not inplace and out is None:
        return dispatch.softplus(input, beta, threshold)
    if inplace and out is not None:
        raise ValueError(
            "softplus got inplace=True and out=...: one result has one place; drop one of them"
        )
    if out is not None:
        _check_out(input, beta, out)
        # A product with 1 changes no value and follows every rule that torch has for `out=`.
        return torch.mul(dispatch.softplus(input, beta, threshold), 1, out=out)
    _check_room(input, beta)
    return overwrite(input, lambda x: dispatch.softplus(x, beta, threshold))


def softplus_(input: Tensor, beta: float | Tensor = 1.0, threshold: float | None = None) -> Tensor:
    """Return `softplus(input, beta, threshold, inplace=True)`: the result overwrites `input`.

    >>> x = torch.tensor([-1.0, 1.0])
    >>> softplus_(x) is x
    True
    >>> x
    tensor([0.3133, 1.3133])

    Arguments and errors are those of `softplus`. Autograd follows; as with any in-place
    operation, a leaf that requires grad raises RuntimeError.
    """
    return softplus(input, beta, threshold, inplace=True)


def inverse_softplus(input: Tensor, beta: float | Tensor = 1.0) -> Tensor:
    """Return the x for which softplus(x, beta) is `input`: ln(e^(beta·y) - 1) / beta.

    >>> inverse_softplus(torch.tensor([0.1269, 0.6931, 2.1269]))
    tensor([-2.0002e+00, -9.4412e-05,  2.0000e+00])

    Accurate where `y + log(-expm1(-y))` loses every digit: around its zero at y = ln2/beta.
    0 gives -inf, +inf gives +inf, and a value that Softplus cannot take (negative, for a positive
    beta) gives NaN.

    Args:
        input: A strided tensor of any shape; float32, float64, bfloat16 or float16.
        beta: As in `softplus`.

    Returns:
        A tensor of the dtype, device and memory format of `input`.

    Raises:
        TypeError, ValueError: As in `softplus`.
    """
    if not is_dynamo_compiling():
        plain = cpu.inverse_softplus(input, beta)
        if plain is not None:
            return plain
    if has_torch_function((input, beta)):
        result: Tensor = handle_torch_function(inverse_softplus, (input, beta), input, beta)
        return result
    _check_input(input)
    _check_beta(beta, input)
    return dispatch.inverse_softplus(input, beta)


def shifted_softplus(
    input: Tensor, beta: float | Tensor = 1.0, shift: float | Tensor | None = None
) -> Tensor:
    """Return softplus(x, beta) - shift; without a shift, Softplus moved to go through the origin.

    >>> shifted_softplus(torch.tensor([-1.0, 0.0, 1.0]))
    tensor([-0.3799,  0.0000,  0.6201])

    The default shift ln2/beta makes the result exactly 0 at 0 and accurate next to it, where
    `softplus(x) - log(2)` loses every digit.

    Args:
        input: A strided tensor of any shape; float32, float64, bfloat16 or float16.
        beta: As in `softplus`.
        shift: What to subtract, in units of the output: a finite number, or a floating-point
            tensor that broadcasts against `input`; None is ln2/beta.

    Returns:
        A tensor of the dtype, device and memory format of `input`.

    Raises:
        TypeError, ValueError: As in `softplus`; ValueError for a NaN or infinite `shift`.

    Source: the activation of Schütt et al., SchNet, NIPS 2017.
    """
    if not is_dynamo_compiling():
        plain = cpu.shifted_softplus(input, beta, shift)
        if plain is not None:
            return plain
    overriders = (input, beta, shift)
    if has_torch_function(overriders):
        result: Tensor = handle_torch_function(shifted_softplus, overriders, input, beta, shift)
        return result
    _check_input(input)
    _check_beta(beta, input)
    if isinstance(shift, Tensor):
        _check_broadcast("shift", shift, input)
    else:
        check_scalar_shift(shift)
    return dispatch.shifted_softplus(input, beta, shift)


def logsigmoid(input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """Return ln(sigmoid(x)) = -softplus(-x) for every element.

    >>> logsigmoid(torch.tensor([-2.0, 0.0, 2.0]))
    tensor([-2.1269, -0.6931, -0.1269])

    A drop-in for `torch.nn.functional.logsigmoid`.

    Args:
        input: A strided tensor of any shape; float32, float64, bfloat16 or float16.
        out: As in `softplus`.

    Returns:
        A tensor of the dtype, device, shape and memory format of `input`.

    Raises:
        TypeError, RuntimeError: As in `softplus`.
    """
    if out is None and not is_dynamo_compiling():
        plain = cpu.softplus(input, -1.0, None, False, None)
        if plain is not None:
            return plain
    overriders = (input, out)
    if has_torch_function(overriders):
        result: Tensor = handle_torch_function(logsigmoid, overriders, input, out=out)
        return result
    return softplus(input, -1.0, out=out)


def overwrite(input: Tensor, function: Callable[[Tensor], Tensor]) -> Tensor:
    """Write function(input) over `input`, of which backward may need a copy."""
    if isinstance(input, Tensor) and not is_dynamo_compiling():
        _check_overwritable(input)
    return input.copy_(function(input.clone()))


def _check_input(input: Tensor) -> None:
    if not isinstance(input, Tensor):
        raise TypeError(
            f"input must be a torch.Tensor, got {type(input).__name__}: "
            "wrap the value as torch.tensor(value, dtype=torch.float32)"
        )
    _check_layout("input", input)
    if input.dtype not in _DTYPES:
        advice = (
            "call input.dequantize() first"
            if input.is_quantized
            else "there is no order, hence no Softplus, on complex numbers; use input.real"
            if input.is_complex()
            else "call input.float() first"
        )
        raise TypeError(
            "input must be float32, float64, bfloat16 or float16, "
            f"got {_name(input.dtype)}: {advice}"
        )


def _check_layout(name: str, value: Tensor) -> None:
    if value.is_nested:
        raise TypeError(
            f"{name} must be strided, got a nested tensor: take the tensors of {name}.unbind() one "
            "by one, or pad them to one size with torch.nested.to_padded_tensor"
        )
    if value.layout != torch.strided:
        raise TypeError(
            f"{name} must be strided, got layout {value.layout}: softplus(0) is not 0, so the "
            f"result would be dense; call {name}.to_dense() first"
        )


def _check_broadcast(name: str, value: Tensor, input: Tensor) -> None:
    _check_layout(name, value)
    if not value.is_floating_point():
        raise TypeError(
            f"a tensor {name} must be floating-point, got {_name(value.dtype)}: "
            f"{f'use {name}.real' if value.is_complex() else f'call {name}.float() first'}"
        )
    if value.device != input.device and value.dim() > 0:
        raise RuntimeError(
            f"{name} is on {value.device} and input on {input.device}: call "
            f"{name}.to({str(input.device)!r}) first"
        )
    try:
        _broadcast(input, value)
    except RuntimeError:
        raise ValueError(
            f"{name} of shape {tuple(value.shape)} does not broadcast against input of shape "
            f"{tuple(input.shape)}: give it size 1 in every dimension that it does not vary in"
        ) from None


def _check_beta(beta: float | Tensor, input: Tensor) -> None:
    if isinstance(beta, Tensor):
        _check_broadcast("beta", beta, input)
        return
    check_scalar_beta(beta)


def _check_overwritable(input: Tensor) -> None:
    base = input._base if input._is_view() else input  # noqa: SLF001 -- they have no public name
    if torch.is_grad_enabled() and input.requires_grad and base is not None and base.is_leaf:
        leaf = f"{'' if base is input else 'a view of '}a leaf Variable that requires grad"
        raise RuntimeError(
            f"{leaf} cannot be overwritten, for backward would not reach the value it had: call "
            "softplus under torch.no_grad(), or without inplace=True"
        )


def _check_room(input: Tensor, beta: float | Tensor) -> None:
    tracing: bool = torch.jit.is_tracing()  # type: ignore[attr-defined,no-untyped-call]
    if isinstance(beta, Tensor) and not tracing and _broadcast(input, beta) != input.shape:
        raise RuntimeError(
            f"the result, of the shape {tuple(_broadcast(input, beta))} that beta extends it to, "
            f"does not fit into input of shape {tuple(input.shape)}: call softplus without "
            "inplace=True"
        )


def _check_out(input: Tensor, beta: float | Tensor, out: Tensor) -> None:
    if not isinstance(out, Tensor):
        raise TypeError(f"out must be a torch.Tensor or None, got {type(out).__name__} {out!r}")
    _check_layout("out", out)
    if out.device != input.device:
        raise RuntimeError(
            f"out is on {out.device} and input on {input.device}: give out the device of input"
        )
    if out.dtype != input.dtype:
        raise RuntimeError(
            f"out is {_name(out.dtype)} and input {_name(input.dtype)}: give out the dtype of input"
        )
    tensors = [tensor for tensor in (input, beta, out) if isinstance(tensor, Tensor)]
    if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors):
        raise RuntimeError(
            "softplus with out=... arguments don't support automatic differentiation, and input, "
            "beta or out requires grad: call it under torch.no_grad(), or without out"
        )


def _broadcast(input: Tensor, other: Tensor) -> torch.Size:
    return torch.broadcast_shapes(input.shape, other.shape)  # type: ignore[no-any-return,no-untyped-call]


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def check_scalar_beta(beta: float) -> None:
    """Raise unless `beta` is a number whose product and quotient with finite numbers are finite."""
    if not isinstance(beta, (float, int, Real)):
        raise TypeError(
            f"beta must be a number or a torch.Tensor, got {type(beta).__name__} {beta!r}"
        )
    limits = torch.finfo(torch.float32)
    if not limits.tiny <= abs(beta) <= limits.max:
        raise ValueError(
            f"beta must be a finite number other than 0 within the normal range of float32 "
            f"({limits.tiny:.1e} to {limits.max:.1e} in magnitude), got {beta}"
        )


def check_threshold(threshold: float | None) -> None:
    """Raise unless `threshold` is a number or None."""
    if threshold is None:
        return
    if not isinstance(threshold, (float, int, Real)):
        raise TypeError(
            f"threshold must be a number or None, got {type(threshold).__name__} {threshold!r}"
        )
    if threshold != threshold:  # noqa: PLR0124 -- torch.compile takes no math.isnan of a variable
        raise ValueError("threshold must be a number or None (the exact function), got nan")


def check_scalar_shift(shift: float | None) -> None:
    """Raise unless `shift` is a finite number or None."""
    if shift is None:
        return
    if not isinstance(shift, (float, int, Real)):
        raise TypeError(
            "shift must be a number, a torch.Tensor or None (ln2/beta), "
            f"got {type(shift).__name__} {shift!r}"
        )
    # torch.compile takes no math.isfinite of a variable.
    if not abs(shift) <= torch.finfo(torch.float64).max:
        raise ValueError(f"shift must be finite, or None (ln2/beta), got {shift}")
