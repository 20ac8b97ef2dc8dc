"""functorch and forward-mode AD: every transform, nested in every order, to third derivatives."""

import torch
from torch.autograd import forward_ad

from calls import close, each_call, eager_derivatives, normal


@each_call
def test_functorch(call):
    x = normal(7)
    value, (first, second) = call(x), eager_derivatives(call, x)
    assert close(torch.func.grad(lambda x: call(x).sum())(x), first)
    result, pull = torch.func.vjp(call, x)
    assert close(result, value)
    assert close(pull(torch.ones(7))[0], first)
    result, tangent = torch.func.jvp(call, (x,), (torch.ones(7),))
    assert close(result, value)
    assert close(tangent, first)
    assert close(torch.func.jacrev(call)(x), first.diag())
    assert close(torch.func.jacfwd(call)(x), first.diag())
    assert close(torch.func.hessian(lambda x: call(x).sum())(x), second.diag())
    assert close(torch.vmap(call)(x.view(7, 1)), value.view(7, 1))
    assert close(torch.vmap(torch.func.grad(call))(x), first)


@each_call
def test_functorch_of_a_captured_tensor(call):
    """The level is active and the tensor is not of it: still right, as a constant of the level."""
    x = normal(5)
    y = torch.func.grad(lambda s: (call(x) * s).sum())(torch.tensor(1.0))
    assert close(y, call(x).sum())
    out = torch.vmap(lambda s: call(x) * s)(torch.tensor([1.0, 2.0]))
    assert close(out[1], 2 * call(x))


@each_call
def test_forward_mode(call):
    x, v = normal(9), normal(9, scale=0.5)
    with forward_ad.dual_level():
        primal, tangent = forward_ad.unpack_dual(call(forward_ad.make_dual(x, v)))
    assert close(primal, call(x))
    assert tangent is not None
    assert close(tangent, eager_derivatives(call, x)[0] * v)
