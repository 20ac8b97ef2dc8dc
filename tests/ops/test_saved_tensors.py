"""What is saved for backward: hooks on it, and a result changed in place."""

import pytest
import torch
from torch import Tensor
from torch.autograd.graph import (
    allow_mutation_on_saved_tensors,
    disable_saved_tensors_hooks,
    save_on_cpu,
    saved_tensors_hooks,
)
from torch.nn import functional

from calls import close, each_call, eager_derivatives, normal
from every_module import gradients, model
from marks import with_kernels, with_library
from references import same_bits
from softplus import (
    logsigmoid,
    patch,
    softplus,
)

# A result changed in place


@with_library  # PyTorch's own softplus keeps its input
@pytest.mark.parametrize("beta", [1.0, 2.0, -1.0])
def test_a_result_changed_in_place_is_refused_with_a_way_out(beta):
    leaf = normal(9).requires_grad_()
    y = softplus(leaf, beta)
    y += 1
    with pytest.raises(RuntimeError, match="softplus keeps its result") as refusal:
        y.sum().backward()
    assert "modified by an inplace operation" in str(refusal.value)
    assert "threshold=float('inf')" in str(refusal.value)
    # The ways out that it names.
    wanted = eager_derivatives(lambda x: softplus(x, beta), leaf)[0]
    y = softplus(leaf, beta)
    y = y + 1
    kept_input = softplus(leaf, beta, float("inf"))
    kept_input += 1
    assert torch.equal(kept_input, y)
    for result in (y, kept_input):
        (gradient,) = torch.autograd.grad(result.sum(), leaf)
        assert close(gradient, wanted)


@with_library
@pytest.mark.parametrize("backend", ["aot_eager", pytest.param("inductor", marks=pytest.mark.slow)])
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's own
def test_compiled_too_it_is_refused_with_a_way_out(backend):
    def function(x: Tensor, threshold: float | None) -> Tensor:
        y = softplus(x, 1.0, threshold)
        y += 1
        return y.sum()

    compiled = torch.compile(function, backend=backend, fullgraph=True)
    leaf = normal(9).requires_grad_()
    with pytest.raises(Exception, match="softplus keeps its result") as refusal:
        compiled(leaf, None).backward()
    assert "threshold=float('inf')" in str(refusal.value)
    compiled(leaf, float("inf")).backward()
    assert close(leaf.grad, torch.sigmoid(leaf.detach()))


@with_kernels
def test_under_a_patch_a_result_may_be_changed_in_place():
    leaf = normal(9).requires_grad_()
    with patch():
        y = functional.softplus(leaf)
        y += 1
        y.sum().backward()
    assert close(leaf.grad, torch.sigmoid(leaf.detach()))


# Saved-tensor hooks


@each_call
def test_hooks_see_and_may_replace_what_is_saved(call):
    """Packed as a copy elsewhere: as offloading does, in first and second derivatives."""
    leaf = normal(9).requires_grad_()
    packed = []

    def pack(tensor: Tensor) -> Tensor:
        packed.append(tensor.detach().clone())
        return packed[-1]

    with saved_tensors_hooks(pack, torch.clone):
        result = call(leaf)
        (first,) = torch.autograd.grad(result.sum(), leaf, create_graph=True)
        (second,) = torch.autograd.grad(first.sum(), leaf)
    assert packed
    wanted = eager_derivatives(call, leaf)
    assert close(first, wanted[0])
    assert close(second, wanted[1])


def test_saving_on_the_cpu():
    module, x = model(), normal(5, 4)
    with save_on_cpu():
        found = gradients(module, x)
    assert all(map(same_bits, found, gradients(module, x)))


@with_kernels
def test_where_hooks_are_forbidden_none_is_needed():
    leaf = normal(9).requires_grad_()
    with disable_saved_tensors_hooks("none here"):
        softplus(leaf).sum().backward()
    assert close(leaf.grad, torch.sigmoid(leaf.detach()))


@pytest.mark.parametrize("call", [softplus, logsigmoid, lambda x: softplus(x, 2.0, 5.0)])
def test_mutation_of_saved_results_where_it_is_allowed(call):
    leaf = normal(9).requires_grad_()
    with allow_mutation_on_saved_tensors():
        result = call(leaf)
        result.mul_(2)
        result.sum().backward()
    assert close(leaf.grad, 2 * eager_derivatives(call, leaf)[0])


def test_hooks_on_gradients_and_nodes():
    leaf = normal(9).requires_grad_()
    y = softplus(leaf)
    y.register_hook(lambda g: g * 2)
    leaf.register_hook(lambda g: g * 3)
    seen = []
    y.grad_fn.register_hook(lambda inputs, outputs: seen.append((len(inputs), len(outputs))))
    y.grad_fn.register_prehook(lambda _: seen.append("before"))
    y.sum().backward()
    assert close(leaf.grad, 6 * torch.sigmoid(leaf.detach()))
    assert seen[0] == "before"
    assert len(seen) == 2


def test_the_graph_is_freed_and_says_so():
    leaf = normal(9).requires_grad_()
    y = softplus(leaf)
    y.sum().backward(retain_graph=True)
    y.sum().backward()
    assert close(leaf.grad, 2 * torch.sigmoid(leaf.detach()))
    with pytest.raises(RuntimeError, match="backward through the graph a second time"):
        y.sum().backward()
