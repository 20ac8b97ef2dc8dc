"""User code as type checkers see it: test_typing.py runs mypy and pyright on it, nothing runs it.

What is wrong in it carries an ignore, and a checker that would let it pass reports the ignore.
"""

from collections.abc import Callable
from typing import assert_type

import torch
from torch import Tensor, nn

import softplus
from softplus import (
    LogSigmoid,
    Positive,
    ShiftedSoftplus,
    Softplus,
    convert,
    find_sites,
    harden,
    inverse_softplus,
    logsigmoid,
    shifted_softplus,
    softplus_,
)

x = torch.ones(2, 3)
beta = torch.ones(3, requires_grad=True)

# Every function gives a tensor, of a beta that is a float, an int or a tensor.
assert_type(softplus.softplus(x), Tensor)
assert_type(softplus.softplus(x, 2, 20), Tensor)
assert_type(softplus.softplus(x, beta=beta, threshold=None, inplace=True), Tensor)
assert_type(softplus.softplus(x, 1.5, out=torch.empty(0)), Tensor)
assert_type(softplus_(x, beta, 5.0), Tensor)
assert_type(inverse_softplus(x, beta), Tensor)
assert_type(shifted_softplus(x, 2, shift=beta), Tensor)
assert_type(shifted_softplus(x, shift=None), Tensor)
assert_type(logsigmoid(x), Tensor)
assert_type(logsigmoid(x, out=x), Tensor)

# The modules take the place of PyTorch's, and their beta is a number or a tensor.
activation: nn.Softplus = Softplus(1, 20)
log_sigmoid: nn.LogSigmoid = LogSigmoid()
model = nn.Sequential(nn.Linear(3, 3), Softplus(10, inplace=True), ShiftedSoftplus(learnable=True))
assert_type(Softplus(learnable=True, num_parameters=3).beta, float | Tensor)
assert_type(Softplus().forward(x), Tensor)
assert_type(ShiftedSoftplus(2, 0.5).forward(x), Tensor)
assert_type(LogSigmoid(inplace=True).forward(x), Tensor)
assert_type(Positive(0.1, floor=1e-3).forward(x), Tensor)
assert_type(Positive().inverse(x), Tensor)
assert_type(Softplus().raw_beta, nn.Parameter | None)
annealed = Softplus()
annealed.beta = 2.5


def apply(function: Callable[[Tensor], Tensor], value: Tensor) -> Tensor:
    """Return what a function makes of a tensor, as a model's code calls its activation."""
    return function(value)


apply(softplus.softplus, x)
apply(logsigmoid, x)
apply(Softplus(2), x)
assert_type(torch.func.grad(lambda value: softplus.softplus(value).sum())(x) is None, bool)


class Net(nn.Module):
    """A model of the user's."""


@softplus.patch()
def step(value: Tensor, rate: float = 0.1) -> Tensor:
    """Compute something under a patch."""
    return value * rate


# The tools keep the type of what they are given.
assert_type(convert(Net(), {"relu": Softplus(beta=10)}, include="a", exclude=["b"]), Net)
assert_type(convert(model, {nn.ReLU: Softplus}, sample=(x,), tolerance=0.1), nn.Sequential)
table = {nn.ReLU: Softplus}
assert_type(convert(model, table), nn.Sequential)
by_name = {"relu": Softplus()}
assert_type(convert(model, by_name), nn.Sequential)
assert_type(harden(Net(), x, exclude="head"), Net)
assert_type([site.line for site in find_sites(model)], list[int | None])
assert_type(step(x, rate=0.2), Tensor)

# What must not pass.
convert(model, nn.ReLU, Softplus)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
step("x")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
softplus.softplus([1.0])  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
softplus.softplus(x, "1")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
softplus.softplus(x, 1, beta)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
softplus.softplus(x, 1, 20, True)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
logsigmoid()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
Softplus(beta)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
Softplus(1, 20, True)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
ShiftedSoftplus(threshold=5)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
softplus.softminus(x)  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
