"""Samples: every form of them, runs that leave no trace, and how far outputs lie apart."""

import math
from collections import UserDict, namedtuple
from dataclasses import dataclass

import pytest
import torch
from torch import nn

from softplus import Softplus, convert, harden, samples

Batch = namedtuple("Batch", ["x", "scale"])  # noqa: PYI024 -- users have such


class Tokens(UserDict):
    """What a tokenizer returns: a mapping that is no dict."""


class Model(nn.Module):
    """Writes over its input, as an activation in place may."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.act, self.calls = nn.Linear(3, 3), nn.ReLU(inplace=True), 0

    def forward(self, x, scale=1.0):
        self.calls += 1
        parts = x if isinstance(x, list) else [x]
        return sum(self.layer(self.act(part)) for part in parts) * scale


def x() -> torch.Tensor:
    return torch.linspace(-2, 2, 6).reshape(2, 3)


FORMS = {
    "tensor": x,
    "tuple": lambda: (x(), 2.0),
    "named tuple": lambda: Batch(x(), 2.0),
    "dict": lambda: {"x": x(), "scale": 2.0},
    "mapping": lambda: Tokens(x=x(), scale=2.0),
    "list": lambda: [x(), x()],
    "computed": lambda: x().requires_grad_() * 1,
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_a_sample_serves_convert_and_harden_and_stays(form):
    model, sample = Model(), FORMS[form]()
    converted = convert(model, {"relu": Softplus(beta=5)}, sample=sample)
    hardened = harden(converted, sample)
    assert 0 < converted.conversion.difference < 1
    assert hardened.difference == pytest.approx(converted.conversion.difference, rel=1e-4)
    expected = FORMS[form]()
    if isinstance(sample, (dict, Tokens)):
        sample, expected = list(sample.values()), list(expected.values())
    for ours, theirs in zip(sample, expected, strict=True):
        assert torch.equal(torch.as_tensor(ours), torch.as_tensor(theirs))
    assert model.calls == 0


def test_a_model_that_differentiates_inside():
    class Forces(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer, self.act = nn.Linear(3, 3), nn.ReLU()

        def forward(self, x):
            return torch.autograd.grad(self.act(self.layer(x)).sum(), x)[0]

    sample = x().requires_grad_()
    converted = convert(Forces(), {"relu": Softplus(beta=5)}, sample=sample)
    assert converted.conversion.difference > 0
    assert sample.grad is None


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ([1.0, 2.0], [1.0, 2.5], 0.5),
        ([math.inf, -math.inf, math.nan], [math.inf, -math.inf, math.nan], 0.0),
        ([math.inf], [0.0], math.inf),
        ([math.nan], [0.0], math.nan),
        ([], [], 0.0),
        ([1.0], [1.0, 2.0], math.inf),
    ],
)
def test_the_largest_difference(first, second, expected):
    found = samples.largest_difference({"a": [torch.tensor(first)]}, {"a": [torch.tensor(second)]})
    assert found == expected or (math.isnan(found) and math.isnan(expected))


@dataclass(slots=True)
class Output:
    """What a model may return."""

    y: torch.Tensor


def test_the_difference_of_other_outputs():
    first, second = torch.tensor([1 + 1j]), torch.tensor([1 + 3j])
    assert samples.largest_difference(first, second.conj()) == 4
    assert samples.largest_difference(Output(first.real), [Output(second.imag)]) == 2


def test_outputs_without_numbers_have_no_difference():
    assert samples.largest_difference(torch.tensor(3), {"text": "a"}) is None


class Random(Model):
    """Draws in evaluation mode too, as a sampler does."""

    def forward(self, x):
        return super().forward(x) + torch.randn_like(x)


def test_what_a_model_draws_at_random_is_no_difference_and_the_generator_stays():
    model, before = Random(), torch.get_rng_state()
    assert convert(model, {"relu": nn.ReLU()}, sample=x()).conversion.difference == 0
    assert torch.equal(torch.get_rng_state(), before)


class Keeping(Model):
    """Keeps what it computed last, as the older weight_norm does."""

    def forward(self, x):
        self.last = super().forward(x)
        return self.last


@pytest.mark.parametrize("inplace", [False, True])
def test_a_model_that_keeps_what_autograd_computed_is_copied(inplace):
    model = Keeping()
    model(x())
    converted = convert(model, {"relu": Softplus()}, sample=x(), inplace=inplace)
    assert 0 < converted.conversion.difference < 1
    harden(converted, x())
