"""The operators on tensors of any layout, by the GPU kernels."""

from collections.abc import Callable
from typing import Any

import torch
import triton
from torch import Tensor

from softplus.ops.cpu.calls import laid_out, pattern
from softplus.ops.definition import EXACT_THRESHOLD
from softplus.ops.operators import filled
from softplus.ops.triton import exponential, kernels, parameters

# Elements of a program and its warps, by bytes of an element: 16 bytes for each thread at a time,
# twice. Not yet measured: `python benchmarks/gpu.py --tune` does.
SHAPES = {2: (2048, 4), 4: (1024, 4), 8: (512, 4)}
# The most elements that 32 bits count, the last program's too.
_NARROW = 2**31 - 2**16
# Shorter rows are copied: a program reads 128 bytes at a time.
_ROW = 64

_HALVES = (torch.bfloat16, torch.float16)


def shape(like: Tensor) -> tuple[int, int]:
    """Return how many elements a program takes, and by how many warps."""
    return SHAPES[like.element_size()]


def _launch(kernel: Any, outputs: tuple[Tensor, ...], *arguments: Any, **options: Any) -> None:
    """Run a kernel over the elements of outputs that have one dense layout.

    On the stream that is current on their device. The compiler may fuse no operations: the maths
    says which are.
    """
    like = outputs[0]
    n = like.numel()
    block, warps = shape(like)
    grid = (triton.cdiv(n, block),)
    options |= {"WIDE": n > _NARROW, "BLOCK": block}
    if like.is_cuda:  # what the interpreter does not know
        options |= {"num_warps": warps, "enable_fp_fusion": False}
        device = like.get_device()
        if device != torch.cuda.current_device():
            with torch.cuda.device(device):
                kernel[grid](*outputs, *arguments, **options)
            return
    kernel[grid](*outputs, *arguments, **options)


def _number(
    kernel: Any,
    outputs: tuple[Tensor, ...],
    inputs: tuple[Tensor, ...],
    beta: float,
    threshold: float = EXACT_THRESHOLD,
    *,
    half: tuple[torch.dtype, ...] = _HALVES,
    double: bool = False,
    **options: Any,
) -> None:
    """Run a kernel with a number as beta; `half` are the dtypes for which few digits will do."""
    like = outputs[0]
    if not like.numel():
        return
    full = like.dtype == torch.float64
    digits = (
        exponential.FULL if full else exponential.HALF if like.dtype in half else exponential.SINGLE
    )
    if like.dtype == torch.float16 and digits is exponential.SINGLE:
        digits = exponential.ODD
    inputs, inner, steps = _in_rows(inputs, like)
    reverts = options.get("KIND") != "less" and threshold < EXACT_THRESHOLD
    _launch(
        kernel,
        outputs,
        *inputs,
        like.numel(),
        inner,
        *steps,
        beta,
        threshold,
        *parameters.of(beta, double=full or double),
        UNIT=abs(beta) == 1 and not reverts,
        NEGATIVE=beta < 0,
        REVERTS=reverts,
        DIGITS=digits.value,
        ROWS=inner != like.numel(),
        **options,
    )


def _in_rows(
    inputs: tuple[Tensor, ...], like: Tensor
) -> tuple[tuple[Tensor, ...], int, tuple[int, ...]]:
    """Return inputs that lie as `like` does or in rows, the length of a row, and their steps."""
    if all(_alike(tensor, like) for tensor in inputs):
        return inputs, like.numel(), (0,) * len(inputs)
    inner = like.shape[-1] if like.dim() else 1
    if like.is_contiguous() and inner >= _ROW:
        rows = [_rows(tensor, inner) for tensor in inputs]
        if None not in rows:
            tensors, steps = zip(*rows, strict=True)
            return tensors, inner, steps
    return tuple(laid_out(tensor, like) for tensor in inputs), like.numel(), (0,) * len(inputs)


