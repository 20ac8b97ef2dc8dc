"""Which calls the kernels take and which the definition: modes, subclasses, devices."""

from fractions import Fraction

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from calls import CALLS, close, each_call, normal
from marks import each_dtype, with_kernels, with_library
from modes import SeeOperators
from references import same_bits
from softplus import inverse_softplus, logsigmoid, shifted_softplus, softplus, softplus_
from softplus.ops import cpu

HALVES = [torch.bfloat16, torch.float16]


@each_dtype
def test_autocast_gives_the_dtype_of_pytorch(dtype):
    x = normal(8, dtype=dtype)
    for lower in HALVES:
        with torch.autocast("cpu", dtype=lower):
            assert softplus(x).dtype == functional.softplus(x).dtype
            assert same_bits(softplus(x), CALLS["softplus"](x))
            linear = functional.linear(normal(2, 8), normal(3, 8))
            assert softplus(linear).dtype == functional.softplus(linear).dtype == lower


class SeeFunctions(TorchFunctionMode):
    """Record the functions called."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def __torch_function__(self, function, _types, args=(), kwargs=None):
        self.seen.append(function)
        return function(*args, **(kwargs or {}))


@each_call
def test_active_modes_see_the_call(call):
    x = normal(8)
    for mode in (SeeFunctions(), SeeOperators()):
        with mode:
            result = call(x)
        assert close(result, call(x))
        assert mode.seen


class Scaled(Tensor):
    """A subclass that keeps its type through torch functions."""


def test_a_subclass_keeps_its_type():
    x = normal(8)
    for call in (softplus, shifted_softplus, logsigmoid):
        result = call(x.as_subclass(Scaled))
        assert type(result) is Scaled
        assert close(result.as_subclass(Tensor), call(x))


@with_kernels
def test_a_parameter_takes_the_kernel():
    x = nn.Parameter(normal(8))
    result = softplus(x)
    assert type(result) is Tensor
    assert result.grad_fn.name() == "SoftplusBackward"  # PyTorch's own would be SoftplusBackward0


NUMBERS = [2.0, 2, np.float64(2), np.float32(2), np.float16(2), np.int64(2), Fraction(2), True]


@with_kernels
@pytest.mark.parametrize("number", NUMBERS, ids=lambda number: type(number).__name__)
def test_every_type_of_number_takes_the_kernel(number):
    x, value = normal(8).requires_grad_(), float(number)
    for call, wanted in (
        (softplus(x, number), softplus(x, value)),
        (softplus(x, 1.0, number), softplus(x, 1.0, value)),
        (shifted_softplus(x, number), shifted_softplus(x, value)),
        (shifted_softplus(x, 1.0, number), shifted_softplus(x, 1.0, value)),
    ):
        assert call.grad_fn.name() == wanted.grad_fn.name()
        assert "SoftplusBackward" in call.grad_fn.name()  # a node of this package
        assert same_bits(call, wanted)
    kernel = cpu.inverse_softplus(x.detach().abs(), number)
    assert same_bits(kernel, inverse_softplus(x.detach().abs(), value))


def test_a_negated_view_is_right():
    x = torch.complex(normal(8), normal(8)).conj().imag
    assert x.is_neg()
    assert close(softplus(x), softplus(x.resolve_neg()))
    assert close(inverse_softplus(x.abs() + 1), inverse_softplus(x.resolve_neg().abs() + 1))
    out = torch.empty(8)
    softplus(x, out=out)
    assert close(out, softplus(x.resolve_neg()))
    wanted = softplus(x.resolve_neg())
    softplus_(x)
    assert close(x.resolve_neg(), wanted)


@with_library
def test_elsewhere_a_plain_call_is_pytorch_s_own():
    x = torch.empty(3, 4, device="meta", requires_grad=True)
    result = softplus(x, 2.0)
    assert result.grad_fn.name() == "SoftplusBackward0"
    assert (result.device.type, result.shape) == ("meta", (3, 4))
    assert logsigmoid(x).shape == shifted_softplus(x).shape == inverse_softplus(x).shape == (3, 4)


def test_fake_tensors():
    with FakeTensorMode() as mode:
        x = mode.from_tensor(normal(3, 4))
        for call in CALLS.values():
            assert call(x).shape == (3, 4)


OPERATORS = {
    "forward": lambda x: (x, 1.5, 50.0),
    "forward to a threshold": lambda x: (x, 1.5, 5.0),
    "backward": lambda x: (x, x.detach().abs(), 1.5, 50.0, True),
    "backward of the input": lambda x: (x, x.detach() * 2, 1.5, 5.0, False),
    "double_backward": lambda x: (x, x.detach() * 2, x.detach().abs(), 1.5, 50.0, True, False),
    "double_backward to the input": lambda x: (
        x,
        x.detach() * 2,
        x.detach().abs(),
        1.5,
        50.0,
        True,
        True,
    ),
    "double_backward of the input": lambda x: (
        x,
        x.detach() * 2,
        x.detach(),
        1.5,
        5.0,
        False,
        True,
    ),
    "shifted": lambda x: (x, 1.5, None),
    "shifted by a shift": lambda x: (x, 1.5, 0.5),
    "inverse": lambda x: (x.detach().abs(), 1.5),
    "forward_at": lambda x: (x, torch.tensor(1.5, dtype=torch.float64), 50.0),
    "forward_at to a threshold": lambda x: (x, torch.tensor(1.5, dtype=torch.float64), 5.0),
    "backward_at": lambda x: (
        x,
        x.detach().abs(),
        torch.tensor(1.5, dtype=torch.float64),
        50.0,
        True,
    ),
    "double_backward_at": lambda x: (
        x,
        x.detach() * 2,
        x.detach().abs(),
        torch.tensor(1.5, dtype=torch.float64),
        50.0,
        True,
    ),
}


@with_library
@pytest.mark.parametrize("name", OPERATORS)
@pytest.mark.parametrize("grad", [False, True])
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_every_operator_is_registered_soundly(name, grad):
    operator = getattr(torch.ops.softplus, name.split()[0]).default
    for x in (
        normal(3, 4),
        normal(4, 3).t(),
        normal(2, 3, 4, 5).to(memory_format=torch.channels_last),
    ):
        torch.library.opcheck(operator, OPERATORS[name](x.detach().clone().requires_grad_(grad)))


ORDERS = [
    lambda x: x,
    lambda x: x.contiguous(memory_format=torch.channels_last),
    lambda x: x.permute(3, 0, 2, 1).contiguous().permute(1, 3, 2, 0),
    lambda x: x[:1, :1].expand(x.shape),
    lambda x: x.new_ones(()).expand(x.shape),
]


@with_library
@pytest.mark.parametrize("saved", range(len(ORDERS)))
@pytest.mark.parametrize("grad", range(len(ORDERS)))
def test_fake_results_have_the_layout_of_real_ones(saved, grad):
    """Compiled code holds the results of an operator to what it said of a fake one."""
    x = normal(2, 3, 4, 5)
    saved, grad = ORDERS[saved](x), ORDERS[grad](x)
    with FakeTensorMode() as mode:
        fake_saved, fake_grad = mode.from_tensor(saved), mode.from_tensor(grad)
    operators = torch.ops.softplus
    for g, y in ((grad, saved), (fake_grad, fake_saved)):
        results = (
            operators.backward(g, y, 1.5, 50.0, True),
            operators.backward(g, y, 1.5, 5.0, False),
            *operators.double_backward(g, g, y, 1.5, 50.0, True, True),
        )
        wanted = torch.empty_like(saved).stride()
        assert [result.stride() for result in results] == [wanted] * 4


@with_library
@pytest.mark.parametrize(
    "grad", [torch.ones(4), torch.ones(3, dtype=torch.float64), torch.ones(3, device="meta")]
)
def test_a_gradient_that_does_not_fit_is_refused(grad):
    saved, ones = torch.ones(3), torch.ones(3)
    with pytest.raises(RuntimeError, match="a gradient must have the shape, dtype and device"):
        torch.ops.softplus.backward(grad, saved, 1.0, 50.0, True)
    for gradients in ((grad, ones), (ones, grad)):
        with pytest.raises(RuntimeError, match="a gradient must have the shape, dtype and device"):
            torch.ops.softplus.double_backward(*gradients, saved, 1.0, 50.0, True, False)


@with_library
def test_every_registered_operator_is_checked():
    registered = [n for n in torch._C._dispatch_get_all_op_names() if n.startswith("softplus::")]
    names = {name.split("::")[1] for name in registered if not name.endswith("_each")}
    assert names == {name.split()[0] for name in OPERATORS}


@with_library
@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_an_operator_called_by_itself_refuses_other_dtypes(device):
    x, ops = torch.ones(3, dtype=torch.int64, device=device), torch.ops.softplus
    for call in (
        lambda: ops.forward(x, 1.0, 20.0),
        lambda: ops.backward(x, x, 1.0, 20.0, True),
        lambda: ops.double_backward(x, x, x, 1.0, 20.0, True, False),
        lambda: ops.shifted(x, 1.0, None),
        lambda: ops.inverse(x, 1.0),
    ):
        with pytest.raises(TypeError, match="softplus: no kernel for"):
            call()


@with_library
@pytest.mark.parametrize("device", ["cpu", "meta"])
@pytest.mark.parametrize("beta", [0.0, 1e-30, 1e30, float("nan"), float("inf")])
def test_an_operator_called_by_itself_refuses_a_beta_beyond_the_kernels(beta, device):
    x, ops = torch.ones(3, device=device), torch.ops.softplus
    for call in (
        lambda: ops.forward(x, beta, 20.0),
        lambda: ops.backward(x, x, beta, 20.0, True),
        lambda: ops.double_backward(x, x, x, beta, 20.0, True, False),
        lambda: ops.shifted(x, beta, None),
        lambda: ops.inverse(x, beta),
    ):
        with pytest.raises(ValueError, match=r"a beta of 2\^-60 to 2\^60 in magnitude, got"):
            call()
