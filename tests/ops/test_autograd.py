"""Beside the rest of autograd: autocast, checkpointing, hooks, anomaly mode, several threads."""

import threading
from contextlib import nullcontext

import pytest
import torch
from torch import Tensor, nn
from torch._dynamo import compiled_autograd
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.autograd.graph import (
    allow_mutation_on_saved_tensors,
    disable_saved_tensors_hooks,
    save_on_cpu,
    saved_tensors_hooks,
)
from torch.nn import functional
from torch.utils.checkpoint import (
    CheckpointPolicy,
    checkpoint,
    create_selective_checkpoint_contexts,
)
from torch.utils.flop_counter import FlopCounterMode

from calls import CALLS, close, each_call, eager_derivatives, normal
from marks import with_kernels
from modes import SeeOperators
from references import same_bits
from softplus import (
    LogSigmoid,
    ShiftedSoftplus,
    Softplus,
    logsigmoid,
    patch,
    shifted_softplus,
    softplus,
    softplus_,
)
from softplus.ops import cpu

HALVES = [torch.bfloat16, torch.float16]


def model() -> nn.Module:
    """Return a model with every module of the package, the same on every call."""
    torch.manual_seed(0)
    activations = [
        Softplus(2),
        Softplus(3, inplace=True),
        Softplus(2, learnable=True),
        Softplus(2, 5),
        ShiftedSoftplus(),
        LogSigmoid(),
    ]
    layers = [layer for activation in activations for layer in (nn.Linear(4, 4), activation)]
    return nn.Sequential(*layers, nn.Linear(4, 1))


def gradients(module: nn.Module, x: Tensor) -> list[Tensor]:
    """Return the gradients in every parameter of the sum of squares of the outputs."""
    return torch.autograd.grad(module(x).square().sum(), list(module.parameters()))


def kept(call, *arguments: Tensor) -> dict[int, int]:
    """Return the storages that a call keeps for backward, with their bytes, parameters aside."""
    storages = {}

    def pack(tensor: Tensor) -> Tensor:
        if not isinstance(tensor, nn.Parameter):
            storage = tensor.untyped_storage()
            storages[storage.data_ptr()] = storage.nbytes()
        return tensor

    with saved_tensors_hooks(pack, lambda tensor: tensor):
        result = call(*arguments)
    assert result.requires_grad
    return storages


# Autocast


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, *HALVES])
@pytest.mark.parametrize("lower", HALVES)
@each_call
def test_autocast_on_cpu_leaves_the_dtype(call, dtype, lower):
    """There, softplus is on none of PyTorch's lists: it runs in the dtype that arrives."""
    x = normal(8, dtype=dtype)
    with torch.autocast("cpu", dtype=lower):
        assert call(x).dtype == functional.softplus(x).dtype == functional.logsigmoid(x).dtype
        assert same_bits(call(x), call(x.clone()))
    assert call(x).dtype == dtype


@with_kernels
@pytest.mark.parametrize("lower", HALVES)
@pytest.mark.parametrize("activation", [Softplus(2), Softplus(3, 20), LogSigmoid()], ids=str)
def test_what_is_kept_under_autocast(lower, activation):
    """The result, which the next layer keeps too; in float16 the input beside it."""
    rows = 16

    def bytes_kept(activation: nn.Module) -> int:
        torch.manual_seed(0)
        module = nn.Sequential(nn.Linear(8, 8), activation, nn.Linear(8, 8))
        with torch.autocast("cpu", dtype=lower):
            sizes = kept(module, normal(rows, 8)).values()
            module(normal(rows, 8)).float().square().sum().backward()
        assert all(p.grad.dtype == p.dtype == torch.float32 for p in module.parameters())
        assert all(p.grad.isfinite().all() for p in module.parameters())
        return sum(sizes)

    more = rows * 8 * 2 if lower == torch.float16 else 0
    assert bytes_kept(activation) == bytes_kept(nn.ReLU()) + more


