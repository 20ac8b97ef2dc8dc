"""The kernels in place: with autograd, over views, over what was saved; version counters."""

import weakref

import pytest
import torch
from torch import Tensor, nn

from calls import normal
from instruction_sets import each_dtype, each_isa
from marks import with_kernels
from references import same, same_bits
from softplus import Softplus, softplus, softplus_

pytestmark = with_kernels


@each_isa
@each_dtype
def test_in_place_with_autograd(dtype):
    x = normal(60, dtype=dtype).requires_grad_()
    g = normal(60, dtype=dtype, scale=0.5)
    wanted = softplus(x, 2.0)
    (first,) = torch.autograd.grad(wanted, x, g)
    through = x * 1
    result = softplus_(through, 2.0)
    assert result is through
    assert same_bits(result, wanted)
    assert result.grad_fn is not None
    assert same(torch.autograd.grad(result, x, g)[0], first)


@each_isa
@each_dtype
def test_in_place_on_a_view(dtype):
    x = normal(6, 10, dtype=dtype).requires_grad_()
    base = x * 1
    softplus_(base[2:4, ::2])
    base.sum().backward()
    wanted = torch.ones_like(x)
    leaf = x.detach()[2:4, ::2].clone().requires_grad_()
    softplus(leaf).sum().backward()
    wanted[2:4, ::2] = leaf.grad
    assert same(x.grad, wanted)
    assert same(base.detach()[2:4, ::2], softplus(x.detach())[2:4, ::2])


VIEWS = {
    "slice": lambda x: x[:2],
    "transposed": lambda x: x.t(),
    "view of a view": lambda x: x.view(-1)[1:].view(2, 4),
    "whole": lambda x: x.view(3, 3),
    "diagonal": torch.diagonal,
}


@pytest.mark.parametrize("threshold", [None, 5.0])
@pytest.mark.parametrize("view", VIEWS.values(), ids=VIEWS.keys())
def test_double_backward_of_a_view_in_place(view, threshold):
    """The gradient of the view's base, which PyTorch's own writing over a view gives."""
    weight = normal(3, 3, dtype=torch.float64)

    def derivatives_of(write) -> list[Tensor]:
        x = normal(3, 3, dtype=torch.float64).requires_grad_()
        base = x * x
        write(view(base))
        (first,) = torch.autograd.grad((base * weight).sum(), x, create_graph=True)
        (second,) = torch.autograd.grad((first * weight.t()).sum(), x, create_graph=True)
        return [first, second, *torch.autograd.grad(second.sum(), x)]

    ours = derivatives_of(lambda x: softplus_(x, 2.0, threshold))
    copied = derivatives_of(lambda x: x.copy_(softplus(x.clone(), 2.0, threshold)))
    for got, wanted in zip(ours, copied, strict=True):
        assert torch.allclose(got, wanted, rtol=1e-12, atol=1e-12)


def test_in_place_after_a_linear_layer_of_three_dimensions():
    """Whose result is a view: a gradient penalty goes through it."""

    def penalty_gradients(*, inplace: bool) -> tuple[Tensor, ...]:
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(4, 4), Softplus(inplace=inplace), nn.Linear(4, 1)).double()
        x = normal(2, 5, 4, dtype=torch.float64).requires_grad_()
        (gradient,) = torch.autograd.grad(model(x).sum(), x, create_graph=True)
        return torch.autograd.grad(gradient.square().sum(), list(model[0].parameters()))

    assert all(map(same, penalty_gradients(inplace=True), penalty_gradients(inplace=False)))


def test_a_view_written_over_is_freed_without_a_backward():
    base = normal(6).requires_grad_() * 1
    gone = weakref.ref(base.untyped_storage())
    softplus_(base[:3])
    del base
    assert gone() is None


@pytest.mark.parametrize("function", [softplus_, lambda x: softplus(normal(6), out=x)])
def test_an_inference_tensor_is_overwritten_in_inference_mode_alone(function):
    with torch.inference_mode():
        x = normal(6)
        before = x.clone()
    with pytest.raises(RuntimeError, match=r"made in inference mode .*overwrite its clone\(\)"):
        function(x)
    assert same_bits(x, before)
    with torch.inference_mode():
        assert same_bits(softplus_(x), softplus(before))


@each_dtype
@pytest.mark.parametrize("threshold", [None, 5.0])
@pytest.mark.parametrize("view", [False, True])
def test_in_place_on_a_leaf_is_refused(dtype, threshold, view):
    x = normal(20, dtype=dtype).requires_grad_()
    before, version = x.detach().clone(), x._version
    with pytest.raises(RuntimeError, match="leaf Variable"):
        softplus_(x[3:] if view else x, 1.0, threshold)
    assert same_bits(x, before)
    assert x._version == version
    with torch.no_grad():
        softplus_(x, 1.0, threshold)
    assert same_bits(x, softplus(before, 1.0, threshold))


@each_dtype
@pytest.mark.parametrize("grad", [False, True])
def test_in_place_on_expanded_memory_is_refused(dtype, grad):
    x = normal(3, 1, dtype=dtype).requires_grad_(grad) * 1
    expanded = x.expand(3, 4)
    before, version = x.detach().clone(), x._version
    with pytest.raises(RuntimeError, match="single memory location"):
        softplus_(expanded)
    assert same_bits(x, before)
    assert x._version == version
    with pytest.raises(RuntimeError, match="single memory location"):
        softplus(normal(3, 4, dtype=dtype), out=expanded.detach())
    assert same_bits(x, before)


def test_in_place_on_what_another_operation_saved_raises_in_its_backward():
    x = normal(20).requires_grad_()
    saved = x.exp()
    softplus_(saved[5:])
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        saved.sum().backward()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("inplace", [False, True])
def test_changing_a_saved_result_raises_as_with_relu(dtype, inplace):
    x = normal(20, dtype=dtype).requires_grad_()
    for activation in (Softplus(inplace=inplace), nn.ReLU(inplace=inplace)):
        result = activation(x * 1)
        result.add_(1)
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            result.sum().backward()


def test_changing_a_result_that_is_not_saved_is_allowed():
    x = normal(20).requires_grad_()
    result = softplus(x, 1.0, 5.0)
    result.add_(1)
    result.sum().backward()
    assert torch.allclose(x.grad, torch.sigmoid(x.detach()).where(x <= 5, 1.0), atol=1e-6)


@each_dtype
def test_version_counters(dtype):
    x, out = normal(20, dtype=dtype), torch.empty(20, dtype=dtype)
    softplus(x, out=out)
    assert (x._version, out._version) == (0, 1)
    softplus_(x)
    softplus(x, inplace=True)
    assert x._version == 2
    y = (x * 1).requires_grad_() * 1
    softplus_(y)
    assert y._version == 1
    z = softplus(x)
    assert (z._version, x._version) == (0, 2)
