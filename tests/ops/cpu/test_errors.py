"""The largest errors that maths.h states above its functions: reached, and not exceeded.

A search of all float32 numbers (beta = 1) or of millions of points found the points below, each on the
instruction set named with it.
"""

import importlib

import pytest
import torch
from torch import Tensor

import references
from cpp_build import ROOT
from instruction_sets import SETS, each_half, each_isa
from marks import with_kernels
from softplus import inverse_softplus, patch, shifted_softplus, softplus
from softplus.ops import cpu
from ulp import all_halves, exact, worst

pytestmark = with_kernels

# By function, dtype, and beta (1, or any): where the largest error is
POINTS = {
}
ANY_BETA = [0.1, -3.3, 57.0]
HALF_BETAS = [0.1, 0.3, 0.7, 3.0, -10.0, 100.0]


def backward(saved: Tensor, beta: float, *, of_output: bool) -> Tensor:
    """Return the derivative that the kernels give."""
    return torch.ops.softplus.backward(torch.ones_like(saved), saved, beta, 20.0, of_output)


def exponential(x: Tensor, _: float) -> Tensor:
    """Return e^-|x|, which log-sigmoid keeps for its backward."""
    with patch():
        return torch.ops.aten.log_sigmoid_forward(x)[1]


def derivative(x: float, beta: float) -> references.mpf:
    """Return the exact sigmoid(beta·x)."""
    return references.derivatives(x, beta)[1]


FUNCTIONS = {
    "softplus": (softplus, references.softplus),
    "derivative_of_output": (
        lambda x, beta: backward(softplus(x, beta), beta, of_output=True),
        derivative,
    ),
    "derivative_of_input": (lambda x, beta: backward(x, beta, of_output=False), derivative),
    "shifted_to_zero": (shifted_softplus, references.shifted_softplus),
    "inverse": (inverse_softplus, references.inverse_softplus),
    "exponential": (exponential, lambda x, _: references.ctx.exp(-abs(references.ctx.mpf(x)))),
}


def stated() -> dict[tuple[str, str, str], float]:
    """Return the errors that maths.h states."""
    with pytest.MonkeyPatch.context() as patched:
        patched.syspath_prepend(ROOT / "tools")
        return importlib.import_module("stated").largest_errors()


STATED = stated()


def error(function: str, x: Tensor, beta: float) -> float:
    """Return the largest error of a function at some points, in ULP."""
    kernel, reference = FUNCTIONS[function]
    return max(references.ulp_errors(kernel(x, beta), [reference(v, beta) for v in x.tolist()]))


def sample(function: str, dtype: torch.dtype, beta: float) -> Tensor:
    """Return inputs that give normal results."""
    lowest = -80 if dtype == torch.float32 else -690
    v = torch.cat([torch.linspace(lowest, 40, 101), torch.linspace(-4, 4, 201)]).double() + 1e-3
    return ((v.abs() if function == "inverse" else v) / beta).to(dtype)


def test_every_figure_has_its_point():
    assert len(STATED) > 20
    assert {key for key in STATED if "16" not in key[1]} == set(POINTS)


@pytest.mark.parametrize("key", POINTS, ids=" ".join)
def test_a_stated_error_is_reached(key):
    function, dtype, _ = key
    x, beta, isa = POINTS[key]
    if isa not in SETS:
        pytest.skip(f"no {isa} here")
    before = cpu.instruction_set()
    cpu.use(isa)
    try:
        reached = error(function, torch.tensor([x], dtype=getattr(torch, dtype)), beta)
    finally:
        cpu.use(before)
    assert STATED[key] - 0.01 <= reached <= STATED[key]


@each_isa
@pytest.mark.parametrize("key", POINTS, ids=" ".join)
def test_no_stated_error_is_exceeded(key):
    function, dtype, beta = key
    for value in [1.0] if beta == "1" else ANY_BETA:
        x = sample(function, getattr(torch, dtype), value)
        assert error(function, x, value) <= STATED[key]


@each_isa
@each_half
def test_the_stated_errors_of_half_types(dtype):
    x = all_halves(dtype)
    x = x[x.isfinite()]

    def largest(beta: float) -> float:
        y = exact(x, beta)[0]
        inside = y.abs() < torch.finfo(dtype).max
        return worst(softplus(x, beta)[inside], y[inside])

    name = str(dtype).removeprefix("torch.")
    assert largest(1.0) <= STATED["softplus", name, "1"]
    any_beta = STATED["softplus", name, "any"]
    assert any_beta - 0.1 <= max(map(largest, HALF_BETAS)) <= any_beta
