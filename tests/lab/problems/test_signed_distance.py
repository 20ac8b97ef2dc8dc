"""The built-in sdf, `softplus.lab.problems.signed_distance`: exact targets, loss and metric."""

import math

import pytest
import torch
from torch import nn

from softplus.lab import problems
from softplus.lab.problems import signed_distance
from softplus.lab.trials import Trial


class Torus(nn.Module):
    """The exact signed distance."""

    def forward(self, x):
        ring = x[..., :2].norm(dim=-1) - signed_distance._RADIUS
        return (torch.stack([ring, x[..., 2]]).norm(dim=0) - signed_distance._TUBE).unsqueeze(-1)


def test_the_exact_distance_has_no_loss_and_no_error():
    problem = problems.load("sdf")
    train, validation, _ = problem.split(0)
    examples = problem.examples(train)
    losses = problem.losses(Torus(), *examples.batch(train[:64]))
    assert losses.shape == (64,)
    assert losses.max() < 1e-9
    assert problem.score(Torus(), examples, validation) < 0.1  # degrees, of acos near 1


def test_a_wrong_length_of_the_gradient_costs_and_a_wrong_direction_is_the_metric():
    problem = problems.load("sdf")
    rows = torch.arange(50)
    inputs, targets = problem.data.inputs[rows], problem.data.targets[rows]
    model = nn.Sequential(Torus(), nn.Identity())
    model[1].forward = lambda y: 2 * y
    expected = (targets[:, 0] / 0.2) ** 2 + 0.1
    assert torch.allclose(problem.losses(model, inputs, targets), expected, atol=1e-5)
    flat = nn.Linear(3, 1)
    with torch.no_grad():
        flat.weight.copy_(torch.tensor([[0.0, 0.0, 1.0]]))
    angles = torch.acos(targets[:, 3].clamp(-1, 1)) * 180 / math.pi
    found = problem.score(flat, problem.examples(rows), rows)
    assert found == pytest.approx(angles.mean().item(), rel=1e-4)


def test_losses_allow_models_side_by_side():
    problem = problems.load("sdf")
    inputs, targets = problem.data.inputs[:8], problem.data.targets[:8]
    stacked = problem.losses(Torus(), inputs.expand(3, 8, 3), targets.expand(3, 8, 4))
    assert stacked.shape == (3, 8)


def test_smooth_activations_find_the_normals_better_than_relu():
    problem = problems.load("sdf", epochs=12)
    assert problem.arms == "relu,softplus:beta=10"
    relu, smooth = (
        problem.run([Trial(arm, 3e-3, 0, measured=False)])[0].test
        for arm in problem.arms.split(",")
    )
    assert smooth < relu - 1
