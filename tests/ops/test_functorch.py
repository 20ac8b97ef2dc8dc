"""functorch and forward-mode AD: every transform, nested in either order, to third derivatives."""

import itertools
import math

import pytest
import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.func import (
    functional_call,
    functionalize,
    grad,
    hessian,
    jacfwd,
    jacrev,
    jvp,
    linearize,
    stack_module_state,
    vjp,
    vmap,
)

import references
from calls import CALLS, close, each_call, eager_derivatives, normal
from softplus import (
    LogSigmoid,
    ShiftedSoftplus,
    Softplus,
    inverse_softplus,
    shifted_softplus,
    softplus,
)
from softplus.ops import cpu


@pytest.fixture(autouse=True)
def _no_loop_over_a_batch():
    """Make vmap's fallback, a loop with a warning, an error."""
    torch._C._functorch._set_vmap_fallback_enabled(False)
    yield
    torch._C._functorch._set_vmap_fallback_enabled(True)


@each_call
def test_functorch(call):
    x = normal(7)
    value, (first, second) = call(x), eager_derivatives(call, x)
    assert close(grad(lambda x: call(x).sum())(x), first)
    result, pull = vjp(call, x)
    assert close(result, value)
    assert close(pull(torch.ones(7))[0], first)
    result, tangent = jvp(call, (x,), (torch.ones(7),))
    assert close(result, value)
    assert close(tangent, first)
    assert close(jacrev(call)(x), first.diag())
    assert close(jacfwd(call)(x), first.diag())
    assert close(hessian(lambda x: call(x).sum())(x), second.diag())
    assert close(vmap(call)(x.view(7, 1)), value.view(7, 1))
    assert close(vmap(grad(call))(x), first)


@each_call
def test_functorch_of_a_captured_tensor(call):
    """The level is active and the tensor is not of it: still right, as a constant of the level."""
    x = normal(5)
    y = grad(lambda s: (call(x) * s).sum())(torch.tensor(1.0))
    assert close(y, call(x).sum())
    out = vmap(lambda s: call(x) * s)(torch.tensor([1.0, 2.0]))
    assert close(out[1], 2 * call(x))


# The order of transforms


def forward_derivative(f):
    """Return the derivative of an elementwise function, by forward mode."""
    return lambda x: jvp(f, (x,), (torch.ones_like(x),))[1]


def reverse_derivative(f):
    """Return the derivative of an elementwise function, by reverse mode."""
    return lambda x: vjp(f, x)[1](torch.ones_like(x))[0]


@pytest.mark.parametrize(
    "modes",
    list(itertools.product([forward_derivative, reverse_derivative], repeat=3)),
    ids=lambda modes: "-".join(mode.__name__.split("_")[0] for mode in modes),
)
@pytest.mark.parametrize("beta", [1.0, -2.0])
def test_derivatives_in_every_order_of_modes(modes, beta):
    """Forward over reverse, reverse over reverse and the rest, against references at 60 digits."""
    x = torch.tensor([-20.0, -3.0, -0.5, 0.0, 0.7, 4.0, 17.0], dtype=torch.float64)

    def function(x: Tensor) -> Tensor:
        return softplus(x, beta)

    for order, mode in enumerate(modes, start=1):
        function = mode(function)
        wanted = [float(references.derivatives(v, beta)[order]) for v in x.tolist()]
        # Without the entry it is PyTorch's own, whose second derivative has 1 - sigmoid in it.
        absolute = 1e-300 if cpu.entry_absent is None else torch.finfo(x.dtype).eps
        assert function(x).tolist() == pytest.approx(wanted, rel=1e-9, abs=absolute)


@pytest.mark.parametrize(
    "call",
    # PyTorch refuses any in-place operation in a jacfwd of jacfwd: its tangent there is read-only.
    [call for name, call in CALLS.items() if name != "in place"],
    ids=[name for name in CALLS if name != "in place"],
)
def test_jacobians_of_jacobians(call):
    x = normal(4, dtype=torch.float64)
    second = eager_derivatives(call, x)[1]
    wanted = torch.zeros(4, 4, 4, dtype=torch.float64)
    wanted[range(4), range(4), range(4)] = second
    for outer, inner in itertools.product([jacfwd, jacrev], repeat=2):
        assert close(outer(inner(call))(x), wanted)
        assert close(outer(inner(lambda x: call(x).sum()))(x), second.diag())
    assert close(jacfwd(hessian(lambda x: call(x).sum()))(x), third(call, x))


def third(call, x: Tensor) -> Tensor:
    """Return the third derivatives of the sum of an elementwise call, by plain autograd."""
    leaf = x.detach().requires_grad_()
    result = call(leaf)
    for _ in range(3):
        (result,) = torch.autograd.grad(result.sum(), leaf, create_graph=True)
    wanted = torch.zeros(3 * x.shape, dtype=x.dtype)
    wanted[(range(x.numel()),) * 3] = result.detach()
    return wanted


