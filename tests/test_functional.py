"""The functions users call: values, arguments, layouts, dtypes, tensors of any kind."""

import itertools
import math

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from calls import FUNCTIONS, close, each_function, each_with_beta, normal
from marks import DTYPES, each_dtype
from references import same
from softplus import inverse_softplus, logsigmoid, shifted_softplus, softplus, softplus_
from softplus.ops import cpu, definition

PURE = {name: function for name, function in FUNCTIONS.items() if name != "softplus_"}
each_pure = pytest.mark.parametrize("function", PURE.values(), ids=PURE.keys())


# The result is the definition's


@each_dtype
def test_each_function_is_its_definition(dtype):
    x, beta = normal(4, 3, dtype=dtype), torch.tensor([0.5, -2, 3], dtype=dtype)
    for b in (1.0, 2, -0.7, beta):
        assert same(softplus(x, b), definition.softplus(x, b))
        assert same(softplus(x, b, 5), definition.softplus(x, b, 5))
        y = definition.softplus(x, b)
        assert same(inverse_softplus(y, b), definition.inverse_softplus(y, b))
        assert same(shifted_softplus(x, b), definition.shifted_softplus(x, b))
        assert same(shifted_softplus(x, b, 0.5), definition.shifted_softplus(x, b, 0.5))
    assert same(logsigmoid(x), definition.softplus(x, -1.0))


def test_values_by_hand():
    """ln(1 + e^x) to four places, as in every textbook."""
    x = torch.tensor([-2.0, -1.0, 0.0, 1.0, 2.0, 5.0])
    values = [0.1269, 0.3133, 0.6931, 1.3133, 2.1269, 5.0067]
    assert softplus(x).tolist() == pytest.approx(values, abs=5e-5)
    assert logsigmoid(-x).tolist() == pytest.approx([-value for value in values], abs=5e-5)
    shifted = [value - 0.6931 for value in values]
    assert shifted_softplus(x).tolist() == pytest.approx(shifted, abs=1e-4)
    assert inverse_softplus(torch.tensor(values)).tolist() == pytest.approx(x.tolist(), abs=5e-4)


def test_arguments_by_position_and_name():
    x = normal(5)
    wanted = softplus(x, beta=2.0, threshold=5.0)
    assert torch.equal(softplus(x, 2, 5), wanted)
    assert torch.equal(softplus(input=x, beta=2, threshold=5), wanted)
    assert torch.equal(softplus_(x.clone(), 2, 5), wanted)
    assert torch.equal(softplus_(input=x.clone(), beta=2, threshold=5), wanted)
    assert torch.equal(shifted_softplus(x, 2, 0.5), shifted_softplus(input=x, beta=2, shift=0.5))
    y = x.abs()
    assert torch.equal(inverse_softplus(y, 2), inverse_softplus(input=y, beta=2))
    for arguments in ((x, 1, 20, True), (x, 1, 20, False, x)):
        with pytest.raises(TypeError, match="positional"):
            softplus(*arguments)


# Layout, shape, dtype


LAYOUTS = {
    "contiguous": lambda x: x,
    "channels_last": lambda x: x.to(memory_format=torch.channels_last),
    "transposed": lambda x: x.transpose(0, 2),
    "permuted": lambda x: x.permute(3, 1, 0, 2),
    "expanded": lambda x: x[:, :1].expand(-1, 3, -1, -1),
    "strided": lambda x: x[:, :, ::2, 1:],
    "zero-size": lambda x: x[:, :0],
    "0-dim": lambda x: x[0, 0, 0, 0],
}


def alike(a: Tensor, b: Tensor) -> bool:
    """Whether results of one value are the same: PyTorch's own differ by where an element lies."""
    return torch.equal(a, b) if cpu.absent is None else close(a, b)


@each_pure
@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS.keys())
@each_dtype
def test_layouts(function, layout, dtype):
    x = layout(normal(2, 3, 4, 5, dtype=dtype).abs())
    result = function(x)
    like_torch = functional.softplus(x)
    assert result.shape == x.shape
    assert result.dtype == x.dtype
    assert result.stride() == like_torch.stride()
    assert alike(result, function(x.contiguous()))


@pytest.mark.parametrize("name", [name for name in LAYOUTS if name != "expanded"])
@each_dtype
def test_layouts_in_place(name, dtype):
    x = LAYOUTS[name](normal(2, 3, 4, 5, dtype=dtype))
    strides, wanted = x.stride(), softplus(x)
    assert torch.equal(softplus_(x), wanted)
    assert x.stride() == strides


