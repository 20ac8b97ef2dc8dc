"""The operators under autograd where Python runs the kernels: what is saved, and how it is used."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from softplus.ops import cpu, definition, operators, triton
from softplus.ops.composed import COMPOSED
from softplus.ops.cpu import calls
from softplus.ops.definition import EXACT_THRESHOLD
from softplus.ops.plain import is_dense, is_eager, under_transform

# As in operators/node.cpp.
_KEEPS_RESULT = (
    "softplus keeps its result for backward, as ReLU does, and not its input. Where y is that "
    "result, write `y = y + 1` in the place of `y += 1`; or call softplus with "
    "threshold=float('inf'), which is the exact function too and keeps the input."
)

# What computes an operator: a kernel, or the operator itself below autograd, where modes see it.
Compute = Callable[..., Any]


def output_determines_gradient(input: Tensor, threshold: float) -> bool:
    """Whether backward needs the output alone, as in operators/autograd.cpp."""
    return EXACT_THRESHOLD <= threshold < math.inf and input.dtype != torch.float16


def run_operator(name: str, *arguments: Any) -> Any:
    """Return an operator's result: by its kernel in a plain call without grad, else by itself."""
    if is_eager() and not torch.is_grad_enabled():
        tensors = [argument for argument in arguments if isinstance(argument, Tensor)]
        of_one_device = len({tensor.device for tensor in tensors}) == 1
        if of_one_device and all(is_dense(tensor) for tensor in tensors):
            return implementations(tensors[0])[name](*arguments)
    return getattr(torch.ops.softplus, name)(*arguments)


def run_backward(grad: Tensor, saved: Tensor, *options: Any) -> Tensor:
    """Return what `run_operator` does for "backward", in half the time on 64 elements."""
    plain = is_eager() and not torch.is_grad_enabled() and is_dense(grad) and is_dense(saved)
    alike = grad.shape == saved.shape and grad.dtype == saved.dtype
    if plain and alike and grad.is_cpu and saved.is_cpu:
        return calls.plain_backward(grad, saved, *options)
    on_gpu = plain and grad.is_cuda and saved.is_cuda
    operator = triton.implementations()["backward"] if on_gpu else torch.ops.softplus.backward
    result: Tensor = operator(grad, saved, *options)
    return result


def saved_by(ctx: Any) -> tuple[Tensor, ...]:
    """Return what a node saved; of a result changed since, say what it was."""
    try:
        saved: tuple[Tensor, ...] = ctx.saved_tensors
    except RuntimeError as error:
        if ctx.options[-1] and "modified by an inplace" in str(error):
            raise RuntimeError(f"{error}\n{_KEEPS_RESULT}") from None
        raise
    return saved


def implementations(tensor: Tensor) -> dict[str, Callable[..., Any]]:
    """Return the operators on plain tensors of this one's device, by name."""
    return calls.OPERATORS if tensor.is_cpu else triton.implementations()


class Forward(Function):
    """Softplus with a number as beta."""

    @staticmethod
    def forward(ctx: Any, compute: Compute, input: Tensor, beta: float, threshold: float) -> Tensor:
        output: Tensor = compute(input, beta, threshold)
        of_output = output_determines_gradient(input, threshold)
        ctx.save_for_backward(output if of_output else input)
        ctx.options = beta, threshold, of_output
        ctx.set_materialize_grads(False)
        return output

    @staticmethod
    def backward(ctx: Any, grad: Tensor | None) -> tuple[Tensor | None, ...]:
        if grad is None:
            return (None,) * 4
        return None, run_backward(grad, *saved_by(ctx), *ctx.options), None, None


class Backward(Function):
    """The gradient of Forward and Shifted."""

    @staticmethod
    def forward(
        ctx: Any,
        compute: Compute,
        grad: Tensor,
        saved: Tensor,
        *options: Any,
    ) -> Tensor:
        ctx.save_for_backward(grad, saved)
        ctx.options = options
        ctx.set_materialize_grads(False)
        result: Tensor = compute(grad, saved, *options)
        return result

    @staticmethod
    def backward(ctx: Any, grad_grad: Tensor | None) -> tuple[Tensor | None, ...]:
        if grad_grad is None:
            return (None,) * 6
        to_grad, to_saved = run_operator(
            "double_backward", grad_grad, *ctx.saved_tensors, *ctx.options, False
        )
        return None, to_grad, to_saved, None, None, None


