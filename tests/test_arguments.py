"""The checks of arguments: every error names its cause and the way out, and changes no tensor."""

import math
import re
from fractions import Fraction

import numpy as np
import pytest
import torch
from torch import Tensor

from calls import each_function, each_with_beta, normal
from messages import exactly
from references import same_bits
from softplus import (
    LogSigmoid,
    ShiftedSoftplus,
    Softplus,
    inverse_softplus,
    logsigmoid,
    shifted_softplus,
    softplus,
    softplus_,
)

pytestmark = [
    # Deprecated, experimental, and still met.
    pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor:UserWarning"),
    pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors:UserWarning"),
    pytest.mark.filterwarnings("ignore:Sparse CSR tensor support:UserWarning"),
    pytest.mark.filterwarnings("ignore:Sparse invariant checks:UserWarning"),
]


# One argument of a function

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


def test_a_module_takes_no_tensor_as_shift():
    message = "shift must be a number or None (ln2/beta), got Tensor tensor(0.5000)"
    with pytest.raises(TypeError, match=exactly(message)):
        ShiftedSoftplus(1, torch.tensor(0.5))


@pytest.mark.parametrize("shift", [math.nan, math.inf, -math.inf])
def test_refused_values_of_shift(shift):
    message = f"shift must be finite, or None (ln2/beta), got {shift}"
    with pytest.raises(ValueError, match=exactly(message)):
        shifted_softplus(torch.ones(2), 1, shift)


def test_refused_tensor_shifts():
    with pytest.raises(TypeError, match=exactly("a tensor shift must be floating-point, got int")):
        shifted_softplus(torch.ones(2), 1, torch.tensor([1, 2]))
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
    x = normal(9)
    result = softplus(x, beta)
    assert result.dtype == torch.float32
    assert result.isfinite().all()


# Tensors of other kinds, dtypes and shapes

EVERY_NAME = {
    "softplus": softplus,
    "softplus_": softplus_,
    "inverse_softplus": inverse_softplus,
    "shifted_softplus": shifted_softplus,
    "logsigmoid": logsigmoid,
    "Softplus": Softplus(2),
    "Softplus(inplace)": Softplus(2, inplace=True),
    "Softplus(learnable)": Softplus(2, learnable=True),
    "ShiftedSoftplus": ShiftedSoftplus(),
    "LogSigmoid": LogSigmoid(),
    "LogSigmoid(inplace)": LogSigmoid(inplace=True),
}
each_name = pytest.mark.parametrize("function", EVERY_NAME.values(), ids=EVERY_NAME.keys())

DENSE = r"must be strided, got layout .*: .*call {}\.to_dense\(\) first"
NESTED = r"must be strided, got a nested tensor: take the tensors of {}\.unbind\(\) one by one"
DEQUANTIZE = r"call input\.dequantize\(\) first"


def nested(layout: torch.layout) -> Tensor:
    """Return two rows of different lengths."""
    return torch.nested.nested_tensor([torch.ones(2), torch.ones(3)], layout=layout)


# Of each kind: how to make it, and what the error says.
KINDS = {
    "sparse COO": (lambda: torch.eye(4).to_sparse(), DENSE),
    "sparse CSR": (lambda: torch.eye(4).to_sparse_csr(), DENSE),
    "sparse BSR": (lambda: torch.eye(4).to_sparse_bsr((2, 2)), DENSE),
    "MKL-DNN": (lambda: torch.ones(4).to_mkldnn(), DENSE),
    "nested": (lambda: nested(torch.strided), NESTED),
}
each_kind = pytest.mark.parametrize(("build", "message"), KINDS.values(), ids=KINDS.keys())


@each_name
@each_kind
def test_an_input_of_another_kind(function, build, message):
    with pytest.raises(TypeError, match="^input " + message.format("input")):
        function(build())


def test_a_jagged_tensor_is_for_softplus_alone():
    """`tests/ops/test_ways.py` has what softplus makes of it."""
    jagged, ones = nested(torch.jagged), torch.ones(2, 3)
    for call in (shifted_softplus, inverse_softplus):
        with pytest.raises(TypeError, match="^input " + NESTED.format("input")):
            call(jagged)
    with pytest.raises(TypeError, match="^beta " + NESTED.format("beta")):
        softplus(ones, jagged)


@each_name
@pytest.mark.parametrize("dtype", [torch.complex64, torch.complex128, torch.uint8, torch.int32])
def test_an_input_of_another_dtype_through_every_name(function, dtype):
    x = torch.ones(3, dtype=dtype)
    advice = r"use input\.real" if dtype.is_complex else r"call input\.float\(\) first"
    with pytest.raises(TypeError, match=rf"got {str(dtype)[6:]}: .*{advice}"):
        function(x)
    assert torch.equal(x, torch.ones(3, dtype=dtype))


