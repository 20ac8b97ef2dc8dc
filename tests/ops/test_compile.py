"""torch.compile: one graph, one node each way, right gradients, one compilation for every beta."""

import math

import pytest
import torch
from torch import Tensor, fx, nn
from torch._dynamo.testing import AotEagerAndRecordGraphs
from torch.utils.checkpoint import checkpoint

from calls import CALLS, close, each_call, eager_derivatives, normal, quickly
from compiling import compiling, nothing_compiled_before, quiet  # noqa: F401 -- a fixture
from marks import with_kernels, with_library
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

pytestmark = quiet


# The graph


def operators(graphs: list[fx.GraphModule]) -> list[str]:
    """Return the names of what graphs call."""
    called = [n.target for graph in graphs for n in graph.graph.nodes if n.op == "call_function"]
    return [str(target) for target in called if "detach" not in str(target)]


@with_kernels
@pytest.mark.parametrize("dynamic", [False, None])
@pytest.mark.parametrize("beta", [1.0, 2])
def test_compile_has_one_node_each_way(beta, dynamic):
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
    assert operators(backend.fw_graphs) == ["softplus.forward.default"]
    assert operators(backend.bw_graphs) == ["softplus.backward.default"]


@with_kernels
@pytest.mark.parametrize(
    ("function", "operator"),
    [
        (lambda x: softplus(x, 2.0), "forward"),
        (lambda x: softplus(x), "forward"),  # noqa: PLW0108 -- as an argument beta would vary
        (softplus, "forward_at"),
        (Softplus(), "forward_at"),
    ],
    ids=["a constant", "a default", "an argument", "a module"],
)
def test_dynamic_compilation_holds_the_kernel(function, operator):
    """Where floats that are arguments, attributes or of a module count as variables."""
    backend = AotEagerAndRecordGraphs()
    compiled = torch.compile(function, backend=backend, fullgraph=True, dynamic=True)
    leaf = normal(10).requires_grad_()
    assert same(compiled(leaf), function(leaf))
    (graph,) = backend.fw_graphs
    called = {str(node.target) for node in graph.graph.nodes}
    assert f"softplus.{operator}.default" in called
    assert "aten.log1p.default" not in called


@with_library
@pytest.mark.parametrize("function", [softplus, shifted_softplus])
@pytest.mark.parametrize("shape", [(), (4,), (3, 1), (2, 3, 4)])
def test_a_tensor_beta_is_one_node_each_way(function, shape):
    """The definition, which Inductor makes code of, takes twice what the one-liner takes."""
    backend = AotEagerAndRecordGraphs()
    compiled = torch.compile(function, backend=backend, fullgraph=True)
    x, beta = normal(2, 3, 4).requires_grad_(), (normal(*shape) + 0.3).requires_grad_()
    results = [compiled(x, beta), function(x, beta)]
    assert same_bits(*results)
    gradients = [torch.autograd.grad(y, (x, beta), torch.ones_like(y)) for y in results]
    assert all(map(close, *gradients))
    assert operators(backend.fw_graphs).count("softplus.forward_each.default") == 1
    assert operators(backend.bw_graphs).count("softplus.backward_each.default") == 1


NEXT_TO_ZERO = {
    "shifted": shifted_softplus,
    "shifted, a beta beyond the kernels": lambda x: shifted_softplus(x * 1e30, 1e-30),
    "shifted, a tensor beta": lambda x: shifted_softplus(x, torch.tensor(1.5)),
    "inverse": lambda x: inverse_softplus(x + math.log(2)),
    "inverse, a tensor beta": lambda x: inverse_softplus(x + math.log(2), torch.tensor(1.0)),
}


@pytest.mark.parametrize("call", quickly(NEXT_TO_ZERO, "inverse"))
def test_inductor_keeps_the_digits_next_to_zero(call):
    """Its vectors take e^u - 1 for expm1(u): the definition has no expm1 where u is small."""
    x = torch.linspace(-1e-3, 1e-3, 999)
    torch.testing.assert_close(torch.compile(call, fullgraph=True)(x), call(x), rtol=1e-6, atol=0)


