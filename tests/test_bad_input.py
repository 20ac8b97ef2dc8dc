"""Bad input: every error names its cause and the way out, and leaves every tensor as it was.

What is refused for the type, dtype or value of one argument stands in test_functional.py; here it
is tensors of other kinds, shapes that do not fit, and places that cannot be written.
"""

import re

import pytest
import torch
from torch import Tensor

from calls import normal
from references import same, same_bits
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
from softplus.ops import cpu

pytestmark = [
    # Deprecated, experimental, and still met.
    pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor:UserWarning"),
    pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors:UserWarning"),
    pytest.mark.filterwarnings("ignore:Sparse CSR tensor support:UserWarning"),
    pytest.mark.filterwarnings("ignore:Sparse invariant checks:UserWarning"),
]

FUNCTIONS = {
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
}
each_function = pytest.mark.parametrize("function", FUNCTIONS.values(), ids=FUNCTIONS.keys())

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
    "jagged": (lambda: nested(torch.jagged), NESTED),
}
each_kind = pytest.mark.parametrize(("build", "message"), KINDS.values(), ids=KINDS.keys())


@each_function
@each_kind
def test_an_input_of_another_kind(function, build, message):
    with pytest.raises(TypeError, match="^input " + message.format("input")):
        function(build())


@each_function
@pytest.mark.parametrize("dtype", [torch.complex64, torch.complex128, torch.uint8, torch.int32])
def test_an_input_of_another_dtype_through_every_name(function, dtype):
    x = torch.ones(3, dtype=dtype)
    advice = r"use input\.real" if dtype.is_complex else r"call input\.float\(\) first"
    with pytest.raises(TypeError, match=rf"got {str(dtype)[6:]}: .*{advice}"):
        function(x)
    assert torch.equal(x, torch.ones(3, dtype=dtype))


@pytest.mark.parametrize("dtype", [torch.qint8, torch.quint8, torch.qint32])
@each_function
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


@pytest.mark.parametrize("shape", [(3,), (4, 1), (2, 5), (3, 3, 1, 5)])
@pytest.mark.parametrize("function", [softplus, softplus_, inverse_softplus, shifted_softplus])
def test_a_beta_that_does_not_broadcast(function, shape):
    x = normal(2, 4)
    if shape == (4, 1):
        x = normal(3, 4)
    before = x.clone()
    message = (
        f"beta of shape {shape} does not broadcast against input of shape {tuple(x.shape)}: "
        "give it size 1 in every dimension that it does not vary in"
    )
    with pytest.raises(ValueError, match="^" + re.escape(message)):
        function(x, torch.ones(shape))
    assert same_bits(x, before)


@pytest.mark.parametrize("shape", [(5,), (2, 5), (4, 2)])
def test_betas_that_fit_no_channel(shape):
    message = (
        rf"num_parameters=3 betas run along dimension 1 .*{re.escape(str(shape))}: use the size"
    )
    with pytest.raises(ValueError, match=message):
        Softplus(2, learnable=True, num_parameters=3)(normal(*shape))


# In place


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


# out=

BETAS = {"number": 2.0, "tensor": torch.tensor(2.0)}
each_beta = pytest.mark.parametrize("beta", BETAS.values(), ids=BETAS.keys())


def refused(x: Tensor, beta: float | Tensor, out: Tensor, kind: type, message: str) -> None:
    """Hold that the call raises so, through both functions that take out, and changes nothing."""
    before = x.detach().clone()
    kept = None if out.is_meta or out.is_quantized else out.detach().clone()
    for call in (lambda: softplus(x, beta, out=out), lambda: logsigmoid(x, out=out)):
        with pytest.raises(kind, match=message):
            call()
        assert x.is_meta or same_bits(x, before)
        assert kept is None or torch.equal(out.detach(), kept)


@each_beta
@pytest.mark.parametrize(
    "dtype",
    [torch.float64, torch.bfloat16, torch.complex64, torch.int64, torch.uint8, torch.bool],
)
def test_out_of_the_wrong_dtype(beta, dtype):
    """Refused, a wider type too, as PyTorch's softplus refuses it."""
    out = torch.zeros(5, dtype=dtype)
    message = f"out is {str(dtype)[6:]} and input float32: give out the dtype of input"
    refused(normal(5), beta, out, RuntimeError, message)


@each_beta
def test_a_quantised_out(beta):
    out = torch.quantize_per_tensor(torch.ones(5), 0.1, 0, torch.quint8)
    message = "out is quint8 and input float32: give out the dtype of input"
    refused(normal(5), beta, out, RuntimeError, message)


@each_beta
def test_out_of_the_wrong_dtype_compiled(beta):
    out = torch.zeros(5, dtype=torch.float64)
    compiled = torch.compile(lambda x, out: softplus(x, beta, out=out), backend="eager")
    with pytest.raises(RuntimeError, match="out is float64 and input float32"):
        compiled(normal(5), out)
    assert not out.any()


@each_beta
def test_out_on_another_device(beta):
    message = "out is on meta and input on cpu: give out the device of input"
    refused(normal(5), beta, torch.empty(5, device="meta"), RuntimeError, message)
    message = "out is on cpu and input on meta: give out the device of input"
    refused(torch.empty(5, device="meta"), beta, torch.zeros(5), RuntimeError, message)


@each_beta
def test_out_whose_elements_share_memory(beta):
    out = torch.zeros(5, 1).expand(5, 3)
    message = r"single memory location\. Please clone\(\) the tensor"
    refused(normal(5, 3), beta, out, RuntimeError, message)


@pytest.mark.skipif(cpu.absent is not None, reason="the definition copies its result into out")
def test_out_that_overlaps_the_input_in_part():
    """A kernel would read what it has written; with a tensor beta there is a copy between them."""
    memory = normal(100)
    message = r"single memory location\. Please clone\(\) the tensor"
    refused(memory[:-1], 2.0, memory[1:], RuntimeError, message)
    wanted = softplus(memory[:-1].clone(), torch.tensor(2.0))
    softplus(memory[:-1], torch.tensor(2.0), out=memory[1:])
    assert same_bits(memory[1:], wanted)


@each_beta
@pytest.mark.parametrize("which", ["input", "out"])
def test_out_where_grad_is_required(beta, which):
    tensors = {"input": normal(5), "out": torch.zeros(5)}
    tensors[which].requires_grad_()
    message = (
        r"out=.*don't support automatic differentiation, and input, beta or out requires grad: "
        r"call it under torch\.no_grad\(\), or without out"
    )
    refused(tensors["input"], beta, tensors["out"], RuntimeError, message)
    with torch.no_grad():  # the way out
        softplus(tensors["input"], beta, out=tensors["out"])
    assert same(tensors["out"].detach(), softplus(tensors["input"].detach(), beta))


@pytest.mark.parametrize("out", [[1.0], 1.0, "out", (torch.zeros(5),)])
def test_out_that_is_no_tensor(out):
    for call in (lambda: softplus(normal(5), out=out), lambda: logsigmoid(normal(5), out=out)):
        with pytest.raises(TypeError, match=r"^out must be a torch\.Tensor or None, got "):
            call()