@pytest.mark.parametrize(
    "call",
    # A fake multiplication with a number asks for the device itself: those two are left out.
    [call for name, call in CALLS.items() if name not in ("in place", "inverse")],
    ids=[name for name in CALLS if name not in ("in place", "inverse")],
)
@pytest.mark.parametrize("lower", HALVES)
def test_autocast_on_an_accelerator_runs_in_float32(call, lower):
    """As PyTorch's softplus does there; fake tensors show the dtypes without the device."""
    before = torch.is_autocast_enabled("cuda"), torch.get_autocast_dtype("cuda")
    torch.set_autocast_enabled("cuda", True)
    torch.set_autocast_dtype("cuda", lower)
    try:
        with FakeTensorMode():
            for dtype in (torch.float64, torch.float32, *HALVES):
                x = torch.empty(3, dtype=dtype, device="cuda")
                assert call(x).dtype == functional.softplus(x).dtype
    finally:
        torch.set_autocast_enabled("cuda", before[0])
        torch.set_autocast_dtype("cuda", before[1])


# Activation checkpointing


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


# Gradients that are not there


class Stop(torch.autograd.Function):
    """Pass no gradient on."""

    @staticmethod
    def forward(_ctx, x):
        return x * 1

    @staticmethod
    def backward(_ctx, _grad):
        return None


@each_call
def test_an_undefined_gradient_stays_undefined(call):
    """Zeros in its place would let weight decay move parameters that took no part."""
    leaf = normal(9).requires_grad_()
    Stop.apply(call(leaf)).sum().backward()
    assert leaf.grad is None


# A result changed in place


@pytest.mark.skipif(cpu.absent is not None, reason="PyTorch's own softplus keeps its input")
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


# Anomaly mode


@each_call
@pytest.mark.filterwarnings("ignore:Anomaly Detection has been enabled:UserWarning")
def test_anomaly_mode_finds_nothing_in_finite_input(call):
    leaf = torch.tensor([-1e4, -90.0, -0.5, 0.0, 3.0, 90.0, 1e4], requires_grad=True)
    with torch.autograd.detect_anomaly():
        (first,) = torch.autograd.grad(call(leaf).sum(), leaf, create_graph=True)
        first.sum().backward()
    assert leaf.grad.isfinite().all()


@pytest.mark.filterwarnings("ignore:Anomaly Detection has been enabled:UserWarning")
@pytest.mark.filterwarnings("ignore:Error detected in:UserWarning")
def test_anomaly_mode_finds_a_nan_gradient():
    leaf = torch.tensor([1.0, float("nan")], requires_grad=True)
    with torch.autograd.detect_anomaly():
        y = softplus(leaf)
        with pytest.raises(RuntimeError, match="returned nan values in its 0th output"):
            y.sum().backward()


# Threads


def test_backward_in_several_threads_at_once():
    """Of one graph's parameters and of separate ones: sums into .grad lose nothing."""
    module, x = model().double(), normal(64, 4, dtype=torch.float64)
    wanted = gradients(module, x)
    module.zero_grad()
    failures = []

    def work() -> None:
        try:
            for _ in range(10):
                module(x).square().sum().backward()
        except Exception as error:  # noqa: BLE001 -- told below, in the test's own thread
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    for parameter, gradient in zip(module.parameters(), wanted, strict=True):
        torch.testing.assert_close(parameter.grad, 40 * gradient)


def test_grad_mode_is_each_threads_own():
    leaf = normal(9).requires_grad_()
    results = {}

    def work() -> None:
        with torch.no_grad():
            results["without"] = softplus(leaf)
        results["with"] = softplus(leaf)

    with torch.no_grad():
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        results["here"] = softplus(leaf)
    assert [results[name].requires_grad for name in ("without", "with", "here")] == [
        False,
        True,
        False,
    ]


# Modes of tensors


@each_call
def test_inference_tensors_are_inputs_like_any_other(call):
    with torch.inference_mode():
        x = normal(9)
        inside = call(x)
    assert inside.is_inference()
    assert same_bits(call(x.clone()), inside)


@pytest.mark.parametrize("context", [nullcontext, torch.no_grad, torch.enable_grad])
def test_in_place_keeps_requires_grad(context):
    hidden = normal(9).requires_grad_() * 1
    with context():
        softplus_(hidden)
    assert hidden.requires_grad
