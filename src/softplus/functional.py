"""Softplus and its relatives as functions, drop-in beside `torch.nn.functional`.

A plain eager call goes to the kernels at once, or on another device than the CPU to PyTorch's own
softplus. Any other has its arguments checked and goes to `softplus.ops.dispatch`; a tensor subclass
or a tracer that overrides torch functions (`fx.symbolic_trace`, for one) sees the whole function as
one call.

The default of beta is the integer 1: with dynamic=True torch.compile takes every float, a default
too, for a variable.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.compiler import is_dynamo_compiling
from torch.overrides import handle_torch_function, has_torch_function

from softplus import arguments
from softplus.ops import dispatch, entry


def softplus(
    input: Tensor,
    beta: float | Tensor = 1,
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
        RuntimeError: The result cannot be written over `input` or into `out`: a leaf that requires
            grad, memory whose elements overlap, a shape, dtype or device that does not fit. That
            tensor is then unchanged.

    Source: Dugas et al., Incorporating Second-Order Functional Knowledge for Better Option
    Pricing, NIPS 2000.
    """
    if not is_dynamo_compiling():
        try:
            plain = entry.softplus(input, beta, threshold, inplace, out)
        except RuntimeError:
            if inplace:
                arguments.check_overwritable(input)  # whose message names a way out
            raise
        if plain is not None:
            return plain
    overriders = (input, beta, out)
    if has_torch_function(overriders):
        result: Tensor = handle_torch_function(
            softplus, overriders, input, beta, threshold, inplace=inplace, out=out
        )
        return result
    arguments.check_input(input, or_jagged=True)
    beta = arguments.number_of(beta)
    arguments.check_beta(beta, input)
    arguments.check_threshold(threshold)
    arguments.check_one_place(inplace, out)
    if inplace:
        arguments.check_fits_in_place(input, beta)
        return overwrite(input, lambda x: dispatch.softplus(x, beta, threshold))
    if out is not None:
        arguments.check_out(input, beta, out)
        # A product with 1 changes no value and follows every rule that torch has for `out=`.
        return torch.mul(dispatch.softplus(input, beta, threshold), 1, out=out)
    return dispatch.softplus(input, beta, threshold)


def softplus_(input: Tensor, beta: float | Tensor = 1, threshold: float | None = None) -> Tensor:
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


def inverse_softplus(input: Tensor, beta: float | Tensor = 1) -> Tensor:
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
        plain = entry.inverse_softplus(input, beta)
        if plain is not None:
            return plain
    if has_torch_function((input, beta)):
        result: Tensor = handle_torch_function(inverse_softplus, (input, beta), input, beta)
        return result
    arguments.check_input(input)
    beta = arguments.number_of(beta)
    arguments.check_beta(beta, input)
    return dispatch.inverse_softplus(input, beta)


def shifted_softplus(
    input: Tensor, beta: float | Tensor = 1, shift: float | Tensor | None = None
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
        plain = entry.shifted_softplus(input, beta, shift)
        if plain is not None:
            return plain
    overriders = (input, beta, shift)
    if has_torch_function(overriders):
        result: Tensor = handle_torch_function(shifted_softplus, overriders, input, beta, shift)
        return result
    arguments.check_input(input)
    beta = arguments.number_of(beta)
    shift = None if shift is None else arguments.number_of(shift)
    arguments.check_beta(beta, input)
    arguments.check_shift(shift, input)
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
        plain = entry.logsigmoid(input)
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
        arguments.check_overwritable(input)
    return input.copy_(function(input.clone()))