@pytest.mark.parametrize("function", [softplus, inverse_softplus, shifted_softplus])
def test_channels_last_with_a_beta_per_channel(function):
    x = normal(2, 3, 4, 5).abs().to(memory_format=torch.channels_last)
    beta = torch.tensor([0.5, 1.0, 2.0]).view(3, 1, 1)
    result = function(x, beta)
    assert result.is_contiguous(memory_format=torch.channels_last)
    for channel, one in enumerate((0.5, 1.0, 2.0)):
        assert same(result[:, channel], function(x[:, channel], one))


@each_pure
@each_dtype
def test_gradients_keep_dtype_and_layout(function, dtype):
    x = normal(2, 3, 4, 5, dtype=dtype).abs().to(memory_format=torch.channels_last)
    x.requires_grad_()
    gradient = torch.autograd.grad(function(x).sum(), x)[0]
    assert gradient.dtype == dtype
    assert gradient.stride() == x.stride()


@each_pure
def test_a_double_backward_of_an_empty_tensor(function):
    x = torch.empty(0, 3, requires_grad=True)
    gradient = torch.autograd.grad(function(x).sum(), x, create_graph=True)[0]
    assert torch.autograd.grad(gradient.sum(), x)[0].shape == (0, 3)


@pytest.mark.parametrize("gradient", [300.0, 1e-3])
@pytest.mark.parametrize(
    "call",
    [
        softplus,
        lambda x: softplus_(x * 1),
        lambda x: softplus(x, 2.0, 5.0),
        lambda x: softplus(x, torch.tensor(1.5)),
        shifted_softplus,
        logsigmoid,
    ],
    ids=["softplus", "in place", "threshold", "tensor beta", "shifted", "logsigmoid"],
)
def test_a_second_derivative_in_float16_is_computed_in_float32(call, gradient):
    """The product of both gradients is 90,000 or 1e-6: float16 has no 90,000, and 1e-6 badly."""

    def higher(dtype):
        x, g = (torch.tensor([v], dtype=dtype, requires_grad=True) for v in (0.7, gradient))
        (first,) = torch.autograd.grad(call(x), x, g, create_graph=True)
        (second,) = torch.autograd.grad(first, x, g, create_graph=True)
        (third,) = torch.autograd.grad(second, x)
        return [second.item(), third.item()]

    assert higher(torch.float16) == pytest.approx(higher(torch.float64), rel=2e-3, abs=2.0**-24)


# beta and shift as tensors


@pytest.mark.parametrize(("of_input", "of_beta"), list(itertools.product(DTYPES, DTYPES)))
def test_beta_of_another_dtype(of_input, of_beta):
    """Input decides the dtype of the result, and each gradient has the dtype of its tensor."""
    x = normal(2, 3, dtype=of_input).abs().requires_grad_()
    beta = torch.tensor([0.5, 1.0, 2.0], dtype=of_beta, requires_grad=True)
    for function in (softplus, inverse_softplus, shifted_softplus):
        result = function(x, beta)
        assert result.dtype == of_input
        assert torch.equal(result, function(x, beta.to(of_input)))
        in_x, in_beta = torch.autograd.grad(result.sum(), (x, beta))
        assert (in_x.dtype, in_beta.dtype) == (of_input, of_beta)
    hidden = x * 1
    assert torch.equal(softplus_(hidden, beta), softplus(x, beta))
    result = shifted_softplus(x, 1.0, beta)
    assert result.dtype == of_input
    assert torch.autograd.grad(result.sum(), beta)[0].dtype == of_beta


BROADCASTS = [((2, 3, 4), (3, 1)), ((2, 3, 4), (2, 1, 4)), ((3,), (2, 1)), ((), (3,)), ((4,), ())]


