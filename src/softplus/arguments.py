"""The checks of arguments: one function for each rule, one message for each way to break it.

They run in code that `torch.compile` traces too, which takes neither `math.isnan` nor
`math.isfinite` of a variable.
"""

import math
from numbers import Real

import torch
from torch import Tensor, nn
from torch.compiler import is_dynamo_compiling
from torch.masked import MaskedTensor
from torch.nn.utils import parametrize

from softplus.ops import dispatch
from softplus.ops.plain import INTEGERS, is_dense, is_eager

# Of float32's normal numbers; looked up in finfo they take longer than all other checks.
_LEAST, _MOST = torch.finfo(torch.float32).tiny, torch.finfo(torch.float32).max
_DTYPES = (torch.float32, torch.float64, torch.bfloat16, torch.float16)


# Tensors


def check_input(input: Tensor, *, or_jagged: bool = False) -> None:
    """Raise unless `input` is a strided tensor of a dtype that Softplus computes in.

    Or a jagged one, where PyTorch's own operator serves the call.
    """
    if not isinstance(input, Tensor):
        raise TypeError(
            f"input must be a torch.Tensor, got {type(input).__name__}: "
            "wrap the value as torch.tensor(value, dtype=torch.float32)"
        )
    if not (or_jagged and input.layout == torch.jagged):
        check_strided("input", input)
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


def check_strided(name: str, value: Tensor) -> None:
    """Raise if a tensor is masked, nested, sparse or of another layout that is not strided."""
    if isinstance(value, MaskedTensor):
        raise TypeError(
            f"{name} must not be a MaskedTensor, of which PyTorch computes no softplus: call "
            f"{name}.get_data(), and mask the result by torch.masked.masked_tensor with "
            f"{name}.get_mask()"
        )
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


def check_broadcasts(name: str, value: Tensor, input: Tensor) -> None:
    """Raise unless a floating-point tensor broadcasts against `input`, on its device."""
    check_strided(name, value)
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


def number_of(value: float | Tensor) -> float | Tensor:
    """Return an integer in a tensor of no dimensions as a number, any other value as it is.

    What may not be read now becomes a floating-point tensor: a traced one, or one in a transform.
    """
    if not isinstance(value, Tensor) or value.dtype not in INTEGERS or value.dim() > 0:
        return value
    return value.item() if is_eager() and is_dense(value, INTEGERS) else value.to(torch.float64)


# Where the result goes


def check_overwritable(input: Tensor) -> None:
    """Raise if autograd still needs what `input` holds: a leaf that requires grad, or its view."""
    base = input._base if input._is_view() else input  # noqa: SLF001 -- they have no public name
    if torch.is_grad_enabled() and input.requires_grad and base is not None and base.is_leaf:
        leaf = f"{'' if base is input else 'a view of '}a leaf Variable that requires grad"
        raise RuntimeError(
            f"{leaf} cannot be overwritten, for backward would not reach the value it had: call "
            "softplus under torch.no_grad(), or without inplace=True"
        )


def check_fits_in_place(input: Tensor, beta: float | Tensor) -> None:
    """Raise if a tensor `beta` gives the result a larger shape than that of `input`."""
    tracing: bool = torch.jit.is_tracing()  # type: ignore[attr-defined,no-untyped-call]
    if isinstance(beta, Tensor) and not tracing and _broadcast(input, beta) != input.shape:
        raise RuntimeError(
            f"the result, of the shape {tuple(_broadcast(input, beta))} that beta extends it to, "
            f"does not fit into input of shape {tuple(input.shape)}: call softplus without "
            "inplace=True"
        )


def check_out(input: Tensor, beta: float | Tensor, out: Tensor) -> None:
    """Raise unless the result, which must not require grad, can be written into `out`."""
    if not isinstance(out, Tensor):
        raise TypeError(f"out must be a torch.Tensor or None, got {type(out).__name__} {out!r}")
    check_strided("out", out)
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


