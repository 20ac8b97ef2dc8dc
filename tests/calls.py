"""The calls that every transform is tested on, each function in each form, and values for them."""

import pytest
import torch
from torch import Tensor

from softplus import Softplus, inverse_softplus, logsigmoid, shifted_softplus, softplus, softplus_

FUNCTIONS = {
    "softplus": softplus,
    "softplus_": softplus_,
    "inverse_softplus": inverse_softplus,
    "shifted_softplus": shifted_softplus,
    "logsigmoid": logsigmoid,
}
each_function = pytest.mark.parametrize("function", FUNCTIONS.values(), ids=FUNCTIONS.keys())
WITH_BETA = {name: function for name, function in FUNCTIONS.items() if name != "logsigmoid"}
each_with_beta = pytest.mark.parametrize("function", WITH_BETA.values(), ids=WITH_BETA.keys())

CALLS = {
    "softplus": softplus,
    "beta": lambda x: softplus(x, 2.0),
    "tensor beta": lambda x: softplus(x, torch.full((), 1.5, dtype=x.dtype)),
    "threshold": lambda x: softplus(x, 1.5, 5.0),
    "shifted": shifted_softplus,
    "shift": lambda x: shifted_softplus(x, 2.0, 0.3),
    "inverse": lambda x: inverse_softplus(x * x + 0.2),
    "logsigmoid": logsigmoid,
    "in place": lambda x: softplus_(x * 1.5),
    "module": Softplus(beta=2),
}
each_call = pytest.mark.parametrize("call", CALLS.values(), ids=CALLS.keys())


def quickly(cases: dict, *quick: str) -> list:
    """Return the cases as parameters of a test, slow but for a few."""
    return [
        pytest.param(case, id=name, marks=[] if name in quick else [pytest.mark.slow])
        for name, case in cases.items()
    ]


def normal(*shape: int, dtype: torch.dtype = torch.float32, scale: float = 3.0) -> Tensor:
    """Return values of both signs, the same on every call."""
    generator = torch.Generator().manual_seed(0)
    return (scale * torch.randn(shape, generator=generator, dtype=torch.float64)).to(dtype)


def close(a: Tensor, b: Tensor) -> bool:
    """Whether kernel and definition agree after several steps."""
    return a.dtype == b.dtype and torch.allclose(a, b, rtol=1e-5, atol=1e-6)


def eager_derivatives(call, x: Tensor) -> tuple[Tensor, Tensor]:
    """Return the first and second derivative of an elementwise call, by plain autograd."""
    leaf = x.detach().clone().requires_grad_()
    (first,) = torch.autograd.grad(call(leaf).sum(), leaf, create_graph=True)
    (second,) = torch.autograd.grad(first.sum(), leaf)
    return first.detach(), second
