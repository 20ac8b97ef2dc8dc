"""The registered operators by themselves: sound, differentiable in every mode, batched, finite."""

import itertools
import math
from collections.abc import Iterable

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck
from torch.func import jvp, vmap

from calls import normal
from marks import each_dtype, with_library
from softplus.ops import cpu
from softplus.ops.operators import SCHEMAS

pytestmark = with_library

ops = torch.ops.softplus


def positive(x: Tensor) -> Tensor:
    """Return values that Softplus takes."""
    return x.detach().abs() + 0.1


def beta(x: Tensor) -> Tensor:
    """Return a beta for each element, of both signs."""
    return (x.detach().double() * 0.3 + 0.4).sign() + 0.5 * x.detach().double().sin()


# For each the operator as a function of tensors alone, and tensors to give it.
CASES = {
    "forward": (lambda x: ops.forward(x, 1.5, 50.0), lambda x: (x,)),
    "forward to a threshold": (lambda x: ops.forward(x, 1.5, 5.0), lambda x: (x,)),
    "forward, keeping the input": (lambda x: ops.forward(x, 1.5, math.inf), lambda x: (x,)),
    "shifted": (lambda x: ops.shifted(x, 1.5, None), lambda x: (x,)),
    "shifted by a number": (lambda x: ops.shifted(x, 1.5, 0.5), lambda x: (x,)),
    "inverse": (lambda y: ops.inverse(y, 1.5), lambda x: (positive(x),)),
    "backward": (
        lambda g, y: ops.backward(g, y, 1.5, 50.0, True),
        lambda x: (x * 2, positive(x)),
    ),
    "backward of the input": (
        lambda g, x: ops.backward(g, x, 1.5, 5.0, False),
        lambda x: (x * 2, x),
    ),
    "double_backward": (
        lambda gg, g, y: ops.double_backward(gg, g, y, 1.5, 50.0, True, False),
        lambda x: (x.sin(), x * 2, positive(x)),
    ),
    "double_backward to the input": (
        lambda gg, g, y: ops.double_backward(gg, g, y, 1.5, 50.0, True, True),
        lambda x: (x.sin(), x * 2, positive(x)),
    ),
    "double_backward of the input": (
        lambda gg, g, x: ops.double_backward(gg, g, x, 1.5, 5.0, False, True),
        lambda x: (x.sin(), x * 2, x),
    ),
}
BETA = torch.tensor(1.5, dtype=torch.float64)
CASES |= {
    "forward_at": (lambda x: ops.forward_at(x, BETA, 50.0), lambda x: (x,)),
    "forward_at, keeping the input": (lambda x: ops.forward_at(x, BETA, 5.0), lambda x: (x,)),
    "backward_at": (
        lambda g, y: ops.backward_at(g, y, BETA, 50.0, True),
        lambda x: (x * 2, positive(x)),
    ),
    "double_backward_at": (
        lambda gg, g, y: ops.double_backward_at(gg, g, y, BETA, 50.0, True),
        lambda x: (x.sin(), x * 2, positive(x)),
    ),
}
for _threshold, _shifted in ((50.0, False), (5.0, False), (50.0, True)):
    _name = "shifted" if _shifted else f"to {_threshold}"
    _options = (_threshold, _shifted)
    CASES |= {
        f"forward_each {_name}": (
            lambda x, b, o=_options: ops.forward_each(x, b, *o),
            lambda x: (x, beta(x)),
        ),
        f"backward_each {_name}": (
            lambda g, x, b, o=_options: ops.backward_each(g, x, b, *o),
            lambda x: (x * 2, x, beta(x)),
        ),
        f"double_backward_each {_name}": (
            lambda ggx, ggb, g, x, b, o=_options: ops.double_backward_each(ggx, ggb, g, x, b, *o),
            lambda x: (x.sin(), x.double().cos(), x * 2, x, beta(x)),
        ),
    }
each_case = pytest.mark.parametrize(("operator", "tensors"), CASES.values(), ids=CASES)


def leaves(tensors: Iterable[Tensor]) -> tuple[Tensor, ...]:
    """Return copies of the same layout that require grad."""
    return tuple(tensor.detach().clone().requires_grad_() for tensor in tensors)


