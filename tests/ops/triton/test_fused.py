"""What Inductor makes of softplus on a GPU: here on CPU tensors that count as a GPU's."""

import pytest
import torch
from torch import Tensor, nn

from calls import normal
from compiling import nothing_compiled_before, quiet  # noqa: F401 -- a fixture
from softplus import Softplus, softplus
from softplus.ops import dispatch, inductor

pytestmark = [*quiet, pytest.mark.slow]


@pytest.fixture(autouse=True)
def _as_on_a_gpu(monkeypatch):
    """Fuse, and take nothing from a cache of what was compiled for a CPU."""
    monkeypatch.setattr(inductor, "_on_gpu", lambda _: True)
    monkeypatch.setattr(dispatch, "_compiled_for_cpu", lambda *_: False)
    monkeypatch.setattr(dispatch, "_compiled_for_gpu", lambda _: True)
    of_autograd = torch._functorch.config.patch(enable_autograd_cache=False)
    with torch._inductor.config.patch(fx_graph_cache=False), of_autograd:
        yield


def graphs_of(function, x: Tensor) -> tuple[Tensor, list[torch.fx.Graph]]:
    """Return a compiled function's result, and the graphs that Inductor compiled."""
    from torch._inductor.compile_fx import compile_fx, compile_fx_inner  # noqa: PLC0415

    graphs = []

    def inner(graph, *arguments, **options):
        graphs.append(graph.graph)
        return compile_fx_inner(graph, *arguments, **options)

    def backend(graph, inputs):
        return compile_fx(graph, inputs, inner_compile=inner)

    result = torch.compile(function, fullgraph=True, backend=backend)(x)
    return result, graphs


def called(graph: torch.fx.Graph) -> set[str]:
    """Return what a graph calls."""
    return {str(node.target) for node in graph.nodes if node.op == "call_function"}


def kept(graph: torch.fx.Graph) -> int:
    """Return the bytes of activations that a forward graph hands on, its result among them."""
    (output,) = [node for node in graph.nodes if node.op == "output"]
    values = [node.meta["val"] for node in output.args[0] if hasattr(node, "meta")]
    return sum(value.nbytes for value in values if value.shape[:1] == (32,))


def test_it_is_fused_and_keeps_what_relu_keeps():
    x = normal(32, 16).requires_grad_()
    kept_bytes = []
    for activation in (Softplus(beta=2), nn.ReLU()):
        torch._dynamo.reset()
        model = nn.Sequential(nn.Linear(16, 16), activation, nn.Linear(16, 16))
        result, graphs = graphs_of(model, x)
        (first,) = torch.autograd.grad(result.sum(), x)
        assert torch.allclose(
            first, torch.autograd.grad(model(x).sum(), x)[0], rtol=1e-5, atol=1e-6
        )
        forward, backward = graphs
        assert not any("softplus" in name for name in called(forward) | called(backward))
        kept_bytes.append(kept(forward))
        if isinstance(activation, Softplus):
            assert "aten.log1p.default" in called(forward)
            assert "aten.expm1.default" in called(backward)  # of the output
    assert kept_bytes[0] == kept_bytes[1]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("threshold", [None, 5.0])
def test_values_and_gradients(dtype, threshold):
    x = normal(500, dtype=dtype).requires_grad_()
    results = [softplus(x, 1.5, threshold)]
    results.append(torch.compile(lambda v: softplus(v, 1.5, threshold), fullgraph=True)(x))
    gradients = [torch.autograd.grad(y.sum(), x)[0] for y in results]
    accuracy = 4e-6 if dtype == torch.float32 else 2 * torch.finfo(dtype).eps
    for one, other in (results, gradients):
        assert one.dtype == other.dtype
        assert torch.allclose(one, other, rtol=accuracy, atol=1e-7)


def test_a_compiled_double_backward():
    """Of a gradient that torch.func takes inside, as PyTorch compiles it for nn.Softplus."""
    model = nn.Sequential(nn.Linear(3, 16), Softplus(beta=10), nn.Linear(16, 1))
    x = normal(20, 3, scale=1)

    def loss(points: Tensor) -> Tensor:
        gradient = torch.func.grad(lambda p: model(p).sum())(points)
        return (gradient.norm(dim=1) - 1).square().mean()

    compiled = torch.compile(loss, fullgraph=True)
    gradients = []
    for function in (loss, compiled):
        model.zero_grad()
        function(x).backward()
        gradients.append(model[0].weight.grad.clone())
    assert torch.allclose(*gradients, rtol=1e-4, atol=1e-6)
