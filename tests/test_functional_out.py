"""The functions with `out=`: what they write, and where they cannot write."""

import pytest
import torch
from torch import Tensor

from calls import normal
from marks import each_dtype
from references import same, same_bits
from softplus import logsigmoid, softplus
from softplus.ops import cpu

# What is written


@each_dtype
def test_out(dtype):
    x = normal(3, 4, dtype=dtype)
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
        assert softplus(normal(5), out=torch.empty(2)).shape == (5,)


def test_out_holds_the_broadcast_result():
    x, beta = normal(3), torch.tensor([[1.0], [2.0]])
    out = torch.empty(2, 3)
    assert torch.equal(softplus(x, beta, out=out), softplus(x, beta))


def test_out_does_not_differentiate():
    x = normal(5).requires_grad_()
    out = torch.zeros(5)
    with pytest.raises(RuntimeError, match=r"out=.*don't support automatic differentiation"):
        softplus(x, out=out)
    assert torch.equal(out, torch.zeros(5))
    with torch.no_grad():
        assert torch.equal(softplus(x, out=out), softplus(x))


# What cannot be written, and stays as it was


BETAS = {"number": 2.0, "tensor": torch.tensor(2.0)}
each_beta = pytest.mark.parametrize("beta", BETAS.values(), ids=BETAS.keys())


def refused(x: Tensor, beta: float | Tensor, out: Tensor, kind: type, message: str) -> None:
    """Assert that the call raises so, through both functions that take out, and changes nothing."""
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
@pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor:UserWarning")  # deprecated, alive
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


@pytest.mark.skipif(
    cpu.absent is None and cpu.entry_absent is not None, reason="the library's result is copied"
)
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
