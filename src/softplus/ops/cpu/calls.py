"""The operators on CPU tensors of any layout, by kernels that are called from Python."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, get_num_threads

from softplus.ops import cpu
from softplus.ops.definition import EXACT_THRESHOLD
from softplus.ops.operators import beta_dtype, filled, library

_library: Any = None if cpu.absent else cpu._kernels  # noqa: SLF001 -- it is this package's
_run = _library and _library.run
_NUMBER = {name: number for number, name in enumerate(_library.KERNELS)} if _library else {}
_DTYPE = {torch.float32: 0, torch.float64: 1, torch.bfloat16: 2, torch.float16: 3}
_TO_INPUT, _SHIFTED, _AROUND_CACHE, _SUMMED, _SINGLE = 1, 2, 4, 8, 16

# Up to this many elements the library keeps the GIL. Beyond, another thread may give the object
# that holds an input another tensor (torch.utils.swap_tensors): the memory is kept until then.
_SMALL = 4096

# Gradients of this many bytes do not fit into the cache together with their inputs: LARGE in
# operators/cpu.cpp.
_LARGE = 32 << 20

# The gradients towards a beta of so many elements or more are summed as they come: LEAST_SUMMED
# there.
_LEAST_SUMMED = 16


def plain_forward(input: Tensor, beta: float, threshold: float) -> Tensor:
    """Return what the operator does, unchecked, and on 64 elements in half the time."""
    return forward_into(torch.empty_like(input), input, beta, threshold)


def forward_into(output: Tensor, input: Tensor, beta: float, threshold: float) -> Tensor:
    """Write softplus(input), unchecked, into dense memory: the input's own, or laid out like it."""
    n, kept = input.numel(), input
    if n > _SMALL or not input.is_contiguous():
        kept = laid_out(input, output)
    kernel, dtype, threads = _NUMBER["forward"], _DTYPE[input.dtype], get_num_threads()
    to, of = output.data_ptr(), kept.data_ptr()
    _run(kernel, dtype, n, beta, threshold, 0.0, 0, 1, 1, threads, to, of)
    return output


def plain_forward_each(input: Tensor, beta: Tensor, threshold: float, shifted: bool) -> Tensor:
    """Return what the operator does, for a beta of the shape of the input."""
    output = torch.empty_like(input)
    _FILL["forward_each"](output, input, beta, threshold, shifted)
    return output


def plain_backward(grad: Tensor, saved: Tensor, *options: Any) -> Tensor:
    """Return what the operator does, for a gradient of the shape and dtype of what was saved."""
    output = torch.empty_like(saved)
    _backward(output, grad, saved, *options)
    return output


def backward_summed(
    grad: Tensor, input: Tensor, beta: Tensor, threshold: float, shifted: bool
) -> tuple[Tensor, Tensor] | None:
    """Return the gradients towards input and beta, those towards beta summed, in float64.

    `backward_each` would write one for each element, which is read again. None where memory lies
    otherwise than that takes.
    """
    alike = grad.shape == input.shape and grad.dtype == input.dtype
    if not alike or input.numel() < _LEAST_SUMMED * beta.numel():
        return None
    betas = beta.detach().to(beta_dtype(input, beta))  # no object that other code holds
    to_input = torch.empty_like(input)
    to_beta = torch.empty_like(betas, dtype=torch.float64)
    try:
        found = pattern(to_input, betas.expand_as(input))
    except RuntimeError:  # the input is expanded too
        return None
    if found is None or found[1] != beta.numel():
        return None
    flags = _SUMMED | (_SHIFTED if shifted else 0)
    outputs, inputs, options = (to_input, to_beta), (grad, input), (*found, betas)
    _call("backward_each", outputs, inputs, 1.0, threshold, flags=flags, betas=options)
    return outputs


def _backward(output: Tensor, grad: Tensor, saved: Tensor, *options: Any) -> None:
    beta, threshold, of_output = options
    kernel = "backward_of_output" if of_output else "backward_of_input"
    flags = _AROUND_CACHE if output.nbytes >= _LARGE else 0
    _call(kernel, (output,), (grad, saved), beta, threshold, flags=flags)