class ForwardAt(Function):
    """Softplus with a beta that is read as it runs."""

    @staticmethod
    def forward(
        ctx: Any, compute: Compute, input: Tensor, beta: Tensor, threshold: float
    ) -> Tensor:
        output: Tensor = compute(input, beta, threshold)
        of_output = output_determines_gradient(input, threshold)
        ctx.save_for_backward(output if of_output else input, beta)
        ctx.options = threshold, of_output
        ctx.set_materialize_grads(False)
        return output

    @staticmethod
    def backward(ctx: Any, grad: Tensor | None) -> tuple[Tensor | None, ...]:
        if grad is None:
            return (None,) * 4
        gradient = torch.ops.softplus.backward_at(grad, *saved_by(ctx), *ctx.options)
        return None, gradient, None, None


class BackwardAt(Function):
    """The gradient of ForwardAt."""

    @staticmethod
    def forward(
        ctx: Any, compute: Compute, grad: Tensor, saved: Tensor, beta: Tensor, *options: Any
    ) -> Tensor:
        ctx.save_for_backward(grad, saved, beta)
        ctx.options = options
        ctx.set_materialize_grads(False)
        result: Tensor = compute(grad, saved, beta, *options)
        return result

    @staticmethod
    def backward(ctx: Any, grad_grad: Tensor | None) -> tuple[Tensor | None, ...]:
        if grad_grad is None:
            return (None,) * 6
        to_grad, to_saved = torch.ops.softplus.double_backward_at(
            grad_grad, *ctx.saved_tensors, *ctx.options
        )
        return None, to_grad, to_saved, None, None, None


class Shifted(Function):
    """Softplus minus a shift."""

    @staticmethod
    def forward(
        ctx: Any, compute: Compute, input: Tensor, beta: float, shift: float | None
    ) -> Tensor:
        ctx.save_for_backward(input)
        ctx.options = beta, EXACT_THRESHOLD, False
        ctx.set_materialize_grads(False)
        result: Tensor = compute(input, beta, shift)
        return result

    backward = Forward.backward


class Inverse(Function):
    """The inverse, whose derivative 1 / -expm1(-beta·y) PyTorch differentiates."""

    @staticmethod
    def forward(ctx: Any, compute: Compute, input: Tensor, beta: float) -> Tensor:
        ctx.save_for_backward(input)
        ctx.beta = beta
        ctx.set_materialize_grads(False)
        result: Tensor = compute(input, beta)
        return result

    @staticmethod
    def backward(ctx: Any, grad: Tensor | None) -> tuple[Tensor | None, ...]:
        if grad is None:
            return None, None, None
        y, _ = definition.computing(ctx.saved_tensors[0], ctx.beta)
        return None, (-torch.expm1(-ctx.beta * y).reciprocal() * grad).to(grad.dtype), None


class ForwardEach(Function):
    """Softplus with a beta for each element."""

    @staticmethod
    def forward(ctx: Any, compute: Compute, input: Tensor, beta: Tensor, *options: Any) -> Tensor:
        ctx.save_for_backward(input, beta)
        ctx.options = options
        ctx.set_materialize_grads(False)
        result: Tensor = compute(input, beta, *options)
        return result

    @staticmethod
    def backward(ctx: Any, grad: Tensor | None) -> tuple[Tensor | None, ...]:
        if grad is None:
            return (None,) * 5
        return (
            None,
            *run_operator("backward_each", grad, *ctx.saved_tensors, *ctx.options),
            None,
            None,
        )


class ForwardBroadcast(Function):
    """Softplus with a beta that broadcasts, the sums over what was expanded in one node."""

    @staticmethod
    def forward(ctx: Any, compute: Compute, input: Tensor, beta: Tensor, *options: Any) -> Tensor:
        ctx.save_for_backward(input, beta)
        ctx.options = options
        ctx.set_materialize_grads(False)
        result: Tensor = compute(*operators.broadcast(input, beta), *options)
        return result

    @staticmethod
    def backward(ctx: Any, grad: Tensor | None) -> tuple[Tensor | None, ...]:
        if grad is None:
            return (None,) * 5
        x, beta = ctx.saved_tensors
        plain = is_eager() and not torch.is_grad_enabled()
        if plain and x.is_cpu and is_dense(grad) and is_dense(x) and is_dense(beta):
            summed = calls.backward_summed(grad, x, beta, *ctx.options)
            if summed:
                return None, summed[0], summed[1].to(beta.dtype), None, None
        each_beta = operators.broadcast(x, beta)
        to_input, to_beta = run_operator("backward_each", grad, *each_beta, *ctx.options)
        if ctx.needs_input_grad[2]:
            if to_beta.shape != beta.shape:
                to_beta = to_beta.double().sum_to_size(beta.shape)
            to_beta = to_beta.to(beta.dtype)
        return None, to_input.sum_to_size(x.shape), to_beta, None, None


