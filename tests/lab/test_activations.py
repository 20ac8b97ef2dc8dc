"""The activations of `softplus.lab.activations`: what a spelling builds and what is refused."""

import pytest
import torch
from torch import nn

from softplus import ShiftedSoftplus, Softplus
from softplus.lab import activations
from softplus.lab.errors import UsageError

RELU, SOFTPLUS = activations.parse_list("relu,softplus")


@pytest.mark.parametrize(
    ("spelling", "module"),
    [
        ("relu", nn.ReLU()),
        ("softplus", Softplus()),
        ("softplus:beta=5", Softplus(5)),
        ("shifted_softplus:beta=0.5", ShiftedSoftplus(0.5)),
        ("gelu", nn.GELU()),
        ("silu", nn.SiLU()),
        ("elu:alpha=2", nn.ELU(2)),
        ("leaky_relu:slope=0.2", nn.LeakyReLU(0.2)),
    ],
)
def test_a_spelling_builds_its_module(spelling, module):
    activation = activations.parse(spelling)
    x = torch.linspace(-4, 4, 33)
    assert type(activation.build()) is type(module)
    assert torch.equal(activation.build()(x), module(x))
    assert activations.parse(activation.name) == activation


@pytest.mark.parametrize(
    ("spelling", "name"),
    [
        ("softplus:beta=1", "softplus"),
        ("softplus:beta=5.0", "softplus:beta=5"),
        ("softplus:beta=1.0000001", "softplus:beta=1.0000001"),
        ("leaky_relu:slope=0.01", "leaky_relu"),
    ],
)
def test_a_name_spells_exactly_what_differs_from_the_defaults(spelling, name):
    activation = activations.parse(spelling)
    assert activation.name == name
    assert activations.parse(name).parameters == activation.parameters


@pytest.mark.parametrize(
    ("spellings", "words"),
    [
        ("relu", "two or more"),
        ("", "two or more"),
        ("relu,softplus,relu", "names relu twice"),
        ("relu,softplus:beta=5,softplus:beta=5.0", "names softplus:beta=5 twice"),
    ],
)
def test_a_list_needs_two_different_activations(spellings, words):
    with pytest.raises(UsageError, match=words):
        activations.parse_list(spellings)


@pytest.mark.parametrize(
    ("spelling", "words"),
    [
        ("sofplus", ["did you mean softplus?", "leaky_relu"]),
        ("softplus:bta=1", ["did you mean beta?"]),
        ("softplus:beta=0", ["beta of softplus", "'0'"]),
        ("softplus:beta=-1", ["'-1'"]),
        ("softplus:beta=nan", ["'nan'"]),
        ("softplus:beta=", ["beta of softplus"]),
        ("softplus:beta=5:beta=7", ["beta of softplus", "twice"]),
        ("relu:beta=1", ["takes no parameter"]),
    ],
)
def test_a_wrong_spelling_is_told_what_is_right(spelling, words):
    with pytest.raises(UsageError) as error:
        activations.parse(spelling)
    assert all(word in str(error.value) for word in words)


def test_shapes_are_seen_by_autograd():
    assert RELU.shape() == "kink at 0 (slope jumps by 1), convex, monotone"
    assert SOFTPLUS.shape() == "smooth, convex, monotone"
    assert activations.parse("gelu").shape() == "smooth, not convex, not monotone"
    assert activations.parse("elu:alpha=2").shape().startswith("kink at 0 (slope jumps by -1)")