# vmap


@each_call
@pytest.mark.parametrize("in_dim", [0, 1, 2, -1])
@pytest.mark.parametrize("out_dim", [0, 1, -1])
def test_vmap_over_any_dimension(call, in_dim, out_dim):
    x = normal(2, 3, 4)
    result = vmap(call, in_dims=in_dim, out_dims=out_dim)(x)
    assert close(result, call(x).movedim(in_dim, out_dim))
    assert close(vmap(call, in_dims=in_dim, chunk_size=2)(x), call(x).movedim(in_dim, 0))


@each_call
def test_nested_vmap(call):
    x = normal(2, 3, 4)
    assert close(vmap(vmap(vmap(call)))(x), call(x))
    assert close(vmap(vmap(call, in_dims=1, out_dims=1), in_dims=2, out_dims=2)(x), call(x))
    first = eager_derivatives(call, x)[0]
    assert close(vmap(vmap(vmap(grad(call))))(x), first)
    assert close(vmap(grad(lambda row: vmap(call)(row).sum()), in_dims=1, out_dims=1)(x), first)


@pytest.mark.parametrize("in_dims", [(0, 0), (0, None), (None, 0), (1, 0), (-1, None)])
@pytest.mark.parametrize("function", [softplus, shifted_softplus, inverse_softplus])
def test_vmap_over_input_and_beta(function, in_dims):
    x = normal(3, 3).abs() + 0.1
    beta = torch.tensor([0.5, 1.0, 2.0])
    result = vmap(function, in_dims=in_dims)(x, beta)
    for index in range(3):
        row = x if in_dims[0] is None else x.select(in_dims[0], index)
        assert close(result[index], function(row, beta if in_dims[1] is None else beta[index]))


# Models


def model() -> nn.Module:
    """Return a model with every module of the package, a learnable beta among them."""
    torch.manual_seed(0)
    activations = [Softplus(2, learnable=True), ShiftedSoftplus(3), LogSigmoid()]
    layers = [layer for activation in activations for layer in (nn.Linear(4, 4), activation)]
    return nn.Sequential(*layers, nn.Linear(4, 1))


def test_per_sample_gradients():
    module, x = model(), normal(5, 4)
    parameters = dict(module.named_parameters())

    def loss(parameters: dict, sample: Tensor) -> Tensor:
        return functional_call(module, parameters, (sample,)).square().sum()

    each = vmap(grad(loss), in_dims=(None, 0))(parameters, x)
    for index in range(5):
        module.zero_grad()
        module(x[index]).square().sum().backward()
        for name, parameter in parameters.items():
            torch.testing.assert_close(each[name][index], parameter.grad, rtol=1e-5, atol=1e-6)


def test_an_ensemble():
    modules, x = [model() for _ in range(3)], normal(5, 4)
    for factor, module in enumerate(modules, start=1):
        torch.nn.utils.vector_to_parameters(
            torch.nn.utils.parameters_to_vector(module.parameters()).detach() * factor,
            module.parameters(),
        )
    parameters, buffers = stack_module_state(modules)
    results = vmap(
        lambda parameters, buffers: functional_call(modules[0], (parameters, buffers), (x,))
    )(parameters, buffers)
    for result, module in zip(results, modules, strict=True):
        torch.testing.assert_close(result, module(x))


def test_hessian_of_a_model():
    """The Hessian in all parameters, of forward over reverse and of plain double backward."""
    module, x = model().double(), normal(3, 4, dtype=torch.float64)
    names = [name for name, _ in module.named_parameters()]
    start = torch.nn.utils.parameters_to_vector(module.parameters()).detach()

    def loss(vector: Tensor) -> Tensor:
        parameters, offset = {}, 0
        for name, parameter in module.named_parameters():
            parameters[name] = vector[offset : offset + parameter.numel()].view_as(parameter)
            offset += parameter.numel()
        return functional_call(module, parameters, (x,)).square().sum()

    assert len(names) == 9
    wanted = torch.autograd.functional.hessian(loss, start)
    torch.testing.assert_close(hessian(loss)(start), wanted)
    torch.testing.assert_close(jacrev(jacrev(loss))(start), wanted)


# What a transform finds inside it


@each_call
def test_functionalize(call):
    x = normal(5)
    assert close(functionalize(call)(x), call(x))
    assert close(functionalize(grad(lambda x: call(x).sum()))(x), eager_derivatives(call, x)[0])