def as_tuple(results: Tensor | tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Return the results of an operator that has one or several."""
    return (results,) if isinstance(results, Tensor) else tuple(results)


def test_every_operator_is_here():
    names = {schema.split("(")[0] for schema in SCHEMAS.strip().splitlines()}
    assert {name.split()[0].rstrip(",") for name in CASES} == names
    for name in names:
        assert torch.Tag.pt2_compliant_tag in getattr(ops, name).default.tags


@each_case
def test_gradcheck_in_every_mode(operator, tensors):
    """Reverse and forward, both batched; then the second order, forward over reverse too."""
    inputs = leaves(tensors(normal(7, dtype=torch.float64)))
    assert gradcheck(
        operator,
        inputs,
        check_batched_grad=True,
        check_forward_ad=True,
        check_batched_forward_grad=True,
        check_undefined_grad=True,
    )
    assert gradgradcheck(operator, inputs, check_batched_grad=True, check_fwd_over_rev=True)


@pytest.mark.parametrize("name", CASES)
def test_batches(name):
    """Of every tensor along every dimension, or not of all of them, against a loop.

    To the bit where the kernels are batched: not in Python, nor with a beta read at run time.
    """
    operator, tensors = CASES[name]
    by_kernels = cpu.entry_absent is None and "_at" not in name
    bounds = {"rtol": 0, "atol": 0} if by_kernels else {"rtol": 1e-5, "atol": 1e-6}
    inputs = tensors(normal(2, 3, 4))
    for dims in itertools.product((0, 2, None), repeat=min(len(inputs), 3)):
        in_dims = (*dims, *[0] * (len(inputs) - len(dims)))
        if set(in_dims) == {None}:
            continue
        given = [
            tensor[0] if dim is None else tensor.movedim(0, dim)
            for tensor, dim in zip(inputs, in_dims, strict=True)
        ]
        results = as_tuple(vmap(operator, in_dims=in_dims)(*given))
        for i in range(2):
            rows = [
                tensor[0] if dim is None else tensor[i]
                for tensor, dim in zip(inputs, in_dims, strict=True)
            ]
            for result, wanted in zip(results, as_tuple(operator(*rows)), strict=True):
                torch.testing.assert_close(result[i], wanted, **bounds)


OF_OUTPUT = {"backward", "double_backward", "double_backward to the input", "inverse"}
OF_OUTPUT |= {"backward_at", "double_backward_at"}


@each_dtype
@pytest.mark.parametrize("name", CASES)
def test_no_derivative_at_infinity_is_nan(name, dtype):
    """To the third order of a call, tangents too, where beta and the gradients are finite."""
    operator, tensors = CASES[name]
    given = list(tensors(torch.tensor([1.0, -2.0, 3.0, -1.0, 0.5], dtype=dtype)))
    x = torch.tensor([-math.inf, -1e4, 0.0, 1e4, math.inf], dtype=dtype)
    given[-2 if "_each" in name else -1] = x.abs() + 1 if name in OF_OUTPUT else x
    inputs = leaves(given)
    results = as_tuple(operator(*inputs))
    for _ in range(2):
        assert not any(result.isnan().any() for result in results)
        results = torch.autograd.grad(
            [result for result in results if result.requires_grad],
            inputs,
            [torch.ones_like(result) for result in results if result.requires_grad],
            create_graph=True,
            materialize_grads=True,
        )
    assert not any(result.isnan().any() for result in results)
    ones = tuple(torch.ones_like(tensor) for tensor in given)
    tangents = as_tuple(jvp(operator, tuple(given), ones)[1])
    assert not any(tangent.isnan().any() for tangent in tangents)


@pytest.mark.parametrize("grad", [False, True])
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("inverse", lambda x: (positive(x), 1.5)),
        ("forward_at", lambda x: (x, BETA, 50.0)),
        ("backward_at", lambda x: (x * 2, positive(x), BETA, 50.0, True)),
        ("double_backward_at", lambda x: (x.sin(), x * 2, x, BETA, 5.0, False)),
        ("forward_each", lambda x: (x, beta(x), 50.0, False)),
        ("forward_each", lambda x: (x, beta(x), 5.0, False)),
        ("backward_each", lambda x: (x * 2, x, beta(x), 50.0, True)),
        (
            "double_backward_each",
            lambda x: (x.sin(), x.double().cos(), x * 2, x, beta(x), 50.0, False),
        ),
    ],
)
def test_opcheck(name, arguments, grad):
    for x in (
        normal(3, 4),
        normal(4, 3).t(),
        normal(2, 3, 4, 5).to(memory_format=torch.channels_last),
        normal(3, 1).expand(3, 4),
    ):
        given = [
            a.detach().clone().requires_grad_(grad)
            if isinstance(a, Tensor) and a is not BETA
            else a
            for a in arguments(x)
        ]
        torch.library.opcheck(getattr(ops, name).default, tuple(given))


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_tensors_that_do_not_fit_are_refused(device):
    x = torch.ones(3, device=device)
    good = x.double()
    with pytest.raises(RuntimeError, match="float32 where input is not float64, and have"):
        ops.forward_each(good, x, 50.0, False)
    for bad in (x.half(), good[:2], good.expand(2, 3)):
        with pytest.raises(RuntimeError, match="a beta for each element must be float64"):
            ops.forward_each(x, bad, 50.0, False)
        with pytest.raises(RuntimeError, match="a beta for each element must be float64"):
            ops.backward_each(x, x, bad, 50.0, False)
    for bad in (good, x[:2]):
        with pytest.raises(RuntimeError, match="a gradient must have the shape, dtype and device"):
            ops.backward_each(bad, x, good, 50.0, False)
        with pytest.raises(RuntimeError, match="a gradient must have the shape, dtype and device"):
            ops.double_backward_each(x, good, bad, x, good, 50.0, False)
    with pytest.raises(TypeError, match="no kernel for"):
        ops.forward_each(x.long(), good, 50.0, False)