@each_call
def test_values_and_gradients(call):
    compiled = torch.compile(call, backend="aot_eager", fullgraph=True)
    x = normal(10)
    assert close(compiled(x), call(x))
    leaf = x.clone().requires_grad_()
    compiled(leaf).sum().backward()
    assert close(leaf.grad, eager_derivatives(call, x)[0])


def test_without_kernels(monkeypatch):
    monkeypatch.setattr(cpu, "entry_absent", "for this test")
    compiled, _ = compiling(lambda x, beta: softplus(x, beta) + shifted_softplus(x, beta))
    for beta in (1.0, 2.0, 3.0):
        x = normal(10)
        assert close(compiled(x, beta), softplus(x, beta) + shifted_softplus(x, beta))


@pytest.mark.parametrize("call", quickly(CALLS, "softplus"))
def test_inductor(call):
    compiled = torch.compile(call, fullgraph=True)
    leaf = normal(10).requires_grad_()
    result = compiled(leaf)
    assert close(result, call(leaf))
    result.sum().backward()
    assert close(leaf.grad, eager_derivatives(call, leaf)[0])


@pytest.mark.slow
@pytest.mark.parametrize("call", [softplus, CALLS["in place"]], ids=["softplus", "in place"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_inductor_of_other_dtypes(call, dtype):
    compiled = torch.compile(call, fullgraph=True)
    leaf = normal(10, dtype=dtype).requires_grad_()
    results = [compiled(leaf), call(leaf)]
    assert same(*results)
    assert same(*[torch.autograd.grad(y.sum(), leaf)[0] for y in results])


@pytest.mark.parametrize("dynamic", [False, True])
def test_channels_last_under_inductor(dynamic):
    """The gradient that arrives is that of a sum, one number expanded to every element."""
    convolution = nn.Conv2d(3, 5, 3).to(memory_format=torch.channels_last)

    def loss(x: Tensor) -> Tensor:
        return softplus(convolution(x)).sum()

    compiled = torch.compile(loss, fullgraph=True, dynamic=dynamic)
    leaf = normal(2, 3, 7, 9).to(memory_format=torch.channels_last).requires_grad_()
    (gradient,) = torch.autograd.grad(compiled(leaf), leaf)
    torch.testing.assert_close(gradient, torch.autograd.grad(loss(leaf), leaf)[0])


@pytest.mark.parametrize("function", [softplus, shifted_softplus])
@pytest.mark.parametrize("changes", [False, True])
def test_a_beta_beyond_the_kernels_is_for_the_definition(function, changes):
    x = torch.tensor([-3.0, -1e-30, 0.0, 1e-30, 2.0])
    for beta in (1e-30, 1e30, -1e-30):
        torch._dynamo.reset()
        compiled, _ = compiling(function)
        if changes:
            compiled(x, 1.5)
            compiled(x, 2.5)
        assert same(compiled(x, beta), function(x, beta))


@pytest.mark.parametrize("beta", [0.0, float("inf")])
def test_a_refused_beta(beta):
    compiled, _ = compiling(softplus)
    with pytest.raises(Exception, match="beta must be a finite number other than 0"):
        compiled(normal(3), beta)


# Recompilation


@pytest.mark.parametrize("dynamic", [None, True])
@pytest.mark.parametrize("call", quickly(CALLS, "softplus", "tensor beta"))
def test_dynamic_shapes(call, dynamic):
    """Every size after the second is served by what was compiled."""
    compiled, counter = compiling(call, dynamic=dynamic)
    frames = []
    for rows, columns in ((2, 3), (4, 5), (7, 6), (9, 8)):
        leaf = normal(rows, columns).requires_grad_()
        result = compiled(leaf)
        assert close(result, call(leaf))
        (gradient,) = torch.autograd.grad(result.sum(), leaf)
        assert close(gradient, eager_derivatives(call, leaf)[0])
        frames.append(counter.frame_count)
    assert frames[1] == frames[-1]
    assert not dynamic or frames[0] == frames[-1]


BETAS = [1.0, 1.5, 2.5, -3.5, 100.0, 1e-3]


@pytest.mark.parametrize("function", [softplus, shifted_softplus, softplus_])
@pytest.mark.parametrize("number", [float, int], ids=["float", "int"])
def test_a_beta_that_changes_is_compiled_once_more_and_never_again(function, number):
    compiled, counter = compiling(lambda x, beta: function(x * 1, beta))
    for beta in BETAS if number is float else [2, 3, -4, 5, 60]:
        leaf = normal(9).requires_grad_()
        result = compiled(leaf, beta)
        assert close(result, function(leaf * 1, beta))
        (gradient,) = torch.autograd.grad(result.sum(), leaf)
        assert close(gradient, eager_derivatives(lambda x: function(x * 1, beta), leaf)[0])  # noqa: B023
    assert counter.frame_count == 2


@pytest.mark.parametrize("backend", ["aot_eager", pytest.param("inductor", marks=pytest.mark.slow)])
@pytest.mark.parametrize("function", [softplus, softplus_, shifted_softplus, inverse_softplus])
@torch._dynamo.config.patch(capture_scalar_outputs=True)
def test_a_beta_that_only_the_run_will_know(function, backend):
    def call(x: Tensor, beta: Tensor) -> Tensor:
        return function(x * 1, beta.item())

    compiled = torch.compile(call, backend=backend, fullgraph=True)
    for beta in (1.5, -3.5, 1e-30, 1e30):
        leaf = (normal(99).abs() * math.copysign(1, beta)).requires_grad_()
        results = [each(leaf, torch.tensor(beta)) for each in (compiled, call)]
        assert close(*results)
        assert close(*[torch.autograd.grad(y.sum(), leaf)[0] for y in results])


@pytest.mark.parametrize(
    "function",
    [lambda x, value: softplus(x, 2.0, value), lambda x, value: shifted_softplus(x, 2.0, value)],
    ids=["threshold", "shift"],
)
def test_a_threshold_and_a_shift_may_change_too(function):
    compiled, counter = compiling(function)
    for value in (0.5, 1.5, 2.5, 4.0):
        leaf = normal(99).requires_grad_()
        results = [compiled(leaf, value), function(leaf, value)]
        assert close(*results)
        assert close(*[torch.autograd.grad(y.sum(), leaf)[0] for y in results])
    assert counter.frame_count == 2
    with pytest.raises(Exception, match="Observed exception"):
        compiled(leaf, float("nan"))


@pytest.mark.parametrize("threshold", [None, 5.0])
@pytest.mark.parametrize("dynamic", [None, True])
def test_a_gradient_inside_is_differentiated(threshold, dynamic):
    """As a loss on forces does: with a beta that is a constant, and with one that is a variable."""

    def loss(x: Tensor, beta: float) -> Tensor:
        y = softplus(x, beta, threshold)
        (first,) = torch.autograd.grad(y.sum(), x, create_graph=True)
        return first.square().sum() + y.sum()

    with torch._dynamo.config.patch(trace_autograd_ops=True):
        compiled, _ = compiling(loss, dynamic=dynamic)
        for beta in (1.0, 2.0, 3.0):
            leaf = normal(9, scale=1).requires_grad_()
            results = [compiled(leaf, beta), loss(leaf, beta)]
            assert close(*results)
            assert close(*[torch.autograd.grad(result, leaf)[0] for result in results])


@with_kernels
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16], ids=["float32", "float16"])
@pytest.mark.parametrize("threshold", [None, 5.0])
def test_a_beta_that_changes_is_still_for_the_kernels(dtype, threshold):
    compiled, _ = compiling(lambda x, beta: softplus(x, beta, threshold))
    for beta in BETAS:
        leaf = normal(99, dtype=dtype).requires_grad_()
        results = [compiled(leaf, beta), softplus(leaf, beta, threshold)]
        assert same_bits(*results)
        assert same_bits(
            *[torch.autograd.grad(y, leaf, normal(99, dtype=dtype))[0] for y in results]
        )