def _double_backward(outputs: tuple[Tensor, Tensor], *arguments: Any) -> None:
    *inputs, beta, threshold, of_output, to_input = arguments
    kernel = "double_backward_of_output" if of_output else "double_backward_of_input"
    flags = _TO_INPUT if to_input else 0
    _call(kernel, outputs, tuple(inputs), beta, threshold, flags=flags)


def _shifted(output: Tensor, input: Tensor, beta: float, shift: float | None) -> None:
    _call("shifted", (output,), (input,), beta, shift=shift)


def _inverse(output: Tensor, input: Tensor, beta: float) -> None:
    _call("inverse", (output,), (input,), beta)


def _each(kernel: str) -> Callable[..., None]:
    """Return the function of a kernel with a beta for each element."""

    def fill(results: Tensor | tuple[Tensor, ...], *arguments: Any) -> None:
        *inputs, beta, threshold, shifted = arguments
        outputs = (results,) if isinstance(results, Tensor) else results
        flags, found = _SHIFTED if shifted else 0, pattern(outputs[0], beta)
        if found is None:
            beta, found = laid_out(beta, outputs[0]), (1, beta.numel())
        betas = (*found, beta)
        _call(kernel, outputs, tuple(inputs), 1.0, threshold, flags=flags, betas=betas)

    return fill


_FILL: dict[str, Callable[..., Any]] = {
    "forward": forward_into,
    "backward": _backward,
    "double_backward": _double_backward,
    "shifted": _shifted,
    "inverse": _inverse,
    "forward_each": _each("forward_each"),
    "backward_each": _each("backward_each"),
    "double_backward_each": _each("double_backward_each"),
}

# The operators on plain CPU tensors, by name.
OPERATORS = {name: filled(name, fill) for name, fill in _FILL.items()}
if cpu.absent is None and cpu.entry_absent is not None:
    for _name, _function in OPERATORS.items():
        library.impl(_name, _function, "CPU")


def pattern(like: Tensor, beta: Tensor) -> tuple[int, int] | None:
    """Return (inner, count): element i of `like` in memory has the (i // inner % count)th beta.

    None where the betas that are there lie otherwise.
    """
    if not any(beta.stride()):
        return 1, 1
    if beta.is_contiguous() and like.is_contiguous():
        return 1, max(beta.numel(), 1)
    dimensions = zip(like.stride(), like.shape, beta.stride(), strict=True)
    inner, count, repeats = 1, 1, False
    for _, size, step in sorted(d for d in dimensions if d[1] != 1):
        if step == 0 and count == 1:
            inner *= size
        elif step == 0:
            repeats = True
        elif step == count and not repeats:
            count *= size
        else:
            return None
    return (max(inner, 1), count) if count > 1 else (1, 1)


def _call(
    kernel: str,
    outputs: tuple[Tensor, ...],
    inputs: tuple[Tensor, ...],
    beta: float,
    threshold: float = EXACT_THRESHOLD,
    *,
    shift: float | None = 0.0,
    flags: int = 0,
    betas: tuple[int, int, Tensor] | None = None,
) -> None:
    """Run a kernel into outputs that have one dense layout."""
    like = outputs[0]
    n = like.numel()
    if n > _SMALL or not all(tensor.is_contiguous() for tensor in (like, *inputs)):
        inputs = tuple(laid_out(tensor, like) for tensor in inputs)
    addresses = [tensor.data_ptr() for tensor in (*outputs, *inputs)]
    inner, count = 1, 1
    if betas:
        inner, count, beta_each = betas
        if beta_each.dtype is torch.float32:
            flags |= _SINGLE
        addresses.append(beta_each.data_ptr())
    options = beta, threshold, shift, flags, inner, count, get_num_threads()
    _run(_NUMBER[kernel], _DTYPE[like.dtype], n, *options, *addresses)


def laid_out(tensor: Tensor, like: Tensor) -> Tensor:
    """Return the tensor in the dense layout of another, as an object that no other code holds."""
    if tensor.stride() == like.stride() or (tensor.is_contiguous() and like.is_contiguous()):
        return tensor.detach()
    return torch.empty_like(like, dtype=tensor.dtype).copy_(tensor)
