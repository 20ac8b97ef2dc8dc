"""The registered operators: their schemas, their results' shapes, and a beta read at run time.

Whatever serves them, the C++ of `ops/cpu/operators` or other code, adds its kernels to these.

`*_at` take beta as a tensor of no dimensions. To torch.compile a Python
number is a constant of the code it makes, or else a symbol that only arithmetic with tensors may
use; as a tensor it is a value like any other, and code compiled once serves every beta.

Of a backward, `saved` is the output or, without `of_output`, the input. `*_each` takes a beta for
each element, `shifted` softplus(x) - ln2/beta: every tensor has one shape there (callers expand),
beta and the gradients towards it are float64, or float32 on the CPU where the input is not float64;
everything else has the dtype of the input.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.library import Library, register_fake

from softplus.ops import cpu, inductor

SCHEMAS = """
forward(Tensor input, float beta, float threshold) -> Tensor
backward(Tensor grad, Tensor saved, float beta, float threshold, bool of_output) -> Tensor
double_backward(Tensor grad_grad, Tensor grad, Tensor saved, float beta, float threshold, \
bool of_output, bool to_input) -> (Tensor, Tensor)
shifted(Tensor input, float beta, float? shift) -> Tensor
inverse(Tensor input, float beta) -> Tensor
forward_at(Tensor input, Tensor beta, float threshold) -> Tensor
backward_at(Tensor grad, Tensor saved, Tensor beta, float threshold, bool of_output) -> Tensor
double_backward_at(Tensor grad_grad, Tensor grad, Tensor saved, Tensor beta, float threshold, \
bool of_output) -> (Tensor, Tensor)
forward_each(Tensor input, Tensor beta, float threshold, bool shifted) -> Tensor
backward_each(Tensor grad, Tensor input, Tensor beta, float threshold, bool shifted) \
-> (Tensor, Tensor)
double_backward_each(Tensor grad_to_input, Tensor grad_to_beta, Tensor grad, Tensor input, \
Tensor beta, float threshold, bool shifted) -> (Tensor, Tensor, Tensor)
"""

# Whether any kernels may serve them: those for the CPU or, on a PyTorch that knows GPUs, those of
# ops/triton.
SERVED = cpu.absent is None or torch.version.cuda is not None or torch.version.hip is not None

library: Any = Library("softplus", "DEF")  # type: ignore[no-untyped-call]
for _schema in SCHEMAS.strip().splitlines():
    library.define(_schema, tags=(torch.Tag.pt2_compliant_tag,))


# Shapes: what a fake tensor of the result has, and what the kernels refuse


def _result(of: Tensor, beta: float, *gradients: Tensor) -> Tensor:
    """Return an empty result that is like a tensor of the call, once that fits the kernels."""
    _check_dtype(of)
    if not 2.0**-60 <= abs(beta) <= 2.0**60:  # ordinary_beta in operators.h
        raise ValueError(
            f"softplus: the kernels take a beta of 2^-60 to 2^60 in magnitude, got {beta}"
        )
    _check_alike(of, *gradients)
    return torch.empty_like(of)


def _check_dtype(tensor: Tensor) -> None:
    if tensor.dtype not in (torch.float32, torch.float64, torch.bfloat16, torch.float16):
        raise TypeError(f"softplus: no kernel for {tensor.dtype}")


def _check_alike(saved: Tensor, *gradients: Tensor) -> None:
    for gradient in gradients:
        if (gradient.shape, gradient.dtype, gradient.device) != (
            saved.shape,
            saved.dtype,
            saved.device,
        ):
            raise RuntimeError(
                "softplus: a gradient must have the shape, dtype and device of the saved tensor: "
                f"{list(saved.shape)} of {saved.dtype} on {saved.device}"
            )


def beta_dtype(input: Tensor, beta: Tensor) -> torch.dtype:
    """Return the dtype in which the operators with a beta for each element take a beta."""
    single = input.is_cpu and torch.float64 not in (input.dtype, beta.dtype)
    return torch.float32 if single else torch.float64


def _result_each(
    input: Tensor,
    beta: Tensor,
    gradients: tuple[Tensor, ...] = (),
    to_beta: tuple[Tensor, ...] = (),
) -> Tensor:
    """Return what `_result` does, of a call with a beta for each element."""
    _check_dtype(input)
    alike = beta.shape == input.shape and beta.device == input.device
    if not alike or beta.dtype not in (torch.float64, beta_dtype(input, beta)):
        raise RuntimeError(
            "softplus: a beta for each element must be float64, or on the CPU float32 where input "
            f"is not float64, and have the shape and device of input, {input.dtype} of "
            f"{list(input.shape)} on {input.device}, got {beta.dtype} of {list(beta.shape)} on "
            f"{beta.device}"
        )
    _check_alike(input, *gradients)
    _check_alike(beta, *to_beta)
    return torch.empty_like(input)


def _to_beta(input: Tensor, beta: Tensor) -> Tensor:
    return torch.empty_like(input, dtype=beta.dtype)


FAKES: dict[str, Any] = {
    "forward": lambda x, beta, _: _result(x, beta),
    "backward": lambda g, saved, beta, *_: _result(saved, beta, g),
    "double_backward": lambda gg, g, saved, beta, *_: (
        _result(saved, beta, gg, g),
        _result(saved, beta),
    ),
    "shifted": lambda x, beta, _: _result(x, beta),
    "inverse": _result,
    "forward_at": lambda x, *_: _result(x, 1.0),
    "backward_at": lambda g, saved, *_: _result(saved, 1.0, g),
    "double_backward_at": lambda gg, g, saved, *_: (
        _result(saved, 1.0, gg, g),
        torch.empty_like(saved),
    ),
    "forward_each": lambda x, beta, *_: _result_each(x, beta),
    "backward_each": lambda g, x, beta, *_: (_result_each(x, beta, (g,)), _to_beta(x, beta)),
    "double_backward_each": lambda ggx, ggb, g, x, beta, *_: (
        _result_each(x, beta, (ggx, g), (ggb,)),
        torch.empty_like(x),
        _to_beta(x, beta),
    ),
}


def filled(name: str, fill: Callable[..., Any]) -> Callable[..., Any]:
    """Return an operator by the function that fills its results.

    What they are like, and which arguments are refused, the rule for fake tensors says.
    """

    def run(*arguments: Any) -> Any:
        results = FAKES[name](*arguments)
        fill(results, *arguments)
        return results

    return run


for _name, _fake in FAKES.items():
    register_fake(f"softplus::{_name}", inductor.with_rules(_fake), lib=library)


def broadcast(input: Tensor, beta: Tensor) -> tuple[Tensor, Tensor]:
    """Return input and beta as the operators with a beta for each element take them."""
    b = beta.to(beta_dtype(input, beta))
    try:
        return input, b.expand_as(input)  # of the same: broadcast_tensors takes 4 microseconds
    except RuntimeError:
        x, b = torch.broadcast_tensors(input, b)  # type: ignore[no-untyped-call]
        return x, b


# A beta read at run time


def _forward_at(input: Tensor, beta: Tensor, threshold: float) -> Tensor:
    result: Tensor = torch.ops.softplus.forward(input, beta.item(), threshold)
    return result


def _backward_at(
    grad: Tensor, saved: Tensor, beta: Tensor, threshold: float, of_output: bool
) -> Tensor:
    result: Tensor = torch.ops.softplus.backward(grad, saved, beta.item(), threshold, of_output)
    return result


def _double_backward_at(
    grad_grad: Tensor, grad: Tensor, saved: Tensor, beta: Tensor, *options: Any
) -> tuple[Tensor, Tensor]:
    number = beta.item()
    results: tuple[Tensor, Tensor] = torch.ops.softplus.double_backward(
        grad_grad, grad, saved, number, *options, False
    )
    return results


AT_RUN_TIME = {
    "forward_at": _forward_at,
    "backward_at": _backward_at,
    "double_backward_at": _double_backward_at,
}
if cpu.absent is None:
    for _name, _function in AT_RUN_TIME.items():
        library.impl(_name, _function, "CPU")
