"""The functions users call: every argument, every error message, in-place, out, layouts, dtypes."""

import itertools
import math
import re
from fractions import Fraction

import numpy as np
import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from references import same
from softplus import inverse_softplus, logsigmoid, shifted_softplus, softplus, softplus_
from softplus.ops import definition

DTYPES = [torch.float64, torch.float32, torch.bfloat16, torch.float16]
each_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: str(dtype)[6:])

ALL = {
    "softplus": softplus,
    "softplus_": softplus_,
    "inverse_softplus": inverse_softplus,
    "shifted_softplus": shifted_softplus,
    "logsigmoid": logsigmoid,
}
WITH_BETA = {name: function for name, function in ALL.items() if name != "logsigmoid"}
PURE = {name: function for name, function in ALL.items() if name != "softplus_"}
each_function = pytest.mark.parametrize("function", ALL.values(), ids=ALL.keys())
each_with_beta = pytest.mark.parametrize("function", WITH_BETA.values(), ids=WITH_BETA.keys())
each_pure = pytest.mark.parametrize("function", PURE.values(), ids=PURE.keys())


def sample(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Return positive and negative values, the same on every call."""
    generator = torch.Generator().manual_seed(0)
    return (3 * torch.randn(shape, generator=generator, dtype=torch.float64)).to(dtype)


def exactly(message: str) -> str:
    """Return the pattern of a message that starts so."""
    return "^" + re.escape(message)


# The result is the definition's


@each_dtype
def test_each_function_is_its_definition(dtype):
    x, beta = sample(4, 3, dtype=dtype), torch.tensor([0.5, -2, 3], dtype=dtype)
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
    x = sample(5)
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


# What is refused, and how

MUST_BE = "must be float32, float64, bfloat16 or float16"


@each_function
@pytest.mark.parametrize(
    ("value", "message"),
    [
        (1.0, "must be a torch.Tensor, got float: wrap the value as torch.tensor("),
        ([1.0], "must be a torch.Tensor, got list: wrap the value as torch.tensor("),
        (None, "must be a torch.Tensor, got NoneType: wrap the value as torch.tensor("),
        (torch.ones(2, dtype=torch.int64), f"{MUST_BE}, got int64: call input.float() first"),
        (torch.ones(2, dtype=torch.bool), f"{MUST_BE}, got bool: call input.float() first"),
        (torch.ones(2, dtype=torch.complex64), f"{MUST_BE}, got complex64: there is no order"),
        (torch.ones(2).to(torch.float8_e4m3fn), f"{MUST_BE}, got float8_e4m3fn: call input.float"),
        (torch.eye(2).to_sparse(), "must be strided, got layout torch.sparse_coo: softplus(0) is"),
    ],
    ids=["float", "list", "None", "int64", "bool", "complex64", "float8", "sparse"],
)
def test_refused_input(function, value, message):
    with pytest.raises(TypeError, match=exactly(f"input {message}")):
        function(value)


@each_function
@pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor:UserWarning")  # deprecated, alive
def test_refused_quantised_input(function):
    x = torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.qint8)
    message = "input must be float32, float64, bfloat16 or float16, got qint8: call input.deq"
    with pytest.raises(TypeError, match=exactly(message)):
        function(x)


@each_with_beta
@pytest.mark.parametrize(
    "beta", [0, 0.0, -0.0, math.nan, math.inf, -math.inf, 1e39, 1e-39, 10**400]
)
def test_refused_values_of_beta(function, beta):
    message = "beta must be a finite number other than 0 within the normal range of float32 "
    with pytest.raises(ValueError, match=exactly(message)) as error:
        function(torch.ones(2), beta)
    assert str(error.value).endswith(f"got {beta}")


@each_with_beta
@pytest.mark.parametrize("beta", ["1", None, 1j, [1.0], (1.0,)])
def test_refused_types_of_beta(function, beta):
    message = f"beta must be a number or a torch.Tensor, got {type(beta).__name__} {beta!r}"
    with pytest.raises(TypeError, match=exactly(message)):
        function(torch.ones(2), beta)


@each_with_beta
@pytest.mark.parametrize("dtype", [torch.int64, torch.bool, torch.complex64])
def test_refused_dtypes_of_beta(function, dtype):
    advice = "use beta.real" if dtype.is_complex else "call beta.float() first"
    message = f"a tensor beta must be floating-point, got {str(dtype)[6:]}: {advice}"
    with pytest.raises(TypeError, match=exactly(message)):
        function(torch.ones(2), torch.ones(2, dtype=dtype))


@each_with_beta
def test_a_beta_on_another_device(function):
    message = "beta is on meta and input on cpu: call beta.to('cpu') first"
    with pytest.raises(RuntimeError, match=exactly(message)):
        function(torch.ones(2), torch.ones(2, device="meta"))
    assert function(torch.ones(2, device="meta"), torch.tensor(2.0)).is_meta


@each_with_beta
@pytest.mark.parametrize("beta", [2**63, Fraction(2**63), np.float32(2**63)], ids=str)
def test_numbers_of_every_kind_for_beta(function, beta):
    assert torch.equal(function(torch.ones(2), beta), function(torch.ones(2), 2.0**63))


@each_with_beta
def test_a_beta_that_does_not_broadcast(function):
    message = (
        "beta of shape (3,) does not broadcast against input of shape (2, 3, 4): "
        "give it size 1 in every dimension that it does not vary in"
    )
    with pytest.raises(ValueError, match=exactly(message)):
        function(torch.ones(2, 3, 4), torch.ones(3))


@pytest.mark.parametrize("call", [softplus, softplus_])
@pytest.mark.parametrize("threshold", ["20", 1j, [20], torch.tensor(20.0)])
def test_refused_types_of_threshold(call, threshold):
    message = f"threshold must be a number or None, got {type(threshold).__name__} {threshold!r}"
    with pytest.raises(TypeError, match=exactly(message)):
        call(torch.ones(2), 1, threshold)


def test_a_nan_threshold():
    message = "threshold must be a number or None (the exact function), got nan"
    with pytest.raises(ValueError, match=exactly(message)):
        softplus(torch.ones(2), 1, math.nan)


@pytest.mark.parametrize("shift", ["1", 1j, [1.0]])
def test_refused_types_of_shift(shift):
    message = (
        "shift must be a number, a torch.Tensor or None (ln2/beta), "
        f"got {type(shift).__name__} {shift!r}"
    )
    with pytest.raises(TypeError, match=exactly(message)):
        shifted_softplus(torch.ones(2), 1, shift)


@pytest.mark.parametrize("shift", [math.nan, math.inf, -math.inf])
def test_refused_values_of_shift(shift):
    message = f"shift must be finite, or None (ln2/beta), got {shift}"
    with pytest.raises(ValueError, match=exactly(message)):
        shifted_softplus(torch.ones(2), 1, shift)


def test_refused_tensor_shifts():
    with pytest.raises(TypeError, match=exactly("a tensor shift must be floating-point, got int")):
        shifted_softplus(torch.ones(2), 1, torch.tensor(1))
    message = "shift of shape (3,) does not broadcast against input of shape (2,): give it size 1"
    with pytest.raises(ValueError, match=exactly(message)):
        shifted_softplus(torch.ones(2), 1, torch.ones(3))


def test_a_refusal_leaves_the_tensors_unchanged():
    x, out = torch.ones(2), torch.zeros(2)
    message = "softplus got inplace=True and out=...: one result has one place; drop one of them"
    with pytest.raises(ValueError, match=exactly(message)):
        softplus(x, inplace=True, out=out)
    with pytest.raises(ValueError, match="beta"):
        softplus_(x, 0)
    with pytest.raises(ValueError, match="beta"):
        softplus(x, 0, out=out)
    assert torch.equal(x, torch.ones(2))
    assert torch.equal(out, torch.zeros(2))


@pytest.mark.parametrize("beta", [1, True, 2.0, -3.5, 1.2e-38, 3.4e38])
def test_accepted_numbers_for_beta(beta):
    x = sample(9)
    result = softplus(x, beta)
    assert result.dtype == torch.float32
    assert result.isfinite().all()


# out=


@each_dtype
def test_out(dtype):
    x = sample(3, 4, dtype=dtype)
    wanted = softplus(x, 2.0)
    out = torch.empty_like(x)
    assert softplus(x, 2.0, out=out) is out
    assert torch.equal(out, wanted)
    empty = torch.empty(0, dtype=dtype)
    assert torch.equal(softplus(x, 2.0, out=empty), wanted)
    assert empty.shape == x.shape
    columns = torch.zeros(4, 3, dtype=dtype).t()
    assert torch.equal(softplus(x, 2.0, out=columns), wanted)
    assert columns.stride() == (1, 3)
    assert torch.equal(softplus(x, 2.0, out=x), wanted)
    assert torch.equal(x, wanted)


def test_out_of_another_shape_follows_torch():
    with pytest.warns(UserWarning, match="An output with one or more elements was resized"):
        assert softplus(sample(5), out=torch.empty(2)).shape == (5,)


def test_out_holds_the_broadcast_result():
    x, beta = sample(3), torch.tensor([[1.0], [2.0]])
    out = torch.empty(2, 3)
    assert torch.equal(softplus(x, beta, out=out), softplus(x, beta))


def test_out_does_not_differentiate():
    x = sample(5).requires_grad_()
    out = torch.zeros(5)
    with pytest.raises(RuntimeError, match=r"out=.*don't support automatic differentiation"):
        softplus(x, out=out)
    assert torch.equal(out, torch.zeros(5))
    with torch.no_grad():
        assert torch.equal(softplus(x, out=out), softplus(x))


# In place


@each_dtype
@pytest.mark.parametrize("threshold", [None, 20, 1.0])
def test_in_place_is_the_function(dtype, threshold):
    x = sample(3, 4, dtype=dtype)
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
    x = sample(5)
    wanted = softplus(x)
    assert softplus(x, inplace=yes) is x
    assert torch.equal(x, wanted)
    assert softplus(x, inplace=0) is not x


def test_in_place_writes_through_a_view():
    base = sample(4, 6)
    wanted = base.clone()
    wanted[1:3, ::2] = softplus(base[1:3, ::2])
    softplus_(base[1:3, ::2])
    assert torch.equal(base, wanted)


@pytest.mark.parametrize("threshold", [None, 1.0])
@pytest.mark.parametrize("tensor_beta", [False, True])
def test_autograd_through_in_place(threshold, tensor_beta):
    def gradients(in_place):
        x = sample(6, dtype=torch.float64).requires_grad_()
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
    leaf = sample(4).requires_grad_()
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
    x = sample(4).requires_grad_()
    hidden = x.exp()  # saves its result
    loss = softplus_(hidden).sum()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


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


@each_pure
@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS.keys())
@each_dtype
def test_layouts(function, layout, dtype):
    x = layout(sample(2, 3, 4, 5, dtype=dtype).abs())
    result = function(x)
    like_torch = functional.softplus(x)
    assert result.shape == x.shape
    assert result.dtype == x.dtype
    assert result.stride() == like_torch.stride()
    assert torch.equal(result, function(x.contiguous()))


@pytest.mark.parametrize("name", [name for name in LAYOUTS if name != "expanded"])
@each_dtype
def test_layouts_in_place(name, dtype):
    x = LAYOUTS[name](sample(2, 3, 4, 5, dtype=dtype))
    strides, wanted = x.stride(), softplus(x)
    assert torch.equal(softplus_(x), wanted)
    assert x.stride() == strides


@pytest.mark.parametrize("function", [softplus, inverse_softplus, shifted_softplus])
def test_channels_last_with_a_beta_per_channel(function):
    x = sample(2, 3, 4, 5).abs().to(memory_format=torch.channels_last)
    beta = torch.tensor([0.5, 1.0, 2.0]).view(3, 1, 1)
    result = function(x, beta)
    assert result.is_contiguous(memory_format=torch.channels_last)
    for channel, one in enumerate((0.5, 1.0, 2.0)):
        assert same(result[:, channel], function(x[:, channel], one))


@each_pure
@each_dtype
def test_gradients_keep_dtype_and_layout(function, dtype):
    x = sample(2, 3, 4, 5, dtype=dtype).abs().to(memory_format=torch.channels_last)
    x.requires_grad_()
    gradient = torch.autograd.grad(function(x).sum(), x)[0]
    assert gradient.dtype == dtype
    assert gradient.stride() == x.stride()


@each_pure
def test_a_double_backward_of_an_empty_tensor(function):
    x = torch.empty(0, 3, requires_grad=True)
    gradient = torch.autograd.grad(function(x).sum(), x, create_graph=True)[0]
    assert torch.autograd.grad(gradient.sum(), x)[0].shape == (0, 3)


# beta and shift as tensors


@pytest.mark.parametrize(("of_input", "of_beta"), list(itertools.product(DTYPES, DTYPES)))
def test_beta_of_another_dtype(of_input, of_beta):
    """Input decides the dtype of the result, and each gradient has the dtype of its tensor."""
    x = sample(2, 3, dtype=of_input).abs().requires_grad_()
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
    x = sample(*of_input, dtype=torch.float64).abs()
    beta = (0.5 + sample(*of_beta, dtype=torch.float64).abs()).requires_grad_()
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
    x = sample(*of_input, dtype=torch.float64)
    shift = sample(*of_shift, dtype=torch.float64).requires_grad_()
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
    x = sample(3).abs().as_subclass(Marked)
    result = function(x)
    assert type(result) is Marked
    plain = sample(3).abs()
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

    for name, function in ALL.items():
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
            x = sample(3, dtype=dtype).abs()
            assert function(x.clone()).dtype == dtype
            assert functional.softplus(x).dtype == dtype


def test_a_result_does_not_depend_on_position_or_length():
    x = sample(4099)
    whole = softplus(x)
    for start, stop in ((0, 1), (1, 18), (4090, 4099), (7, 4000)):
        assert torch.equal(softplus(x[start:stop]), whole[start:stop])
