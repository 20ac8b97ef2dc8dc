"""What autograd records of the GPU's forward: in place, and double backward in one pass."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from softplus.ops import gradients, triton
from softplus.ops.plain import records


def softplus(input: Tensor, beta: float, threshold: float) -> Tensor:
    """Return softplus of a plain tensor, recorded where autograd is to follow."""
    compute = gradients.implementations(input)["forward"]
    if not records(input):
        result: Tensor = compute(input, beta, threshold)
        return result
    if not gradients.output_determines_gradient(input, threshold):
        return gradients.recorded("forward", compute, input, beta, threshold)
    # In a list the tensor is no argument, to autograd and its hooks: it has no memory to speak of.
    towards = [_apply(_Towards, input)]
    return _apply(_Forward, input, beta, threshold, towards)


def overwrite(input: Tensor, beta: float, threshold: float) -> Tensor:
    """Write softplus over a plain tensor, no leaf, whose result backward needs alone."""
    return _apply(_Overwrite, input, beta, threshold)


def _apply(function: type[Function], *arguments: Any) -> Tensor:
    """Return what `apply` does, which looks for functorch first, and takes twice as long."""
    result: Tensor = super(Function, function).apply(*arguments)  # type: ignore[misc]
    return result


class _Towards(Function):
    """A tensor of one number, in the shape of the input, from which gradients go on to it.

    The derivative of backward by its input goes there in one pass, and keeps no input. Towards the
    output it would take another, and 3 reads and writes of memory besides 5.
    """

    @staticmethod
    def forward(ctx: Any, input: Tensor) -> Tensor:
        ctx.set_materialize_grads(False)
        return input.new_empty(()).expand(input.shape)

    @staticmethod
    def backward(ctx: Any, grad: Tensor | None) -> Tensor | None:  # noqa: ARG004 -- as autograd asks
        return grad


class _Forward(Function):
    """Softplus with a number as beta, of which the output is kept."""

    @staticmethod
    def forward(
        ctx: Any, input: Tensor, beta: float, threshold: float, towards: list[Tensor]
    ) -> Tensor:
        output: Tensor = gradients.implementations(input)["forward"](input, beta, threshold)
        ctx.save_for_backward(output)
        ctx.towards = towards
        ctx.options = beta, threshold, True
        ctx.set_materialize_grads(False)
        return output

    @staticmethod
    def backward(ctx: Any, grad: Tensor | None) -> tuple[Tensor | None, ...]:
        if grad is None:
            return (None,) * 4
        (output,) = gradients.saved_by(ctx)
        if torch.is_grad_enabled():
            result = _Backward.apply(grad, output, *ctx.towards, *ctx.options)  # type: ignore[no-untyped-call]
        else:
            result = gradients.run_backward(grad, output, *ctx.options)
        return result, None, None, None


class _Backward(Function):
    """The gradient of _Forward, whose derivative by the input goes straight there."""

    @staticmethod
    def forward(ctx: Any, grad: Tensor, output: Tensor, _: Tensor, *options: Any) -> Tensor:
        ctx.save_for_backward(grad, output)
        ctx.options = options
        ctx.set_materialize_grads(False)
        return gradients.run_backward(grad, output, *options)

    @staticmethod
    def backward(ctx: Any, grad_grad: Tensor | None) -> tuple[Tensor | None, ...]:
        if grad_grad is None:
            return (None,) * 6
        to_grad, to_input = gradients.run_operator(
            "double_backward", grad_grad, *ctx.saved_tensors, *ctx.options, True
        )
        return to_grad, None, to_input, None, None, None


class _Overwrite(Function):
    """The same over the memory of the input."""

    @staticmethod
    def forward(ctx: Any, input: Tensor, beta: float, threshold: float) -> Tensor:
        ctx.mark_dirty(input)
        output = triton.forward_into(input, input, beta, threshold)
        ctx.save_for_backward(output)
        ctx.options = beta, threshold, True
        ctx.set_materialize_grads(False)
        return output

    @staticmethod
    def backward(ctx: Any, grad: Tensor | None) -> tuple[Tensor | None, ...]:
        return gradients.Forward.backward(ctx, grad)[1:]
