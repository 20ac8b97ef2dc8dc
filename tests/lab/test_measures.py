"""What `softplus.lab.measures` measures, on layers whose values are known by hand."""

import math

import pytest
import torch
from torch import nn

from softplus.lab import activations, measures

RELU, SOFTPLUS = activations.parse_list("relu,softplus")


def hand_made(activation):
    """Return measures of one layer of three units on four examples: values known by hand."""
    model = nn.Sequential(nn.Linear(3, 3, bias=False), activation.build(), nn.Linear(3, 1))
    model.append(nn.Identity())
    with torch.no_grad():
        model[0].weight.copy_(torch.eye(3))
    inputs = torch.tensor(
        [[-20.0, 1.0, -1.0], [-15.0, 2.0, -2.0], [-12.0, 3.0, 4.0], [-9.0, 6.0, 1.0]]
    )
    return measures.measure(model, inputs)


def test_the_measures_of_a_relu_layer_known_by_hand():
    found = hand_made(RELU)
    assert found.dead == pytest.approx(1 / 3)
    assert found.dormant == pytest.approx(1 / 3)
    assert found.sparsity == pytest.approx(6 / 12)
    assert found.share_negative == pytest.approx(6 / 12)
    assert found.output_negative == 0.0
    assert found.recovered_negative == 0.0
    assert found.output_positive == pytest.approx((1 + 2 + 3 + 6 + 4 + 1) / 6)
    assert found.recovered_positive == pytest.approx(1.0)
    assert found.smallest_gradient == 0.0
    assert found.underflow == pytest.approx(6 / 12)
    assert sum(found.histogram) == pytest.approx(1.0)


def test_the_measures_of_a_softplus_layer_known_by_hand():
    found = hand_made(SOFTPLUS)
    # sigmoid(-9) = 1.2e-4 is the largest derivative of the first unit: dead by the rule.
    assert found.dead == pytest.approx(1 / 3)
    assert found.sparsity == 0.0
    assert found.underflow == 0.0
    assert found.smallest_gradient == pytest.approx(1 / (1 + math.exp(20)), rel=1e-5)
    negative = torch.tensor([-20.0, -15.0, -12.0, -9.0, -1.0, -2.0], dtype=torch.float64)
    outputs = torch.log1p(negative.exp())
    assert found.output_negative == pytest.approx(outputs.mean().item(), rel=1e-5)
    expected = torch.corrcoef(torch.stack([negative, outputs]))[0, 1] ** 2
    assert found.recovered_negative == pytest.approx(expected.item(), rel=1e-5)


def test_the_measures_of_every_layer_are_told_apart():
    model = nn.Sequential(nn.Linear(2, 2, bias=False), RELU.build(), nn.Linear(2, 4), RELU.build())
    with torch.no_grad():
        model[0].weight.copy_(torch.eye(2))
        model[2].weight.fill_(1.0)
        model[2].bias.copy_(torch.tensor([0.0, 0.0, 0.0, -10.0]))
    found = measures.measure(model, torch.tensor([[1.0, -1.0], [2.0, -2.0]]))
    first, second = found.layers
    assert (first.units, first.dead, first.dormant, first.sparsity) == (2, 0.5, 0.5, 0.5)
    assert (second.units, second.dead, second.sparsity) == (4, 0.25, 0.25)
    assert found.dead == pytest.approx(2 / 6)
    assert found.sparsity == pytest.approx(4 / 12)


def test_channels_are_the_units_of_a_convolution():
    model = nn.Sequential(nn.Conv2d(1, 2, 1, bias=False), RELU.build())
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([1.0, -1.0]).reshape(2, 1, 1, 1))
    (layer,) = measures.measure(model, torch.rand(3, 1, 4, 4) + 0.1).layers
    assert (layer.units, layer.dead, layer.sparsity) == (2, 0.5, 0.5)


def test_a_model_without_a_site_of_the_arm_has_no_measures():
    assert measures.measure(nn.Sequential(nn.Linear(2, 2), nn.ReLU()), torch.zeros(1, 2)) is None


def test_the_update_path_gives_cosines_and_norms_known_by_hand():
    path = measures.UpdatePath(first_layer=2)
    for gradient in ([1.0, 0.0, 0.0], [1.0, 1.0, 0.0], [-3.0, -3.0, 0.0]):
        path.follow(torch.tensor([[5.0, 5.0, 5.0], gradient]))
    smoothness, norm = path.summary(row=1, steps=3)
    assert smoothness == pytest.approx((math.sqrt(0.5) - 1) / 2)
    assert norm == pytest.approx(math.sqrt(2))
    smoothness, norm = path.summary(row=1, steps=2)
    assert smoothness == pytest.approx(math.sqrt(0.5))
    assert norm == pytest.approx((1 + math.sqrt(2)) / 2)
