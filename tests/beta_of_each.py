"""The kernels with a beta for each element, called in the library on tensors of one shape.

Beta is float64 or, where x is not, float32.
"""

import torch
from torch import Tensor

from softplus.ops import cpu

DTYPES = [torch.float32, torch.float64, torch.bfloat16, torch.float16]


def _run(
    kernel: str, outputs: list[Tensor], inputs: list[Tensor], threshold: float, *, shifted: bool
) -> list[Tensor]:
    x = inputs[-2]
    tensors = [*outputs, *(tensor.contiguous() for tensor in inputs)]
    cpu._kernels.run(
        cpu._kernels.KERNELS.index(kernel),
        DTYPES.index(x.dtype),
        x.numel(),
        1.0,
        threshold,
        0.0,
        (2 if shifted else 0) + (16 if inputs[-1].dtype == torch.float32 else 0),
        1,
        max(x.numel(), 1),
        1,
        *(tensor.data_ptr() for tensor in tensors),
    )
    return outputs


def forward(x: Tensor, beta: Tensor, threshold: float = 20.0, *, shifted: bool = False) -> Tensor:
    """Return softplus(x), or with `shifted` softplus(x) - ln2/beta."""
    return _run("forward_each", [torch.empty_like(x)], [x, beta], threshold, shifted=shifted)[0]


def backward(
    g: Tensor, x: Tensor, beta: Tensor, threshold: float = 20.0, *, shifted: bool = False
) -> list[Tensor]:
    """Return the gradients towards x and beta."""
    outputs = [torch.empty_like(x), torch.empty_like(beta)]
    return _run("backward_each", outputs, [g, x, beta], threshold, shifted=shifted)


def double_backward(
    grads: tuple[Tensor, Tensor],
    g: Tensor,
    x: Tensor,
    beta: Tensor,
    threshold: float = 20.0,
    *,
    shifted: bool = False,
) -> list[Tensor]:
    """Return the gradients towards g, x and beta of those that come in towards x and beta."""
    outputs = [torch.empty_like(x), torch.empty_like(x), torch.empty_like(beta)]
    inputs = [*grads, g, x, beta]
    return _run("double_backward_each", outputs, inputs, threshold, shifted=shifted)


def everything(x: Tensor, beta: Tensor) -> dict[str, Tensor]:
    """Return the result of each kernel in each form at x, with gradients that vary."""
    x, beta = x.contiguous(), beta.contiguous()
    g, towards_x = x * 0.37 + 1, x * 0.11 - 1
    towards_beta = (beta.double() * 0.3 - 0.2).float().to(beta.dtype)  # the same for any type
    results = {}
    for form, threshold, shifted in [
        ("", 20.0, False),
        ("reverting ", 5.0, False),
        ("shifted ", 20.0, True),
    ]:
        gradients = backward(g, x, beta, threshold, shifted=shifted)
        twice = double_backward((towards_x, towards_beta), g, x, beta, threshold, shifted=shifted)
        results[form + "forward"] = forward(x, beta, threshold, shifted=shifted)
        results |= {f"{form}backward {i}": result for i, result in enumerate(gradients)}
        results |= {f"{form}double backward {i}": result for i, result in enumerate(twice)}
    return results