@pytest.mark.parametrize("dtype", [torch.qint8, torch.quint8, torch.qint32])
@each_name
def test_a_quantised_input(function, dtype):
    with pytest.raises(TypeError, match=rf"got {str(dtype)[6:]}: {DEQUANTIZE}"):
        function(torch.quantize_per_tensor(torch.ones(3), 0.1, 0, dtype))


@each_kind
@pytest.mark.parametrize("name", ["beta", "shift", "out"])
def test_another_argument_of_another_kind(name, build, message):
    x, function = normal(4), shifted_softplus if name == "shift" else softplus
    before = x.clone()
    with pytest.raises(TypeError, match=f"^{name} " + message.format(name)):
        function(x, **{name: build()})
    assert same_bits(x, before)


@pytest.mark.parametrize(
    ("of_input", "of_beta"),
    [((2, 4), (3,)), ((3, 4), (4, 1)), ((2, 4), (2, 5)), ((2, 4), (3, 3, 1, 5)), ((2, 3, 4), (3,))],
)
@each_with_beta
def test_a_beta_that_does_not_broadcast(function, of_input, of_beta):
    x = normal(*of_input)
    before = x.clone()
    message = (
        f"beta of shape {of_beta} does not broadcast against input of shape {of_input}: "
        "give it size 1 in every dimension that it does not vary in"
    )
    with pytest.raises(ValueError, match=exactly(message)):
        function(x, torch.ones(of_beta))
    assert same_bits(x, before)


@pytest.mark.parametrize("shape", [(5,), (2, 5), (4, 2)])
def test_betas_that_fit_no_channel(shape):
    message = (
        rf"num_parameters=3 betas run along dimension 1 .*{re.escape(str(shape))}: use the size"
    )
    with pytest.raises(ValueError, match=message):
        Softplus(2, learnable=True, num_parameters=3)(normal(*shape))


# Arguments of the modules

each_module = pytest.mark.parametrize("kind", [Softplus, ShiftedSoftplus])


@each_module
@pytest.mark.parametrize("beta", [0, math.nan, math.inf, 1e39])
@pytest.mark.parametrize("learnable", [False, True])
def test_values_of_beta_refused_by_modules(kind, beta, learnable):
    message = "beta must be a finite number other than 0"
    with pytest.raises(ValueError, match=exactly(message)) as error:
        kind(beta, learnable=learnable)
    assert str(error.value).endswith(f"got {beta}")


@each_module
@pytest.mark.parametrize("beta", ["1", None, torch.ones(2)])
def test_types_of_beta_refused_by_modules(kind, beta):
    message = f"beta must be a number, got {type(beta).__name__}"
    with pytest.raises(TypeError, match=exactly(message)) as error:
        kind(beta)
    assert ("with learnable=True" in str(error.value)) is isinstance(beta, Tensor)


@each_module
@pytest.mark.parametrize("beta", [-1.0, 2.0**-14, 1e-5])
def test_a_learnable_beta_that_starts_too_low(kind, beta):
    message = "a learnable beta stays above 2^-14 = 6.1e-05, so it must start there, got "
    with pytest.raises(ValueError, match=exactly(f"{message}{beta}: use learnable=False")):
        kind(beta, learnable=True)
    kind(beta)


@each_module
@pytest.mark.parametrize(("number", "learnable"), [(0, True), (-1, True), (2, False), (0, False)])
def test_refused_num_parameters(kind, number, learnable):
    message = "num_parameters must be 1, or with learnable=True the number of channels, got "
    with pytest.raises(ValueError, match=exactly(f"{message}{number} with learnable={learnable}")):
        kind(learnable=learnable, num_parameters=number)


@each_module
def test_inputs_that_have_no_such_channels(kind):
    module = kind(learnable=True, num_parameters=3)
    for shape in ((3,), (2, 4), (2, 1, 5)):
        message = f"num_parameters=3 betas run along dimension 1 of input, which has shape {shape}"
        with pytest.raises(ValueError, match=exactly(message)):
            module(torch.ones(shape))


@each_module
def test_a_learnable_beta_cannot_be_set(kind):
    module = kind(learnable=True)
    message = "beta is learnable: change raw_beta, with beta = softplus(raw_beta) + 2^-14"
    with pytest.raises(AttributeError, match=exactly(message)):
        module.beta = 2.0


def test_input_refused_by_modules():
    for module in (Softplus(), ShiftedSoftplus(), LogSigmoid()):
        with pytest.raises(TypeError, match=exactly("input must be float32, float64")):
            module(torch.ones(2, dtype=torch.int64))
