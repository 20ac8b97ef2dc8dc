"""Autograd through the kernels: what is saved, derivatives of any order, no-grad modes."""

import weakref

import pytest
import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

import references
from calls import normal
from instruction_sets import HALVES, each_dtype, each_isa
from marks import with_kernels
from references import same_bits
from softplus import Softplus, inverse_softplus, logsigmoid, shifted_softplus, softplus, softplus_
from ulp import exact

pytestmark = with_kernels


def kept(module: nn.Module, x: Tensor) -> list[Tensor]:
    """Return the tensors that a call keeps for backward."""
    tensors = []

    def pack(tensor: Tensor) -> Tensor:
        tensors.append(tensor)
        return tensor

    with saved_tensors_hooks(pack, lambda tensor: tensor):
        result = module(x)
    assert result.requires_grad
    return tensors


@each_dtype
@pytest.mark.parametrize("threshold", [None, 20.0, 30, 5.0])
def test_what_is_kept_for_backward(dtype, threshold):
    x = normal(50, dtype=dtype).requires_grad_()
    results = []
    tensors = kept(lambda x: results.append(softplus(x, 2.0, threshold)) or results[0], x)
    of_output = dtype != torch.float16 and threshold != 5
    wanted = results[0] if of_output else x
    assert [tensor.data_ptr() for tensor in tensors] == [wanted.data_ptr()]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("inplace", [False, True])
def test_an_mlp_keeps_what_it_keeps_with_relu(dtype, inplace):
    def bytes_kept(activation: nn.Module) -> list[int]:
        torch.manual_seed(0)
        layers = [nn.Linear(20, 30), activation, nn.Linear(30, 30), activation, nn.Linear(30, 1)]
        model = nn.Sequential(*layers).to(dtype)
        storages = {}
        for tensor in kept(model, normal(64, 20, dtype=dtype)):
            storages[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return sorted(storages.values())

    ours = bytes_kept(Softplus(beta=10, inplace=inplace))
    assert ours == bytes_kept(nn.ReLU(inplace=inplace))
    assert sum(bytes_kept(nn.Softplus(beta=10))) > sum(ours)


def test_the_input_is_freed_where_the_output_is_kept():
    x = normal(100).requires_grad_() * 1
    y = softplus(x)
    gone = weakref.ref(x.untyped_storage())
    del x
    assert gone() is None
    y.sum().backward()


@each_isa
@pytest.mark.parametrize("beta", [1.0, 0.7, -2.0, 10.0])
@pytest.mark.parametrize("threshold", [None, 5.0])
def test_gradcheck_to_third_order(beta, threshold):
    x = (normal(12, dtype=torch.float64) / abs(beta)).requires_grad_()
    x.data[0] = 0

    def function(x: Tensor) -> Tensor:
        return softplus(x, beta, threshold)

    def gradient(x: Tensor) -> Tensor:
        (first,) = torch.autograd.grad(function(x).square().sum(), x, create_graph=True)
        return first

    assert torch.autograd.gradcheck(function, x)
    assert torch.autograd.gradgradcheck(function, x)
    assert torch.autograd.gradgradcheck(gradient, x)
    assert torch.autograd.gradgradcheck(lambda x: shifted_softplus(x, beta), x)
    assert torch.autograd.gradgradcheck(logsigmoid, x)
    assert torch.autograd.gradgradcheck(lambda y: inverse_softplus(y.square() + 0.1, abs(beta)), x)


@each_isa
@each_dtype
@pytest.mark.parametrize("threshold", [None, 5.0])
def test_third_derivative(dtype, threshold):
    values = [-6.0, -1.5, -0.0, 0.25, 2.0, 4.0, 17.0]
    x = torch.tensor(values, dtype=dtype, requires_grad=True)
    result = softplus(x, 1.0, threshold)
    for _ in range(3):
        (result,) = torch.autograd.grad(result.sum(), x, create_graph=True)
    wanted = [float(references.derivatives(v)[3]) for v in values]
    if threshold:
        wanted[-1] = 0.0
    bound = 3e-2 if dtype in HALVES else 2e-5
    assert result.tolist() == pytest.approx(wanted, rel=bound, abs=bound if dtype in HALVES else 0)


@each_isa
def test_double_backward_of_large_gradients_does_not_overflow():
    """Each order of a product of three: the result is finite, and so is every step to it."""
    x = torch.tensor([-40.0] * 3, requires_grad=True)
    g = torch.tensor([1e25, 1e-25, 1.0], requires_grad=True)
    (first,) = torch.autograd.grad(softplus(x), x, g, create_graph=True)
    (second,) = torch.autograd.grad(first, x, torch.tensor([1e25, 1e25, 1e30]))
    wanted = exact(x.detach())[2] * g.detach().double() * torch.tensor([1e25, 1e25, 1e30])
    assert torch.allclose(second.double()[1:], wanted[1:], rtol=1e-5)
    assert not second.isnan().any()


def kept_nothing(result: Tensor) -> bool:
    """Whether a result has no history."""
    return result.grad_fn is None and not result.requires_grad


@each_isa
@each_dtype
def test_no_grad_and_inference_mode(dtype):
    leaf = normal(20, dtype=dtype).requires_grad_()
    wanted = softplus(leaf).detach()
    with torch.no_grad():
        assert kept_nothing(softplus(leaf))
        assert same_bits(softplus(leaf, out=torch.empty_like(leaf)), wanted)
    with torch.inference_mode():
        result = softplus(leaf)
        assert result.is_inference()
        assert same_bits(result, wanted)
        assert same_bits(softplus_(leaf.detach().clone()), wanted)
        inside = normal(20, dtype=dtype)
        assert same_bits(softplus(leaf, out=inside), wanted)
    assert same_bits(softplus(inside), softplus(wanted))
    assert same_bits(shifted_softplus(inside), shifted_softplus(wanted))
    assert same_bits(softplus_(result.clone()), softplus(wanted))
