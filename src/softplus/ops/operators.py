"""What the registered operators have beyond C++: rules for functorch, and a beta read at run time.

`forward_at` and `backward_at` take beta as a tensor of no dimensions. To torch.compile a Python
number is a constant of the code it makes, or else a symbol that only arithmetic with tensors may
use; as a tensor it is a value like any other, and code compiled once serves every beta.
"""

from typing import Any

import torch
from torch import Tensor
from torch.library import Library, register_autograd, register_fake

from softplus.ops import cpu, definition


def _forward_at(input: Tensor, beta: Tensor, threshold: float) -> Tensor:
    result: Tensor = torch.ops.softplus.forward(input, beta.item(), threshold)
    return result


def _backward_at(
    grad: Tensor, saved: Tensor, beta: Tensor, threshold: float, of_output: bool
) -> Tensor:
    result: Tensor = torch.ops.softplus.backward(grad, saved, beta.item(), threshold, of_output)
    return result


def _save(ctx: Any, inputs: tuple[Tensor, Tensor, float], output: Tensor) -> None:
    x, beta, ctx.threshold = inputs
    # What the kernels save: see output_determines_gradient in autograd.cpp.
    ctx.of_output = ctx.threshold >= definition.EXACT_THRESHOLD and x.dtype != torch.float16
    ctx.save_for_backward(output if ctx.of_output else x, beta)


def _differentiate(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
    saved, beta = ctx.saved_tensors
    # Where the gradient will be differentiated, the definition is: the operator has no derivative.
    twice = torch.is_grad_enabled()
    backward = definition.backward if twice else torch.ops.softplus.backward_at
    return backward(grad, saved, beta, ctx.threshold, ctx.of_output), None, None


def _double_backward(
    grad_grad: Tensor, grad: Tensor, saved: Tensor, *options: Any
) -> tuple[Tensor, Tensor]:
    *options_of_backward, to_input = options

    def backward(grad: Tensor, saved: Tensor) -> Tensor:
        return definition.backward(grad, saved, *options_of_backward)

    to_grad: Tensor
    to_grad, second = torch.func.vjp(backward, grad, saved)[1](grad_grad)
    of_output = options_of_backward[-1]
    return to_grad, backward(second, saved) if of_output and to_input else second


# functorch can neither enter C++ autograd nor batch a kernel without a loop: at any of its levels
# an operator is what the definition makes of it.
_UNDER_FUNCTORCH = {
    "forward": definition.softplus,
    "forward_at": definition.softplus,
    "backward": definition.backward,
    "backward_at": definition.backward,
    "double_backward": _double_backward,
    "shifted": definition.shifted_softplus,
    "inverse": definition.inverse_softplus,
}

if cpu.absent is None:
    _library: Any = Library("softplus", "FRAGMENT")  # type: ignore[no-untyped-call]
    _library.define("forward_at(Tensor input, Tensor beta, float threshold) -> Tensor")
    _library.define(
        "backward_at(Tensor grad, Tensor saved, Tensor beta, float threshold, bool of_output) "
        "-> Tensor"
    )
    _library.impl("forward_at", _forward_at, "CPU")
    _library.impl("backward_at", _backward_at, "CPU")
    register_fake("softplus::forward_at", lambda x, *_: torch.empty_like(x), lib=_library)
    register_fake("softplus::backward_at", lambda _, y, *__: torch.empty_like(y), lib=_library)
    register_autograd("softplus::forward_at", _differentiate, setup_context=_save, lib=_library)
    for _name, _function in _UNDER_FUNCTORCH.items():
        _library.impl(_name, _function, "FuncTorchDynamicLayerFrontMode")
