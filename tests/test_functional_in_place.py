"""The functions in place: what they write, how autograd follows, and where they cannot write."""

import numpy as np
import pytest
import torch
from torch import Tensor

from calls import normal
from marks import each_dtype
from references import same_bits
from softplus import ShiftedSoftplus, Softplus, softplus, softplus_

# What is written


@each_dtype
@pytest.mark.parametrize("threshold", [None, 20, 1.0])
def test_in_place_is_the_function(dtype, threshold):
    x = normal(3, 4, dtype=dtype)
    wanted = softplus(x, 2.0, threshold)
    for call in (softplus_, lambda *arguments: softplus(*arguments, inplace=True)):
        target = x.clone()
        before = target._version
        assert call(target, 2.0, threshold) is target
        assert torch.equal(target, wanted)
        assert target._version > before


@pytest.mark.parametrize("yes", [1, "yes", np.True_], ids=str)
def test_in_place_is_any_true_value(yes):
    """As in PyTorch's activations, and not ignored where it is no bool."""
    x = normal(5)
    wanted = softplus(x)
    assert softplus(x, inplace=yes) is x
    assert torch.equal(x, wanted)
    assert softplus(x, inplace=0) is not x


def test_in_place_writes_through_a_view():
    base = normal(4, 6)
    wanted = base.clone()
    wanted[1:3, ::2] = softplus(base[1:3, ::2])
    softplus_(base[1:3, ::2])
    assert torch.equal(base, wanted)


@pytest.mark.parametrize("threshold", [None, 1.0])
@pytest.mark.parametrize("tensor_beta", [False, True])
def test_autograd_through_in_place(threshold, tensor_beta):
    def gradients(in_place):
        x = normal(6, dtype=torch.float64).requires_grad_()
        beta = torch.tensor(1.5, dtype=torch.float64, requires_grad=True)
        hidden = x * 2
        y = softplus(hidden, beta if tensor_beta else 1.5, threshold, inplace=in_place)
        assert (y is hidden) is in_place
        inputs = (x, beta) if tensor_beta else (x,)
        first = torch.autograd.grad(y.square().sum(), inputs, create_graph=True)
        return first + torch.autograd.grad(first[0].square().sum(), inputs)

    for in_place, wanted in zip(gradients(True), gradients(False), strict=True):
        torch.testing.assert_close(in_place, wanted, rtol=1e-12, atol=0)


def test_a_leaf_in_place_raises_and_stays():
    leaf = normal(4).requires_grad_()
    before = leaf.detach().clone()
    for call in (softplus_, lambda x: softplus(x, inplace=True)):
        with pytest.raises(RuntimeError, match="leaf Variable that requires grad"):
            call(leaf)
    assert torch.equal(leaf.detach(), before)
    with torch.no_grad():
        softplus_(leaf)
    assert torch.equal(leaf.detach(), softplus(before))
    assert leaf.requires_grad


@pytest.mark.parametrize(
    ("x", "beta"),
    [
        (torch.zeros(1).expand(3), 1.0),
        (torch.zeros(3), torch.ones(2, 3)),
        (torch.zeros(1), torch.ones(3)),
    ],
    ids=["expanded input", "more dimensions in beta", "longer beta"],
)
def test_in_place_where_the_result_has_no_room(x, beta):
    with pytest.raises(RuntimeError, match=r"shape|memory location"):
        softplus_(x, beta)
    assert (x == 0).all()


def test_in_place_invalidates_what_others_saved():
    x = normal(4).requires_grad_()
    hidden = x.exp()  # saves its result
    loss = softplus_(hidden).sum()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


# What cannot be written, and stays as it was


def leaf() -> Tensor:
    """Return a leaf that requires grad."""
    return normal(2, 6).requires_grad_()


LEAVES = {
    "leaf": lambda x: x,
    "view of a leaf": lambda x: x[1:],
    "view of a view of a leaf": lambda x: x.t()[2:],
}
OVERWRITING = {
    "softplus_": softplus_,
    "with a threshold": lambda x: softplus_(x, 2, 5),
    "with a tensor beta": lambda x: softplus_(x, torch.tensor(2.0)),
    "Softplus": Softplus(2, inplace=True),
    "ShiftedSoftplus": ShiftedSoftplus(2, inplace=True),
    "channels": lambda x: Softplus(2, learnable=True, num_parameters=x.shape[1], inplace=True)(x),
}
each_overwriting = pytest.mark.parametrize(
    "overwrite", OVERWRITING.values(), ids=OVERWRITING.keys()
)


@pytest.mark.parametrize("view", LEAVES.values(), ids=LEAVES.keys())
@each_overwriting
def test_in_place_on_a_leaf_that_requires_grad(overwrite, view):
    x = leaf()
    before, version = x.detach().clone(), x._version
    message = (
        r"a leaf Variable that requires grad cannot be overwritten, for .*: call softplus under "
    )
    with pytest.raises(
        RuntimeError, match=message + r"torch\.no_grad\(\), or without inplace=True"
    ):
        overwrite(view(x))
    assert same_bits(x, before)
    assert x._version == version
    with torch.no_grad():  # the way out
        overwrite(view(x))
    assert not same_bits(x, before)


@each_overwriting
@pytest.mark.parametrize("grad", [False, True])
def test_in_place_on_an_expanded_tensor(overwrite, grad):
    x = normal(3, 1).requires_grad_(grad) * 1
    before = x.detach().clone()
    with pytest.raises(RuntimeError, match=r"single memory location\. Please clone\(\) the tensor"):
        overwrite(x.expand(3, 4))
    assert same_bits(x, before)


@each_overwriting
@pytest.mark.parametrize("split", [lambda x: x.chunk(2)[0], lambda x: x.split(1)[1]])
def test_in_place_on_one_of_several_views(overwrite, split):
    x = leaf() * 1
    before = x.detach().clone()
    message = (
        "is a view and is being modified inplace.*You should replace the inplace operation by an"
    )
    with pytest.raises(RuntimeError, match=message):
        overwrite(split(x))
    assert same_bits(x, before)


@each_overwriting
@pytest.mark.parametrize("view", [lambda x: x, lambda x: x[:, 1:], lambda x: x.t()])
def test_in_place_on_what_another_operation_saved(overwrite, view):
    """Autograd finds it in backward: before, nothing may tell that the value is needed."""
    saved = leaf().exp()
    overwrite(view(saved))
    with pytest.raises(RuntimeError, match=r"modified by an inplace operation.*Hint: .*anomaly"):
        saved.sum().backward()


@pytest.mark.parametrize("shape", [(2, 2, 6), (3, 2, 1)])
def test_in_place_where_beta_extends_the_result(shape):
    x = normal(2, 6)
    before = x.clone()
    message = (
        r"the result, of the shape \(\d, 2, 6\) that beta extends it to, does not fit into input"
    )
    with pytest.raises(RuntimeError, match=message + r".*: call softplus without inplace=True"):
        softplus_(x, torch.ones(shape))
    assert same_bits(x, before)