def _alike(tensor: Tensor, like: Tensor) -> bool:
    """Whether elements lie in memory in the order of those of `like`, which is dense."""
    return tensor.stride() == like.stride() or (tensor.is_contiguous() and like.is_contiguous())


def _rows(tensor: Tensor, inner: int) -> tuple[Tensor, int] | None:
    """Return a tensor that lies in rows at one distance from each other, and that distance.

    One number for all, as the gradient of a sum, becomes a row that counts for each.
    """
    strides = tensor.stride()
    if not any(strides):
        return tensor[(0,) * (tensor.dim() - 1)].contiguous(), 0
    if strides[-1] != 1:
        return None
    step = expected = None
    for size, stride in zip(tensor.shape[-2::-1], strides[-2::-1], strict=True):
        if size != 1 and stride != (stride if expected is None else expected):
            return None
        if size != 1:
            step, expected = stride if step is None else step, stride * size
    return tensor, inner if step is None else step


def forward_into(output: Tensor, input: Tensor, beta: float, threshold: float) -> Tensor:
    """Write softplus(input) into dense memory: the input's own, or laid out like it."""
    half = (torch.bfloat16,)
    _number(kernels.unary, (output,), (input,), beta, threshold, half=half, KIND="softplus")
    return output


def _forward(output: Tensor, input: Tensor, beta: float, threshold: float) -> None:
    forward_into(output, input, beta, threshold)


def _backward(output: Tensor, grad: Tensor, saved: Tensor, *options: Any) -> None:
    beta, threshold, of_output = options
    _number(kernels.backward, (output,), (grad, saved), beta, threshold, OF_OUTPUT=of_output)


def _double_backward(outputs: tuple[Tensor, Tensor], *arguments: Any) -> None:
    *inputs, beta, threshold, of_output, to_input = arguments
    options = {"OF_OUTPUT": of_output, "TO_INPUT": to_input}
    _number(kernels.double_backward, outputs, tuple(inputs), beta, threshold, **options)


def _shifted(output: Tensor, input: Tensor, beta: float, shift: float | None) -> None:
    if shift is None:
        _number(kernels.unary, (output,), (input,), beta, half=(), KIND="shifted")
        return
    # the shift goes where a threshold does, which this has not
    _number(kernels.unary, (output,), (input,), beta, shift, half=(), double=True, KIND="less")


def _inverse(output: Tensor, input: Tensor, beta: float) -> None:
    _number(kernels.unary, (output,), (input,), beta, half=(), double=True, KIND="inverse")


def _each(kernel: Any) -> Callable[..., None]:
    """Return the function of a kernel with a beta for each element."""

    def fill(results: Tensor | tuple[Tensor, ...], *arguments: Any) -> None:
        *inputs, beta, threshold, shifted = arguments
        outputs = (results,) if isinstance(results, Tensor) else results
        like = outputs[0]
        if not like.numel():
            return
        found = pattern(like, beta)
        if found is None:
            beta, found = laid_out(beta, like), (1, beta.numel())
        run, count = found
        digits = exponential.FULL if like.dtype == torch.float64 else exponential.SINGLE
        _launch(
            kernel,
            outputs,
            *(laid_out(tensor, like) for tensor in inputs),
            beta,
            like.numel(),
            run,
            count,
            threshold,
            SHIFTED=shifted,
            ONE=count == 1,
            REVERTS=threshold < EXACT_THRESHOLD and not shifted,
            DIGITS=digits.value,
        )

    return fill


_FILL: dict[str, Callable[..., None]] = {
    "forward": _forward,
    "backward": _backward,
    "double_backward": _double_backward,
    "shifted": _shifted,
    "inverse": _inverse,
    "forward_each": _each(kernels.forward_each),
    "backward_each": _each(kernels.backward_each),
    "double_backward_each": _each(kernels.double_backward_each),
}

# The operators on tensors of a GPU, by name.
OPERATORS = {name: filled(name, fill) for name, fill in _FILL.items()}