def check_one_place(inplace: bool, out: Tensor | None) -> None:
    """Raise if the result shall go both into `input` and into `out`."""
    if inplace and out is not None:
        raise ValueError(
            "softplus got inplace=True and out=...: one result has one place; drop one of them"
        )


# Numbers


def check_number(name: str, value: float, allowed: str = "a number") -> None:
    """Raise unless `value` is a real number of any type, NumPy's and fractions included."""
    if not isinstance(value, (float, int, Real)):  # the first two are found at once
        raise TypeError(f"{name} must be {allowed}, got {type(value).__name__} {value!r}")


def check_beta(beta: float | Tensor, input: Tensor) -> None:
    """Raise unless `beta` is a tensor or a number that is a sharpness for `input`."""
    if isinstance(beta, Tensor):
        check_broadcasts("beta", beta, input)
    else:
        check_number("beta", beta, "a number or a torch.Tensor")
        _check_invertible("beta", beta)


def check_scalar_beta(beta: float, name: str = "beta") -> None:
    """Raise unless `beta` is a number whose product and quotient with finite numbers are finite."""
    check_number(name, beta)
    _check_invertible(name, beta)


def check_positive_beta(beta: float, name: str = "beta") -> None:
    """Raise unless `beta` is such a number and positive."""
    check_scalar_beta(beta, name)
    if beta < 0:
        raise ValueError(
            f"{name} must be positive, got {beta}: for a negative beta softplus is negative, a "
            "smooth min(x, 0)"
        )


def _check_invertible(name: str, beta: float) -> None:
    if is_dynamo_compiling() and dispatch.has_no_value_yet(beta):
        return  # as with a tensor, its value is not inspected
    if not _LEAST <= abs(beta) <= _MOST:
        raise ValueError(
            f"{name} must be a finite number other than 0 within the normal range of float32 "
            f"({_LEAST:.1e} to {_MOST:.1e} in magnitude), got {beta}"
        )


def check_threshold(threshold: float | None) -> None:
    """Raise unless `threshold` is a number or None."""
    if threshold is None:
        return
    check_number("threshold", threshold, "a number or None")
    if threshold != threshold:  # noqa: PLR0124 -- NaN, see above
        raise ValueError("threshold must be a number or None (the exact function), got nan")


def check_shift(shift: float | Tensor | None, input: Tensor) -> None:
    """Raise unless `shift` is a tensor that broadcasts against `input`, or a finite number."""
    if isinstance(shift, Tensor):
        check_broadcasts("shift", shift, input)
    else:
        check_scalar_shift(shift, "a number, a torch.Tensor or None (ln2/beta)")


def check_scalar_shift(shift: float | None, allowed: str = "a number or None (ln2/beta)") -> None:
    """Raise unless `shift` is a finite number or None."""
    if shift is None:
        return
    check_number("shift", shift, allowed)
    if not abs(shift) <= torch.finfo(torch.float64).max:
        raise ValueError(f"shift must be finite, or None (ln2/beta), got {shift}")


def check_floor(floor: float) -> None:
    """Raise unless `floor` is 0 or positive, and finite."""
    if not 0 <= floor < math.inf:
        raise ValueError(f"floor must be 0 or a positive finite number, got {floor}")


def check_initial(initial: float, floor: float) -> None:
    """Raise unless `initial` is finite and above `floor` by what float32 can tell."""
    check_number("initial", initial)
    limits = torch.finfo(torch.float32)
    step = max(limits.tiny, limits.eps * floor)
    if not floor + step <= initial <= limits.max:
        raise ValueError(
            f"initial must be a finite number above floor={floor} by {step:.2g} or more, got "
            f"{initial}: change initial or the floor"
        )


def check_positive_floor(floor: float | None) -> None:
    """Raise unless `floor` is positive and finite, or None."""
    if floor is not None and not 0 < floor < math.inf:
        raise ValueError(
            "floor must be a positive finite number, or None for the smallest normal number of "
            f"the dtype, got {floor}"
        )


def check_tolerance(tolerance: float) -> None:
    """Raise unless `tolerance` is positive and finite."""
    check_number("tolerance", tolerance)
    if not 0 < tolerance < math.inf:
        raise ValueError(f"tolerance must be a positive finite number, got {tolerance}")