@pytest.mark.parametrize("kind", quickly({"S": Softplus, "shifted": ShiftedSoftplus}, "S"))
@pytest.mark.parametrize("start", [1.0, 1], ids=["float", "int"])
def test_a_module_whose_beta_is_annealed_is_compiled_twice(kind, start):
    module = nn.Sequential(nn.Linear(3, 3), kind(start), nn.Linear(3, 3), kind(start))
    compiled, counter = compiling(module)
    for beta in (start, 2, 3, 4.5, 1e3):
        module[1].beta, module[3].beta = beta, 2 * beta
        leaf = normal(5, 3).requires_grad_()
        result = compiled(leaf)
        assert close(result, module(leaf))
        result.sum().backward()
    assert counter.frame_count == 2


def test_tensor_betas_and_thresholds_are_compiled_once():
    compiled, counter = compiling(softplus)
    for beta in BETAS:
        tensor = torch.tensor(beta, requires_grad=True)
        leaf = normal(9).requires_grad_()
        results = [compiled(leaf, tensor), softplus(leaf, tensor)]
        assert close(*results)
        gradients = [torch.autograd.grad(y.sum(), (leaf, tensor)) for y in results]
        assert all(map(close, *gradients))
    assert counter.frame_count == 1


# Training


FORMS = {
    "Softplus": lambda: Softplus(2),
    "in place": lambda: Softplus(2, inplace=True),
    "threshold": lambda: Softplus(2, 5),
    "learnable": lambda: Softplus(2, learnable=True),
    "channels": lambda: Softplus(2, learnable=True, num_parameters=3),
    "ShiftedSoftplus": lambda: ShiftedSoftplus(2, inplace=True),
    "LogSigmoid": LogSigmoid,
}


