"""torch.compile: one graph, one node each way, right gradients, one compilation for every beta."""

import pytest
import torch
from torch import fx
from torch._dynamo.testing import AotEagerAndRecordGraphs

from calls import close, each_call, eager_derivatives, normal
from references import same_bits
from softplus import softplus
from softplus.ops import cpu

with_kernels = pytest.mark.skipif(cpu.absent is not None, reason=f"no CPU kernels: {cpu.absent}")


@with_kernels
@pytest.mark.parametrize("dynamic", [False, None])
@pytest.mark.parametrize("beta", [1.0, 2])
@pytest.mark.filterwarnings("ignore:Your compiler for AOTAutograd:UserWarning")
def test_compile_has_one_node_each_way(beta, dynamic):
    torch._dynamo.reset()
    backend = AotEagerAndRecordGraphs()
    compiled = torch.compile(
        lambda x: softplus(x, beta), backend=backend, fullgraph=True, dynamic=dynamic
    )
    x = normal(10).requires_grad_()
    result = compiled(x)
    assert same_bits(result, softplus(x, beta))
    g = normal(10, scale=1)
    assert same_bits(
        torch.autograd.grad(result, x, g)[0], torch.autograd.grad(softplus(x, beta), x, g)[0]
    )

    def ours(graphs: list[fx.GraphModule]) -> list[str]:
        called = [
            n.target for graph in graphs for n in graph.graph.nodes if n.op == "call_function"
        ]
        return [str(target) for target in called if "detach" not in str(target)]

    assert ours(backend.fw_graphs) == ["softplus.forward.default"]
    assert ours(backend.bw_graphs) == ["softplus.backward.default"]


@each_call
def test_compile(call):
    torch._dynamo.reset()
    compiled = torch.compile(call, backend="aot_eager", fullgraph=True)
    x = normal(10)
    assert close(compiled(x), call(x))
    leaf = x.clone().requires_grad_()
    compiled(leaf).sum().backward()
    assert close(leaf.grad, eager_derivatives(call, x)[0])


@pytest.mark.slow
@each_call
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_compile_with_inductor(call):
    torch._dynamo.reset()
    compiled = torch.compile(call, fullgraph=True)
    leaf = normal(10).requires_grad_()
    result = compiled(leaf)
    assert close(result, call(leaf))
    result.sum().backward()
    assert close(leaf.grad, eager_derivatives(call, leaf)[0])