@pytest.mark.parametrize(("of_input", "of_beta"), BROADCASTS)
def test_beta_broadcasts_and_its_gradient_sums(of_input, of_beta):
    x = normal(*of_input, dtype=torch.float64).abs()
    beta = (0.5 + normal(*of_beta, dtype=torch.float64).abs()).requires_grad_()
    shape = torch.broadcast_shapes(of_input, of_beta)
    for function in (softplus, inverse_softplus, shifted_softplus):
        result = function(x, beta)
        assert result.shape == shape
        assert torch.equal(result, function(x.expand(shape), beta.expand(shape)))
        gradient = torch.autograd.grad(result.sum(), beta)[0]
        spread = beta.detach().expand(shape).clone().requires_grad_()
        each = torch.autograd.grad(function(x, spread).sum(), spread)[0]
        torch.testing.assert_close(gradient, each.sum_to_size(of_beta), rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize(("of_input", "of_shift"), BROADCASTS)
def test_shift_broadcasts_and_its_gradient_counts(of_input, of_shift):
    x = normal(*of_input, dtype=torch.float64)
    shift = normal(*of_shift, dtype=torch.float64).requires_grad_()
    result = shifted_softplus(x, 2.0, shift)
    assert torch.equal(result, softplus(x, 2.0) - shift)
    gradient = torch.autograd.grad(result.sum(), shift)[0]
    assert torch.equal(gradient, torch.full_like(shift, -result.numel() / shift.numel()))


@each_with_beta
def test_tensor_values_are_not_inspected(function):
    """Reading them would stall a GPU and break a graph; what comes out is arithmetic."""
    beta = torch.tensor([0.0, math.nan, math.inf])
    with FakeTensorMode() as mode:
        assert function(torch.ones(3), mode.from_tensor(beta)).shape == (3,)
    assert function(torch.ones(3), beta).shape == (3,)
    assert function(torch.empty(3, device="meta"), torch.empty(1, device="meta")).is_meta


# The threshold, beside PyTorch's


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["float64", "float32"])
@pytest.mark.parametrize("beta", [1.0, 2.5, 0.1, -1.5])
@pytest.mark.parametrize("threshold", [5, 5.0, 1.0, 0.0, -2.0, 19.9])
def test_a_threshold_below_20_is_pytorchs_reversion(dtype, beta, threshold):
    u = torch.cat([torch.linspace(-30, 30, 2001), torch.tensor([threshold, 19.9, 20.0, 25.0])])
    x = (u / beta).to(dtype).requires_grad_()
    ours, theirs = softplus(x, beta, threshold), functional.softplus(x, beta, threshold)
    reverted = x.detach() * beta > threshold
    assert torch.equal(ours[reverted], x[reverted])
    # PyTorch's own error below the threshold is 65 ULP at most, on values and gradients.
    close = {"rtol": 65 * torch.finfo(dtype).eps, "atol": 4 * torch.finfo(dtype).eps}
    torch.testing.assert_close(ours, theirs, **close)
    gradients = [torch.autograd.grad(y.sum(), x, create_graph=True)[0] for y in (ours, theirs)]
    assert torch.equal(gradients[0][reverted], torch.ones_like(x[reverted]))
    torch.testing.assert_close(*gradients, **close)
    seconds = [torch.autograd.grad(gradient.sum(), x)[0] for gradient in gradients]
    assert (seconds[0][reverted] == 0).all()
    # At equality PyTorch reverts in double backward, although not in forward and backward.
    apart = x.detach() * beta != threshold
    seconds = [second[apart] for second in seconds]
    torch.testing.assert_close(*seconds, rtol=1e-4, atol=100 * torch.finfo(dtype).eps)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=["bfloat16", "float16"])
@pytest.mark.parametrize("threshold", [5, 1.0, 20])
def test_half_types_agree_with_pytorch(dtype, threshold):
    """Both round once from float32: a few of all 65,536 values may fall on either side of a tie."""
    x = torch.arange(-(2**15), 2**15).to(torch.int16).view(dtype)
    x = x[x.isfinite()]
    ours, theirs = softplus(x, 1, threshold), functional.softplus(x, 1, threshold)
    # What is subnormal in float32 the kernels return as 0.
    normal = theirs.abs() >= torch.finfo(torch.float32).tiny
    ours, theirs = ours[normal], theirs[normal]
    torch.testing.assert_close(ours, theirs, rtol=torch.finfo(dtype).eps, atol=0)
    assert (ours != theirs).sum() <= 10


@each_dtype
@pytest.mark.parametrize("threshold", [20, 20.0, 33.0, math.inf, None])
def test_a_threshold_of_20_or_more_is_exact(dtype, threshold):
    x = torch.linspace(-30, 60, 901, dtype=dtype).requires_grad_()
    result, exact = softplus(x, 1, threshold), softplus(x)
    assert torch.equal(result, exact)
    first = [torch.autograd.grad(y.sum(), x)[0] for y in (result, exact)]
    if threshold == math.inf:  # backward is from the input, not from the output
        torch.testing.assert_close(*first, rtol=3 * torch.finfo(dtype).eps, atol=0)
    else:
        assert torch.equal(*first)