@pytest.mark.parametrize("build", quickly(FORMS, "learnable", "in place"))
def test_training(build):
    """Steps with a compiled model end where the same steps end in eager."""

    def trained(*, compile_it: bool) -> list[Tensor]:
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(4, 3), build(), nn.Linear(3, 1))
        forward, counter = compiling(model) if compile_it else (model, None)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
        for _ in range(4):
            optimizer.zero_grad()
            forward(normal(6, 4)).square().mean().backward()
            optimizer.step()
        assert counter is None or counter.frame_count == 1
        return [parameter.detach() for parameter in model.parameters()]

    torch.testing.assert_close(trained(compile_it=True), trained(compile_it=False))


def test_in_place_on_the_graphs_own_input():
    compiled, _ = compiling(softplus_)
    x = normal(9)
    wanted, before = softplus(x), x._version
    assert compiled(x) is x
    assert close(x, wanted)
    assert x._version > before
    leaf = normal(9).requires_grad_()
    hidden = leaf * 1
    compiled(hidden)
    (gradient,) = torch.autograd.grad(hidden.sum(), leaf)
    assert close(gradient, eager_derivatives(softplus, leaf)[0])


@pytest.mark.parametrize("function", [softplus, logsigmoid])
def test_out(function):
    compiled, _ = compiling(lambda x, out: function(x, out=out))
    x, out = normal(9), torch.zeros(9)
    assert compiled(x, out) is out
    assert close(out, function(x))


@pytest.mark.parametrize("reentrant", [False, True])
def test_a_checkpoint_inside(reentrant):
    compiled, _ = compiling(
        lambda x: checkpoint(lambda x: softplus_(x * 2), x, use_reentrant=reentrant)
    )
    leaf = normal(9).requires_grad_()
    (gradient,) = torch.autograd.grad(compiled(leaf).sum(), leaf)
    assert close(gradient, eager_derivatives(lambda x: softplus(x * 2), leaf)[0])


def test_autocast_inside():
    layer = nn.Linear(4, 4)

    def function(x: Tensor) -> Tensor:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return softplus(layer(x))

    compiled, _ = compiling(function)
    x = normal(3, 4)
    assert compiled(x).dtype == function(x).dtype == torch.bfloat16
    assert torch.equal(compiled(x), function(x))


def test_a_backward_compiled_too():
    """Compiled autograd traces the kernels' nodes, of a graph that eager calls built."""
    model = nn.Sequential(nn.Linear(4, 3), Softplus(2), Softplus(1, 5), nn.Linear(3, 1))
    x = normal(6, 4)
    wanted = torch.autograd.grad(model(x).square().sum(), list(model.parameters()))
    loss = model(x).square().sum()
    with torch._dynamo.compiled_autograd._enable(torch.compile(backend="aot_eager")):
        loss.backward()
    torch.testing.assert_close([p.grad for p in model.parameters()], list(wanted))