@each_call
@pytest.mark.filterwarnings("ignore:Attempted to insert a get_attr Node:UserWarning")  # torch's
def test_linearize(call):
    x, v = normal(5), normal(5, scale=1.0)
    value, derivative = linearize(call, x)
    assert close(value, call(x))
    assert close(derivative(v), eager_derivatives(call, x)[0] * v)


@each_call
def test_the_backward_of_a_plain_result_under_every_transform(call):
    """The graph is the kernels', built outside; functorch meets its backward alone."""
    x = normal(4).requires_grad_()
    y, (first, second) = call(x), eager_derivatives(call, x)
    (gradient,) = torch.autograd.grad(y.sum(), x, create_graph=True)
    v = normal(4, scale=1.0)
    for result, slope in ((y, first), (gradient, second)):

        def pull(v: Tensor, result: Tensor = result) -> Tensor:
            return torch.autograd.grad(result, x, v, create_graph=True)[0]

        assert close(vmap(pull)(torch.eye(4)), slope.diag())
        assert close(jvp(pull, (v,), (2 * v,))[1], 2 * v * slope)
        assert close(jacrev(pull)(v), slope.diag())
        assert close(jacfwd(pull)(v), slope.diag())
        assert close(grad(lambda v: pull(v).sum())(v), slope)


@each_call
def test_batched_gradients_of_plain_autograd(call):
    x = normal(4).requires_grad_()
    first = eager_derivatives(call, x)[0]
    (rows,) = torch.autograd.grad(call(x), x, torch.eye(4), is_grads_batched=True)
    assert close(rows, first.diag())
    for strategy in ("reverse-mode", "forward-mode"):
        jacobian = torch.autograd.functional.jacobian(
            call, x.detach(), vectorize=True, strategy=strategy
        )
        assert close(jacobian, first.diag())


# Forward mode outside functorch


@each_call
def test_forward_mode(call):
    x, v = normal(9), normal(9, scale=0.5)
    with forward_ad.dual_level():
        primal, tangent = forward_ad.unpack_dual(call(forward_ad.make_dual(x, v)))
    assert close(primal, call(x))
    assert tangent is not None
    assert close(tangent, eager_derivatives(call, x)[0] * v)


@each_call
def test_forward_mode_over_reverse(call):
    x, v = normal(9), normal(9, scale=0.5)
    first, second = eager_derivatives(call, x)
    with forward_ad.dual_level():
        dual = forward_ad.make_dual(x.clone().requires_grad_(), v)
        (gradient,) = torch.autograd.grad(call(dual).sum(), dual, create_graph=True)
        primal, tangent = forward_ad.unpack_dual(gradient)
    assert close(primal, first)
    assert close(tangent, second * v)


@each_call
@pytest.mark.parametrize("create_graph", [False, True])
def test_a_tangent_of_the_gradient_alone(call, create_graph):
    x, g, v = normal(9), normal(9), normal(9, scale=0.5)
    first, _ = eager_derivatives(call, x)
    x.requires_grad_()
    y = call(x)
    with forward_ad.dual_level():
        dual = forward_ad.make_dual(g, v)
        (gradient,) = torch.autograd.grad(y, x, dual, create_graph=create_graph)
        primal, tangent = forward_ad.unpack_dual(gradient)
    assert close(primal, first * g)
    assert tangent is not None
    assert close(tangent, first * v)


@each_call
def test_a_tangent_of_the_second_gradient_alone(call):
    x, g, gg, v = normal(9), normal(9), normal(9), normal(9, scale=0.5)
    first, second = eager_derivatives(call, x)
    x.requires_grad_()
    g.requires_grad_()
    (gradient,) = torch.autograd.grad(call(x), x, g, create_graph=True)
    with forward_ad.dual_level():
        dual = forward_ad.make_dual(gg, v)
        towards = torch.autograd.grad(gradient, (g, x), dual)
        tangents = [forward_ad.unpack_dual(each).tangent for each in towards]
    assert close(tangents[0], first * v)
    assert close(tangents[1], second * g * v)


def test_a_derivative_of_beta_in_every_mode():
    """Where the textbook's (x·s - y)/beta has lost its digits: at x = 17."""
    x, beta = torch.tensor([-17.0, 0.5, 17.0]).double(), torch.tensor(1.0).double()
    wanted = [float(references.beta_derivatives(v)[0]) for v in x.tolist()]

    def function(beta: Tensor) -> Tensor:
        return softplus(x, beta)

    for jacobian in (jacrev, jacfwd):
        assert jacobian(function)(beta).tolist() == pytest.approx(wanted, rel=1e-12)
    second = [float(references.beta_derivatives(v)[2]) for v in x.tolist()]
    assert jacfwd(jacrev(function))(beta).tolist() == pytest.approx(second, rel=1e-12)
    assert math.isfinite(hessian(lambda b: function(b).sum())(beta))
