"""A PyTorch built for GPUs, on fake tensors: what is kept and traced there, without a GPU."""

import importlib

import pytest
import torch
from torch import Tensor, nn
from torch._dynamo.backends.common import aot_autograd
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn import functional

from compiling import quiet
from softplus import Softplus, softplus
from softplus.ops import entry, triton

pytestmark = [
    *quiet,
    pytest.mark.skipif(
        not torch.backends.cuda.is_built(), reason="this PyTorch is built for the CPU alone"
    ),
]

BATCH, WIDTH = 32, 64


class HalfSoftplus(Softplus):
    """The class of docs/gpu.md."""

    def forward(self, input: Tensor) -> Tensor:
        with torch.autocast(input.device.type, enabled=False):
            return super().forward(input)


@pytest.fixture
def _autocast():
    """Autocast to bfloat16, which PyTorch refuses to enter where there is no GPU."""
    dtype = torch.get_autocast_dtype("cuda")
    torch.set_autocast_dtype("cuda", torch.bfloat16)
    torch.set_autocast_enabled("cuda", True)
    yield
    torch.set_autocast_enabled("cuda", False)
    torch.set_autocast_dtype("cuda", dtype)


def kept(activation: nn.Module) -> float:
    """Return the bytes that a chain of two layers keeps of each activation's unit."""
    found: dict[int, Tensor] = {}

    def pack(tensor: Tensor) -> Tensor:
        found[tensor.untyped_storage()._cdata] = tensor
        return tensor

    hooks = torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor)
    with FakeTensorMode():
        x = torch.empty(BATCH, WIDTH, device="cuda")
        weights = [torch.empty(WIDTH, WIDTH, device="cuda", requires_grad=True) for _ in range(2)]
        with hooks:
            y = functional.linear(activation(functional.linear(x, weights[0])), weights[1])
        assert y.device.type == "cuda"
        inside = [t for t in found.values() if t.shape == (BATCH, WIDTH)]
        return sum(t.untyped_storage().nbytes() for t in inside) / (BATCH * WIDTH)


@pytest.mark.usefixtures("_autocast")
def test_what_autocast_keeps(monkeypatch):
    """Beside the 2 bytes of the input of the first layer."""
    monkeypatch.setattr(entry, "served", lambda _: True)
    assert kept(nn.ReLU()) - 2 == 2
    assert kept(nn.Softplus()) - 2 == kept(Softplus()) - 2 == 6
    assert kept(HalfSoftplus()) - 2 == 2


@pytest.mark.usefixtures("_autocast")
def test_what_autocast_keeps_of_a_small_tensor(monkeypatch):
    """It is PyTorch's operator that serves it, which keeps its input."""
    monkeypatch.setattr(entry, "served", lambda _: False)
    assert kept(HalfSoftplus()) - 2 == 4


@pytest.mark.parametrize(("served", "bytes_kept"), [(True, 4), (False, 8)])
def test_without_autocast(monkeypatch, served, bytes_kept):
    monkeypatch.setattr(entry, "served", lambda _: served)
    assert kept(nn.ReLU()) - 4 == 4
    assert kept(Softplus()) - 4 == bytes_kept


def test_inductor_gets_the_formula_of_what_is_traced_as_one_node():
    torch._dynamo.reset()
    importlib.import_module("torch._inductor.compile_fx")  # a compiler that is loaded
    decompositions = importlib.import_module("torch._inductor.decomposition").select_decomp_table
    seen: list[set[str]] = []

    def listed(graph, _):
        seen.append({str(n.target) for n in graph.graph.nodes if n.op == "call_function"})
        return graph

    def backend(graph, inputs):
        listed(graph, inputs)
        compiler = aot_autograd(
            fw_compiler=listed, inference_compiler=listed, decompositions=decompositions
        )
        return compiler(graph, inputs)

    with FakeTensorMode(allow_non_fake_inputs=True), torch.no_grad():
        x = torch.empty(BATCH, WIDTH, device="cuda")
        y = torch.compile(lambda v: softplus(v, 2.0) * 3, backend=backend, fullgraph=True)(x)
    assert y.device.type == "cuda"
    traced, compiled = seen
    assert "softplus.forward" in traced
    assert {"aten.exp.default", "aten.log1p.default"} <= compiled
    assert not any("softplus" in name for name in compiled)


def test_a_gpu_that_triton_does_not_know_is_pytorch_s():
    """As a fake one, of which nothing is known."""
    with FakeTensorMode():
        x = torch.empty(1 << 24, device="cuda")
        assert not triton.serves(x)
        assert softplus(x).device.type == "cuda"
