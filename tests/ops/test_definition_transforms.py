"""The definition under autograd and function transforms, in float64."""

import pytest
import torch
from torch.autograd import forward_ad
from torch.func import grad, hessian, jacfwd, jacrev, jvp, vmap

from derivatives import POINTS, assert_same, with_derivatives
from softplus.ops import definition

# torch's own forward-mode formulas are scripted, which torch itself calls deprecated.
forward_mode = pytest.mark.filterwarnings(
    "ignore:`torch.jit.script` is deprecated:DeprecationWarning"
)

BETA = torch.tensor(1.3, dtype=torch.float64)
TRANSFORMED = {
    "softplus": (lambda x: definition.softplus(x, 1.3), POINTS),
    "softplus, tensor beta": (lambda x: definition.softplus(x, BETA), POINTS),
    "softplus, threshold": (lambda x: definition.softplus(x, 1.3, 5.0), POINTS),
    "shifted_softplus": (lambda x: definition.shifted_softplus(x, 1.3), POINTS),
    "inverse_softplus": (lambda x: definition.inverse_softplus(x, 1.3), POINTS.abs() + 0.1),
    "logsigmoid": (lambda x: definition.softplus(x, -1.0), POINTS),
}
each_transformed = pytest.mark.parametrize(
    ("function", "x"), TRANSFORMED.values(), ids=TRANSFORMED.keys()
)


@forward_mode
@each_transformed
def test_gradcheck(function, x):
    x = x[x.abs() < 20].clone().requires_grad_()
    assert torch.autograd.gradcheck(function, x, check_forward_ad=True, check_batched_grad=True)
    assert torch.autograd.gradgradcheck(function, x)


@forward_mode
@pytest.mark.parametrize("threshold", [None, 5.0])
def test_gradcheck_in_beta(threshold):
    x = torch.tensor([-3.0, -0.2, 0.4, 1.5, 8.0], dtype=torch.float64, requires_grad=True)
    beta = torch.tensor([[0.7], [-1.6]], dtype=torch.float64, requires_grad=True)

    def function(x, beta):
        return definition.softplus(x, beta, threshold)

    assert torch.autograd.gradcheck(function, (x, beta), check_forward_ad=True)
    assert torch.autograd.gradgradcheck(function, (x, beta))


@forward_mode
@each_transformed
def test_functorch_agrees_with_autograd(function, x):
    value, first, second = with_derivatives(function, x, 2)
    assert_same(vmap(grad(function))(x), first)
    assert_same(vmap(grad(grad(function)))(x), second)
    assert_same(vmap(function)(x), value)
    assert_same(jacrev(function)(x), first.diag())
    assert_same(jacfwd(function)(x), first.diag())
    assert_same(hessian(lambda x: function(x).sum())(x), second.diag())
    tangent = torch.linspace(-1, 2, len(x), dtype=x.dtype)
    primal, push = jvp(function, (x,), (tangent,))
    assert_same(primal, value)
    assert_same(push, first * tangent)


def test_vmap_over_beta():
    betas = torch.tensor([0.5, -2.0, 3.0], dtype=torch.float64)
    result = vmap(definition.softplus, in_dims=(None, 0))(POINTS, betas)
    assert_same(result, torch.stack([definition.softplus(POINTS, beta) for beta in betas]))
    gradients = vmap(grad(lambda beta: definition.softplus(POINTS, beta).sum()))(betas)
    betas.requires_grad_()
    total = sum(definition.softplus(POINTS, beta).sum() for beta in betas)
    assert_same(gradients, torch.autograd.grad(total, betas)[0])


@forward_mode
@each_transformed
def test_forward_mode_keeps_the_tangent(function, x):
    with forward_ad.dual_level():
        dual = function(forward_ad.make_dual(x, torch.ones_like(x)))
        tangent = forward_ad.unpack_dual(dual).tangent
    assert_same(tangent, with_derivatives(function, x, 1)[1])
