"""Activation checkpointing, alone and under modes that see the operators; compiled autograd."""

from contextlib import nullcontext

import pytest
import torch
from torch._dynamo import compiled_autograd
from torch.utils.checkpoint import (
    CheckpointPolicy,
    checkpoint,
    create_selective_checkpoint_contexts,
)
from torch.utils.flop_counter import FlopCounterMode

from calls import close, each_call, eager_derivatives, normal
from every_module import gradients, model
from marks import with_kernels
from modes import SeeOperators
from softplus import (
    logsigmoid,
    shifted_softplus,
    softplus,
)
from softplus.ops import cpu


@pytest.mark.parametrize("reentrant", [False, True])
@each_call
def test_checkpointing(call, reentrant):
    leaf = normal(9).requires_grad_()
    result = checkpoint(lambda x: call(x * 2), leaf, use_reentrant=reentrant)
    result.sum().backward()
    assert close(result, call(leaf * 2))
    assert close(leaf.grad, eager_derivatives(lambda x: call(x * 2), leaf)[0])


def test_a_checkpointed_model():
    module, x = model(), normal(5, 4)
    seen = []

    def policy(_context, operator, *_arguments, **_options):
        seen.append(str(operator))
        return CheckpointPolicy.PREFER_RECOMPUTE

    for options in ({}, {"context_fn": lambda: create_selective_checkpoint_contexts(policy)}):
        result = checkpoint(module, x, use_reentrant=False, **options)
        found = torch.autograd.grad(result.square().sum(), list(module.parameters()))
        torch.testing.assert_close(list(found), list(gradients(module, x)))
    # A policy is an active mode: it sees one operator for each call.
    if cpu.absent is None:
        assert {"softplus.forward.default", "softplus.forward_each.default"} <= set(seen)
        assert "aten.log1p.default" not in seen


BETAS = torch.full((9,), 2.0, dtype=torch.float64)


@with_kernels
@pytest.mark.parametrize(
    ("call", "wanted"),
    [
        (softplus, ["forward", "backward"]),
        (lambda x: softplus(x, 2.0, 5.0), ["forward", "backward"]),
        (logsigmoid, ["forward", "backward"]),
        (shifted_softplus, ["shifted", "backward"]),
        (lambda x: softplus(x, BETAS), ["forward_each", "backward_each"]),
    ],
)
def test_a_mode_sees_one_operator_forward_and_one_backward(call, wanted):
    leaf, ones = normal(9).requires_grad_(), torch.ones(9)
    with SeeOperators() as mode:
        result = call(leaf)
        result.backward(ones)
    ours = [name for name in mode.seen if not name.startswith("aten.detach")]
    assert ours == [f"softplus.{name}.default" for name in wanted]
    assert close(result, call(leaf))


@pytest.mark.parametrize("mode", [SeeOperators, lambda: FlopCounterMode(display=False)])
@pytest.mark.parametrize("where", ["forward", "backward"])
@each_call
def test_a_checkpoint_under_a_mode_in_one_pass_alone(call, where, mode):
    """What is recomputed in backward is what was saved, whichever of them the mode sees."""
    leaf = normal(9).requires_grad_()
    with mode() if where == "forward" else nullcontext():
        result = checkpoint(lambda x: call(x * 2), leaf, use_reentrant=False)
    with mode() if where == "backward" else nullcontext():
        result.sum().backward()
    assert close(leaf.grad, eager_derivatives(lambda x: call(x * 2), leaf)[0])


@with_kernels
def test_the_profiler_names_the_operators():
    leaf = normal(9).requires_grad_()
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        softplus(leaf).sum().backward()
    names = {event.name for event in profile.events()}
    assert {"softplus::forward", "softplus::backward", "SoftplusBackward"} <= names


@with_kernels
@each_call
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor:UserWarning")  # torch's own
def test_compiled_autograd(call):
    leaf = normal(9).requires_grad_()
    with compiled_autograd._enable(torch.compile(backend="eager")):
        call(leaf).sum().backward()
    assert close(leaf.grad, eager_derivatives(call, leaf)[0])