class BackwardEach(Function):
    """The gradients of ForwardEach."""

    @staticmethod
    def forward(
        ctx: Any, compute: Compute, grad: Tensor, input: Tensor, beta: Tensor, *options: Any
    ) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(grad, input, beta)
        ctx.options = options
        result: tuple[Tensor, Tensor] = compute(grad, input, beta, *options)
        return result

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        gradients = run_operator("double_backward_each", *grads, *ctx.saved_tensors, *ctx.options)
        return None, *gradients, None, None


_FUNCTIONS: dict[str, type[Function]] = {
    "forward": Forward,
    "backward": Backward,
    "forward_at": ForwardAt,
    "backward_at": BackwardAt,
    "shifted": Shifted,
    "inverse": Inverse,
    "forward_each": ForwardEach,
    "backward_each": BackwardEach,
}


# By what is below Function's own `apply`, which looks for functorch first and takes twice as long.
_APPLY: dict[str, Callable[..., Any]] = {
    name: super(Function, function).apply  # type: ignore[misc]
    for name, function in (_FUNCTIONS | {"broadcast": ForwardBroadcast}).items()
}


def recorded(name: str, compute: Compute, *arguments: Any) -> Tensor:
    """Return what `compute` gives for the operator of this name, recorded by autograd."""
    result: Tensor = _APPLY[name](compute, *arguments)
    return result


def each(compute: Compute, input: Tensor, beta: Tensor, threshold: float, shifted: bool) -> Tensor:
    """Return softplus with a beta that broadcasts, by `compute` for a beta for each element."""
    if torch.is_grad_enabled() and (input.requires_grad or beta.requires_grad):
        return recorded("broadcast", compute, input, beta, threshold, shifted)
    result: Tensor = compute(*operators.broadcast(input, beta), threshold, shifted)
    return result


def plain(name: str, *arguments: Any) -> Tensor:
    """Return an operator's result in a plain call, recorded by autograd where it should be."""
    compute = implementations(arguments[0])[name]
    if torch.is_grad_enabled() and _require_grad(arguments):
        return recorded(name, compute, *arguments)
    result: Tensor = compute(*arguments)
    return result


def _require_grad(arguments: tuple[Any, ...]) -> bool:
    for value in arguments:  # noqa: SIM110 -- `any` takes three times as long
        if isinstance(value, Tensor) and value.requires_grad:
            return True
    return False


def _under_autograd(name: str) -> Callable[..., Any]:
    """Return what an operator does where autograd records it, or forward-mode AD carries tangents.

    Third derivatives, and tangents, go through PyTorch's own operators.
    """
    operator = getattr(torch.ops.softplus, name).default
    below_autograd = torch._C._AutoDispatchBelowAutograd  # noqa: SLF001 -- as in torch.library

    def below(*arguments: Any) -> Any:
        with below_autograd():
            return operator(*arguments)

    def run(*arguments: Any) -> Any:
        if under_transform():
            return COMPOSED[name](*arguments)
        if not (torch.is_grad_enabled() and _require_grad(arguments)):
            with below_autograd():  # as `below` does, without its call
                return operator(*arguments)
        if name in _FUNCTIONS:
            return recorded(name, below, *arguments)
        return COMPOSED[name](*arguments)

    return run


if operators.SERVED:
    _names = ["forward_at", "backward_at", "double_backward_at"]
    if cpu.entry_absent is not None:
        _names = [*_FUNCTIONS, "double_backward", "double_backward_at", "double_backward_each"]
    for _name in _names:
        operators.library.impl(_name, _under_autograd(_name), "Autograd")
        operators.library.impl(_name, COMPOSED[_name], "FuncTorchDynamicLayerFrontMode")
