"""Beside the rest of autograd: undefined gradients, anomaly mode, several threads."""

import threading
from contextlib import nullcontext

import pytest
import torch

from calls import each_call, normal
from every_module import gradients, model
from references import same_bits
from softplus import (
    softplus,
    softplus_,
)

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
