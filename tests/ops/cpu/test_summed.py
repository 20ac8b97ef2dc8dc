"""The gradients towards a beta that broadcasts, summed in the library as they come."""

import math

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

import beta_of_each as each
from calls import normal
from instruction_sets import SETS, each_dtype, running
from ops.cpu.test_checksums import WITHOUT_FMA
from references import same_bits
from softplus import shifted_softplus, softplus
from softplus.ops import cpu
from softplus.ops.cpu import calls

pytestmark = pytest.mark.skipif(cpu.absent is not None, reason=f"no library: {cpu.absent}")

# Shapes of inputs and of the betas that broadcast to them: a number, channels in any place, in rows
# longer and shorter than a block; and what is summed otherwise, for lack of elements to sum.
SHAPES = {
    "number": ((70_001,), ()),
    "one of a channel": ((500, 3), (1,)),
    "channel": ((2, 16, 5, 33), (16, 1, 1)),
    "channel of a large image": ((2, 3, 90, 90), (3, 1, 1)),
    "last": ((1100, 64), (64,)),
    "three last": ((30_000, 3), (3,)),
    "last, many": ((40, 2000), (2000,)),
    "first": ((9, 5000), (9, 1)),
    "image and channel": ((2, 3, 40, 5), (2, 3, 1, 1)),
}
OTHERWISE = {
    "few elements": ((15, 7), (7,)),
    "each its own": ((40, 50), (40, 50)),
    "a wider beta": ((1, 50), (40, 1)),
    "apart": ((40, 5, 50), (40, 1, 50)),
    "none": ((0, 4), (4,)),
}
each_shape = pytest.mark.parametrize("shapes", SHAPES.values(), ids=SHAPES.keys())
each_form = pytest.mark.parametrize("function", [softplus, shifted_softplus])


def tensors(shapes: tuple, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor, Tensor]:
    """Return a gradient, an input and a beta."""
    shape, of_beta = shapes
    wide = torch.broadcast_shapes(shape, of_beta)
    beta = torch.linspace(0.5, 2.0, math.prod(of_beta), dtype=torch.float64).view(of_beta)
    return normal(*wide, dtype=dtype).flip(0), normal(*shape, dtype=dtype), beta


