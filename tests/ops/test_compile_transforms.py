"""torch.compile: function transforms inside a compiled function, and tangents around it."""

import pytest
import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.func import grad, hessian, jacfwd, jacrev, jvp, vjp, vmap

from calls import CALLS, close, eager_derivatives, normal, quickly
from compiling import compiling, nothing_compiled_before, quiet  # noqa: F401 -- a fixture
from softplus import softplus

pytestmark = quiet


TRANSFORMS = {
    "grad": lambda call: grad(lambda x: call(x).sum()),
    "vjp": lambda call: lambda x: vjp(call, x)[1](torch.ones_like(x))[0],
    "jvp": lambda call: lambda x: jvp(call, (x,), (torch.ones_like(x),))[1],
    "vmap": vmap,
    "vmap of grad": lambda call: vmap(grad(call)),
    "jacrev": jacrev,
    "jacfwd": jacfwd,
    "hessian": lambda call: hessian(lambda x: call(x).sum()),
}


@pytest.mark.parametrize("transform", TRANSFORMS.values(), ids=TRANSFORMS.keys())
@pytest.mark.parametrize("call", quickly(CALLS, "softplus"))
def test_functorch_inside(transform, call):
    x = normal(5)
    compiled, _ = compiling(transform(call))
    assert close(compiled(x), transform(call)(x))


def test_functorch_inside_with_a_beta_that_changes():
    compiled, counter = compiling(lambda x, beta: grad(lambda x: softplus(x, beta).sum())(x))
    for beta in (1.0, 1.5, 2.5, -3.5, 100.0, 1e-3):
        x = normal(5)
        assert close(compiled(x, beta), eager_derivatives(lambda x: softplus(x, beta), x)[0])  # noqa: B023
    assert counter.frame_count == 2


@pytest.mark.parametrize("call", quickly(CALLS, "softplus", "tensor beta", "in place"))
def test_a_tangent_made_inside(call):
    x, v = normal(9), normal(9, scale=0.5)

    def tangent(x: Tensor, v: Tensor) -> Tensor:
        with forward_ad.dual_level():
            return forward_ad.unpack_dual(call(forward_ad.make_dual(x, v))).tangent

    assert close(compiling(tangent)[0](x, v), eager_derivatives(call, x)[0] * v)


@pytest.mark.parametrize(
    "call",
    # PyTorch's copy_, hence softplus_, is compiled to a copy that has no forward mode: it raises.
    quickly({name: CALLS[name] for name in CALLS if name != "in place"}, "softplus", "tensor beta"),
)
def test_a_tangent_given_from_outside(call):
    x, v = normal(9), normal(9, scale=0.5)
    compiled, _ = compiling(call)
    compiled(x)
    with forward_ad.dual_level():
        tangent = forward_ad.unpack_dual(compiled(forward_ad.make_dual(x, v))).tangent
    assert tangent is not None
    assert close(tangent, eager_derivatives(call, x)[0] * v)