def check_variance(q: float) -> None:
    """Raise unless `q` is a variance of pre-activations that float32 holds."""
    check_number("q", q)
    limits = torch.finfo(torch.float32)
    if not limits.tiny <= q <= limits.max:
        raise ValueError(
            "q is the variance of the pre-activations and must be a positive number within the "
            f"normal range of float32 ({limits.tiny:.1e} to {limits.max:.1e}), got {q}"
        )


def check_steps(steps: int) -> None:
    """Raise unless `steps` is a whole number of 1 or more."""
    if not isinstance(steps, int):
        raise TypeError(
            f"steps must be a whole number of 1 or more, got {type(steps).__name__} {steps!r}"
        )
    if steps < 1:
        raise ValueError(f"steps must be a whole number of 1 or more, got {steps}")


# Modules


def check_model(model: nn.Module) -> None:
    """Raise unless `model` is a module."""
    if not isinstance(model, nn.Module):
        raise TypeError(f"model must be a torch.nn.Module, got {type(model).__name__}")


def check_module_beta(beta: float) -> None:
    """Raise unless `beta` is such a number as a module holds or starts from."""
    if isinstance(beta, Tensor):
        raise TypeError(
            f"beta must be a number, got Tensor {beta!r}: pass a number, for a beta that is "
            "trained the one that it starts at, with learnable=True"
        )
    check_scalar_beta(beta)


def check_learnable(beta: float, floor: float) -> None:
    """Raise unless a learnable `beta` starts above its floor."""
    if not beta > floor:
        raise ValueError(
            f"a learnable beta stays above 2^{math.log2(floor):.0f} = {floor:.1e}, so it must "
            f"start there, got {beta}: use learnable=False for a fixed beta of any other value"
        )


def check_num_parameters(num_parameters: int, learnable: bool) -> None:
    """Raise unless a module can have this many betas."""
    if num_parameters < 1 or (num_parameters > 1 and not learnable):
        raise ValueError(
            f"num_parameters must be 1, or with learnable=True the number of channels, got "
            f"{num_parameters} with learnable={learnable}"
        )


def check_channel_dim(channel_dim: int) -> None:
    """Raise unless `channel_dim` is a whole number."""
    if not isinstance(channel_dim, int):
        raise TypeError(
            f"channel_dim must be a whole number, got {type(channel_dim).__name__} {channel_dim!r}"
        )


def check_channels(input: Tensor, num_parameters: int, channel_dim: int) -> None:
    """Raise unless this dimension of `input` has one channel for each of the betas."""
    check_input(input)
    size = input.shape[channel_dim] if -input.dim() <= channel_dim < input.dim() else None
    if torch.jit.is_tracing() and size is not None:  # type: ignore[attr-defined,no-untyped-call]
        return  # the size is a tensor of the trace there
    if size != num_parameters:
        raise ValueError(
            f"num_parameters={num_parameters} betas run along dimension {channel_dim} of input, "
            f"which has shape {tuple(input.shape)}: use the size of that dimension, or 1, or "
            "another channel_dim"
        )


def check_holds(module: nn.Module, name: str) -> None:
    """Raise unless the module itself holds a parameter or buffer of this name, as it is."""
    if parametrize.is_parametrized(module, name):
        raise ValueError(
            f"name={name!r} is parametrized already: call "
            f"torch.nn.utils.parametrize.remove_parametrizations(module, {name!r}) first"
        )
    held = [*dict(module.named_parameters(recurse=False))]
    held += [*dict(module.named_buffers(recurse=False))]
    if name not in held:
        raise ValueError(
            f"name={name!r} is neither a parameter nor a buffer of this {type(module).__name__}, "
            f"which has {', '.join(held) or 'none of its own'}"
        )


def _broadcast(input: Tensor, other: Tensor) -> torch.Size:
    return torch.broadcast_shapes(input.shape, other.shape)  # type: ignore[no-any-return,no-untyped-call]


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