def test_pytorchs_reversion_loses_what_the_exact_function_keeps():
    x = torch.tensor([21.0], dtype=torch.float64, requires_grad=True)
    ours, theirs = softplus(x, 1, 20), functional.softplus(x, 1, 20)
    assert theirs.item() == 21.0
    assert ours.item() == pytest.approx(21 + math.exp(-21), abs=4e-15)
    assert torch.autograd.grad(ours, x)[0].item() == pytest.approx(1 - math.exp(-21), abs=3e-16)


# Beside the rest of PyTorch


class Marked(Tensor):
    """A tensor subclass that only carries its type."""


@each_function
def test_a_subclass_stays_a_subclass(function):
    x = normal(3).abs().as_subclass(Marked)
    result = function(x)
    assert type(result) is Marked
    plain = normal(3).abs()
    assert same(result.as_subclass(Tensor), function(plain))


def test_overriders_see_one_call():
    """For every argument that may be one, as fx needs it."""

    class Recorder(TorchFunctionMode):
        def __init__(self):
            super().__init__()
            self.seen = []

        def __torch_function__(self, function, types, args=(), kwargs=None):
            self.seen.append(function)
            return function(*args, **(kwargs or {}))

    for name, function in FUNCTIONS.items():
        x = torch.ones(2)
        with Recorder() as recorder:
            function(x)
        assert (softplus if name == "softplus_" else function) is recorder.seen[0]


class StandIn:
    """No tensor, but an object that overrides torch functions, as a tracer's proxy does."""

    @classmethod
    def __torch_function__(cls, function, types, args=(), kwargs=None):
        return function, args, kwargs or {}


def test_a_stand_in_for_any_tensor_argument_receives_the_call():
    x, other = torch.ones(2), StandIn()
    defaults = {"inplace": False, "out": None}
    for arguments in ((other, 2.0, 5.0), (x, other, 5.0)):
        assert softplus(*arguments) == (softplus, arguments, defaults)
    assert softplus(x, out=other) == (softplus, (x, 1.0, None), {"inplace": False, "out": other})
    assert softplus_(other, 2.0) == (softplus, (other, 2.0, None), {"inplace": True, "out": None})
    for arguments in ((other, 2.0), (x, other)):
        assert inverse_softplus(*arguments) == (inverse_softplus, arguments, {})
    for arguments in ((other, 2.0, 0.5), (x, other, 0.5), (x, 2.0, other)):
        assert shifted_softplus(*arguments) == (shifted_softplus, arguments, {})
    assert logsigmoid(other) == (logsigmoid, (other,), {"out": None})
    assert logsigmoid(x, out=other) == (logsigmoid, (x,), {"out": other})


@each_function
@each_dtype
def test_modes_and_autocast_keep_the_dtype(function, dtype):
    for context in (
        torch.no_grad(),
        torch.inference_mode(),
        torch.device("cpu"),
        torch.autocast("cpu", dtype=torch.bfloat16),
    ):
        with context:
            x = normal(3, dtype=dtype).abs()
            assert function(x.clone()).dtype == dtype
            assert functional.softplus(x).dtype == dtype


def test_a_result_does_not_depend_on_position_or_length():
    x = normal(4099)
    whole = softplus(x)
    for start, stop in ((0, 1), (1, 18), (4090, 4099), (7, 4000)):
        assert alike(softplus(x[start:stop]), whole[start:stop])


@pytest.mark.parametrize(
    ("beta", "shift"),
    [
        (2.0, torch.tensor(0.3)),
        (2.0, torch.tensor([0.1, 0.2, 0.3])),
        (torch.tensor(2.0), torch.tensor([[0.1], [0.2]])),
        (torch.tensor([[0.5], [2.0]]), 0.3),
    ],
)
@each_dtype
def test_beta_or_shift_in_a_tensor(dtype, beta, shift):
    """Half types round once, after the difference."""
    x = torch.linspace(-3, 3, 6, dtype=dtype).view(2, 3).requires_grad_()
    result = shifted_softplus(x, beta, shift)
    wide = torch.float64 if dtype == torch.float64 else torch.float32
    wanted = (softplus(x.to(wide), beta) - shift).to(dtype)
    assert alike(result, wanted)
    assert alike(*(torch.autograd.grad(y.sum(), x)[0] for y in (result, wanted)))


@pytest.mark.parametrize("beta", [torch.tensor(2), torch.tensor(2, dtype=torch.int8)])
def test_an_integer_in_a_tensor_is_a_number(beta):
    x = torch.linspace(-3, 3, 7, requires_grad=True)
    assert alike(softplus(x, beta), softplus(x, 2.0))
    assert alike(shifted_softplus(x, beta), shifted_softplus(x, 2.0))
    assert alike(softplus(x, torch.tensor(True)), softplus(x))
