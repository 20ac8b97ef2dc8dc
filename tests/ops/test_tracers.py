"""What tracers record of each function: the function itself, and no constant."""

import pytest
import torch
from torch import Tensor, fx, nn
from torch.func import grad
from torch.fx.experimental.proxy_tensor import make_fx

import softplus as package
from calls import close, each_call, normal
from derivatives import POINTS, Function, assert_same, with_derivatives
from softplus import Softplus, logsigmoid, shifted_softplus, softplus

BETA = torch.tensor(1.3, dtype=torch.float64)


TRACED = {
    "softplus": (lambda x: package.softplus(x, 1.3), POINTS),
    "softplus, tensor beta": (lambda x: package.softplus(x, BETA), POINTS),
    "softplus, threshold": (lambda x: package.softplus(x, 1.3, 5.0), POINTS),
    "softplus_": (lambda x: package.softplus_(x.clone(), 1.3), POINTS),
    "shifted_softplus": (lambda x: package.shifted_softplus(x, 1.3), POINTS),
    "inverse_softplus": (lambda x: package.inverse_softplus(x, 1.3), POINTS.abs() + 0.1),
    "logsigmoid": (package.logsigmoid, POINTS),
}
each_traced = pytest.mark.parametrize(("function", "x"), TRACED.values(), ids=TRACED.keys())


class Holder(torch.nn.Module):
    """A module around a function, as torch.export asks for."""

    def __init__(self, function: Function) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


def assert_follows(traced: Function, function: Function, x: Tensor) -> None:
    """Assert that what was traced on x is the function on other values too."""
    other = x.flip(0) * 1.5 + 0.01
    assert_same(traced(x), function(x))
    assert_same(traced(other), function(other))
    assert_same(with_derivatives(traced, other, 1)[1], with_derivatives(function, other, 1)[1])


@each_traced
def test_compile(function, x):
    torch.compiler.reset()
    assert_follows(torch.compile(function, fullgraph=True, backend="eager"), function, x)


@each_traced
def test_fx_symbolic_trace(function, x):
    assert_follows(torch.fx.symbolic_trace(Holder(function)), function, x)


@each_traced
@pytest.mark.parametrize("mode", ["real", "fake", "symbolic"])
def test_make_fx(function, x, mode):
    def of_one_argument(x: Tensor) -> Tensor:  # make_fx counts keyword-only arguments too
        return function(x)

    traced = make_fx(of_one_argument, tracing_mode=mode, _allow_non_fake_inputs=True)(x)
    assert_follows(traced, function, x)


# jit.trace is deprecated and still in use; what it records must be right.
@pytest.mark.filterwarnings("ignore:`torch.jit.trace` is deprecated:DeprecationWarning")
@each_traced
def test_jit_trace(function, x):
    assert_follows(torch.jit.trace(function, (x,)), function, x)


@each_traced
@pytest.mark.parametrize("strict", [False, True])
def test_export(function, x, strict):
    exported = torch.export.export(Holder(function), (x,), strict=strict)
    assert_follows(exported.module(), function, x)


def test_make_fx_of_the_gradient():
    def gradient(x):
        return grad(lambda x: package.softplus(x, 1.3).sum())(x)

    traced = make_fx(gradient)(POINTS)
    assert_same(traced(-POINTS), gradient(-POINTS))


# Each function in each form, in float32


@each_call
@pytest.mark.parametrize("mode", ["real", "fake", "symbolic"])
def test_make_fx_of_each_form(call, mode):
    def of_one_argument(x: Tensor) -> Tensor:
        return call(x)

    graph = make_fx(of_one_argument, tracing_mode=mode)(normal(6))
    other = normal(6, scale=1.0) - 0.5
    assert close(graph(other), call(other))


@each_call
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_jit_trace_of_each_form(call):
    traced = torch.jit.trace(call, normal(6), check_trace=False)
    other = torch.tensor([-30.0, -2.0, 0.0, 1.0, 3.0, 19.0])
    assert close(traced(other), call(other))


def test_fx_symbolic_trace_of_a_model():
    class Model(nn.Module):
        """Functions and a module."""

        def __init__(self):
            super().__init__()
            self.activation = Softplus(beta=2)

        def forward(self, x: Tensor) -> Tensor:
            return logsigmoid(shifted_softplus(softplus(self.activation(x), 3.0)))

    model, x = Model(), normal(6)
    assert close(fx.symbolic_trace(model)(x), model(x))