def expected(g: Tensor, x: Tensor, beta: Tensor, *, shifted: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Return what the kernel gives each element, summed, and the sum of the sizes."""
    wide = torch.broadcast_shapes(x.shape, beta.shape)
    to_x, to_beta = each.backward(g, x.expand(wide), beta.expand(wide), shifted=shifted)
    sizes = to_beta.abs().sum_to_size(beta.shape)
    return to_x.sum_to_size(x.shape), to_beta.sum_to_size(beta.shape), sizes


def gradients(function, g: Tensor, x: Tensor, beta: Tensor) -> tuple[Tensor, ...]:
    """Return the gradients towards input and beta by autograd."""
    x, beta = x.detach().requires_grad_(), beta.detach().requires_grad_()
    return torch.autograd.grad(function(x, beta), (x, beta), g)


@each_dtype
@each_form
@pytest.mark.parametrize(
    "shapes", [*SHAPES.values(), *OTHERWISE.values()], ids=[*SHAPES, *OTHERWISE]
)
def test_the_sums_are_those_of_the_elements(shapes, function, dtype):
    g, x, beta = tensors(shapes, dtype)
    to_x, to_beta = gradients(function, g, x, beta)
    wanted = expected(g, x, beta, shifted=function is shifted_softplus)
    if x.shape == g.shape:
        assert same_bits(to_x, wanted[0])
    assert to_beta.dtype == torch.float64
    assert ((to_beta - wanted[1]).abs() <= 1e-13 * wanted[2]).all()


@each_form
@pytest.mark.parametrize("shapes", [*SHAPES.values(), *OTHERWISE.values()])
def test_the_sums_towards_a_float32_beta_are_made_in_float64(shapes, function):
    g, x, beta = tensors(shapes)
    exact = expected(g, x, beta.float().double(), shifted=function is shifted_softplus)
    to_x, to_beta = gradients(function, g, x, beta.float())
    if x.shape == g.shape:
        assert same_bits(to_x, exact[0])
    assert to_beta.dtype == torch.float32
    assert ((to_beta - exact[1]).abs() <= 2**-24 * exact[1].abs() + 1e-13 * exact[2]).all()


@each_shape
@pytest.mark.parametrize("of_beta", [torch.float32, torch.float64])
def test_threads_sets_and_installations_change_nothing(shapes, of_beta):
    g, x, beta = tensors(shapes)
    beta = beta.to(of_beta)
    before, results = torch.get_num_threads(), []
    try:
        for isa in sorted({*SETS} - WITHOUT_FMA):
            for threads in (1, 2, 3):
                torch.set_num_threads(threads)
                with running(isa):
                    results.append(gradients(softplus, g, x, beta)[1])
                    results.append(calls.backward_summed(g, x, beta, 20.0, False)[1].to(of_beta))
    finally:
        torch.set_num_threads(before)
    assert all(same_bits(result, results[0]) for result in results)


@each_form
def test_memory_in_any_order(function):
    g, x, beta = tensors(((4, 16, 9, 33), (16, 1, 1)))
    wanted = gradients(function, g, x, beta)
    last = torch.channels_last
    for one, other in [
        (g, x.to(memory_format=last)),
        (g.to(memory_format=last), x),
        (g.to(memory_format=last), x.to(memory_format=last)),
        (g, torch.cat([x, x], 3)[..., :33]),
    ]:
        to_x, to_beta = gradients(function, one, other, beta)
        assert same_bits(to_x, wanted[0])
        assert torch.allclose(to_beta, wanted[1], rtol=1e-13, atol=1e-13)
    ones = gradients(function, torch.ones_like(g), x, beta)
    of_a_sum = gradients(function, torch.ones(()).expand_as(g), x, beta)
    assert same_bits(of_a_sum[0], ones[0])
    assert same_bits(of_a_sum[1], ones[1])
    turned = torch.linspace(0.5, 2, 144, dtype=torch.float64).view(9, 16).t().unsqueeze(2)
    by_last = gradients(function, g.to(memory_format=last), x.to(memory_format=last), turned)
    same = gradients(function, g, x, turned.contiguous())
    assert torch.allclose(by_last[1], same[1], rtol=1e-13, atol=1e-13)


class Seen(TorchDispatchMode):
    """Notes the operators that run."""

    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.names.append(func.name())
        return func(*args, **(kwargs or {}))


def test_a_mode_sees_the_operator():
    g, x, beta = tensors(((50, 64), (64,)))
    wanted = gradients(softplus, g, x, beta)
    with Seen() as seen:
        got = gradients(softplus, g, x, beta)
    assert "softplus::backward_each" in seen.names
    assert same_bits(got[0], wanted[0])
    assert torch.allclose(got[1], wanted[1], rtol=1e-13, atol=1e-13)


def test_a_second_derivative_follows():
    g, x, beta = tensors(((50, 64), (64,)), torch.float64)
    x, beta = x.requires_grad_(), beta.requires_grad_()
    (to_beta,) = torch.autograd.grad(softplus(x, beta), beta, g, create_graph=True)
    assert torch.allclose(to_beta, gradients(softplus, g, x, beta)[1], rtol=1e-13, atol=1e-13)
    twice = torch.autograd.grad(to_beta.sum(), beta)[0]
    higher, lower = (gradients(softplus, g, x, beta + step)[1] for step in (1e-5, -1e-5))
    assert torch.allclose(twice, (higher - lower) / 2e-5, rtol=1e-6, atol=1e-6)


def test_a_kernel_without_gradients_towards_beta_sums_nothing():
    x, beta = torch.ones(3), torch.ones(1, dtype=torch.float64)
    number = cpu._kernels.KERNELS.index("forward_each")
    addresses = [tensor.data_ptr() for tensor in (x, x, beta)]
    with pytest.raises(ValueError, match="forward_each gives nothing to sum for a beta"):
        cpu._kernels.run(number, 0, 3, 1.0, 20.0, 0.0, 8, 1, 1, 1, *addresses)
