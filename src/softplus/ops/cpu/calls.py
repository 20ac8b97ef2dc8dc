"""The operators on CPU tensors of any layout, by kernels that are called from Python."""

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, get_num_threads

from softplus.ops import cpu
from softplus.ops.definition import EXACT_THRESHOLD
from softplus.ops.operators import FAKES, library

_library: Any = None if cpu.absent else cpu._kernels  # noqa: SLF001 -- it is this package's
_run = _library and _library.run
_NUMBER = {name: number for number, name in enumerate(_library.KERNELS)} if _library else {}
_DTYPE = {torch.float32: 0, torch.float64: 1, torch.bfloat16: 2, torch.float16: 3}
_TO_INPUT, _SHIFTED, _AROUND_CACHE = 1, 2, 4

# Up to this many elements the library keeps the GIL. Beyond, another thread may give the object
# that holds an input another tensor (torch.utils.swap_tensors): the memory is kept until then.
_SMALL = 4096

# Gradients of this many bytes do not fit into the cache together with their inputs: LARGE in
# operators/cpu.cpp.
_LARGE = 32 << 20


def plain_forward(input: Tensor, beta: float, threshold: float) -> Tensor:
    """Return what `forward` does, unchecked, and on 64 elements in half the time."""
    return forward_into(torch.empty_like(input), input, beta, threshold)


def forward_into(output: Tensor, input: Tensor, beta: float, threshold: float) -> Tensor:
    """Write softplus(input), unchecked, into dense memory: the input's own, or laid out like it."""
    n = input.numel()
    if n > _SMALL or not input.is_contiguous():
        input = _laid_out(input, output)
    kernel, dtype, threads = _NUMBER["forward"], _DTYPE[input.dtype], get_num_threads()
    to, of = output.data_ptr(), input.data_ptr()
    _run(kernel, dtype, n, beta, threshold, 0.0, 0, 1, 1, threads, to, of)
    return output


def plain_backward(
    grad: Tensor, saved: Tensor, beta: float, threshold: float, of_output: bool
) -> Tensor:
    """Return what `backward` does, for a gradient that has the shape and dtype of what was saved."""
    output = torch.empty_like(saved)
    _backward_into(output, grad, saved, beta, threshold, of_output)
    return output


def _backward_into(
    output: Tensor, grad: Tensor, saved: Tensor, beta: float, threshold: float, of_output: bool
) -> None:
    kernel = "backward_of_output" if of_output else "backward_of_input"
    flags = _AROUND_CACHE if output.nbytes >= _LARGE else 0
    _call(kernel, (output,), (grad, saved), beta, threshold, flags=flags)


def _operator(fill: Callable[..., None]) -> Callable[..., Any]:
    """Make an operator of a function that fills the results given: what they are like, and which
    arguments are refused, the rule for fake tensors says.
    """
    name = fill.__name__

    @functools.wraps(fill)
    def run(*arguments: Any) -> Any:
        results = FAKES[name](*arguments)
        fill(results, *arguments)
        return results

    if cpu.absent is None and cpu.entry_absent is not None:
        library.impl(name, run, "CPU")
    return run


@_operator
def forward(output: Tensor, input: Tensor, beta: float, threshold: float) -> None:
    _call("forward", (output,), (input,), beta, threshold)


@_operator
def backward(output: Tensor, *arguments: Any) -> None:
    _backward_into(output, *arguments)


@_operator
def double_backward(
    outputs: tuple[Tensor, Tensor],
    grad_grad: Tensor,
    grad: Tensor,
    saved: Tensor,
    beta: float,
    threshold: float,
    of_output: bool,
    to_input: bool,
) -> None:
    kernel = "double_backward_of_output" if of_output else "double_backward_of_input"
    flags = _TO_INPUT if to_input else 0
    _call(kernel, outputs, (grad_grad, grad, saved), beta, threshold, flags=flags)


@_operator
def shifted(output: Tensor, input: Tensor, beta: float, shift: float | None) -> None:
    _call("shifted", (output,), (input,), beta, shift=shift)


@_operator
def inverse(output: Tensor, input: Tensor, beta: float) -> None:
    _call("inverse", (output,), (input,), beta)


@_operator
def forward_each(
    output: Tensor, input: Tensor, beta: Tensor, threshold: float, shifted: bool
) -> None:
    _call_each("forward_each", (output,), (input,), beta, threshold, shifted)


@_operator
def backward_each(
    outputs: tuple[Tensor, Tensor],
    grad: Tensor,
    input: Tensor,
    beta: Tensor,
    threshold: float,
    shifted: bool,
) -> None:
    _call_each("backward_each", outputs, (grad, input), beta, threshold, shifted)


@_operator
def double_backward_each(
    outputs: tuple[Tensor, Tensor, Tensor],
    grad_to_input: Tensor,
    grad_to_beta: Tensor,
    grad: Tensor,
    input: Tensor,
    beta: Tensor,
    threshold: float,
    shifted: bool,
) -> None:
    inputs = grad_to_input, grad_to_beta, grad, input
    _call_each("double_backward_each", outputs, inputs, beta, threshold, shifted)


def _call_each(
    kernel: str,
    outputs: tuple[Tensor, ...],
    inputs: tuple[Tensor, ...],
    beta: Tensor,
    threshold: float,
    shifted: bool,
) -> None:
    flags, pattern = _SHIFTED if shifted else 0, _pattern(outputs[0], beta)
    if pattern is None:
        beta, pattern = _laid_out(beta, outputs[0]), (1, beta.numel())
    _call(kernel, outputs, inputs, 1.0, threshold, flags=flags, betas=(*pattern, beta))


def _pattern(like: Tensor, beta: Tensor) -> tuple[int, int] | None:
    """Return (inner, count) where element i in the memory of `like` has the (i // inner % count)th
    of the betas that lie one after the other; None where there is no such pair.
    """
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
    return max(inner, 1), max(count, 1)


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
        inputs = tuple(_laid_out(tensor, like) for tensor in inputs)
    addresses = [tensor.data_ptr() for tensor in (*outputs, *inputs)]
    inner, count = 1, 1
    if betas:
        inner, count, beta_each = betas
        addresses.append(beta_each.data_ptr())
    options = beta, threshold, shift, flags, inner, count, get_num_threads()
    _run(_NUMBER[kernel], _DTYPE[like.dtype], n, *options, *addresses)


def _laid_out(tensor: Tensor, like: Tensor) -> Tensor:
    """Return the tensor in the dense layout of another, as an object that no other code holds."""
    if tensor.stride() == like.stride() or (tensor.is_contiguous() and like.is_contiguous()):
        return tensor.detach()
    return torch.empty_like(like, dtype=tensor.dtype).copy_(tensor)
