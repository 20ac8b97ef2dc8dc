"""The networks of `softplus.lab.problems.networks`: splits, last layers, losses, and bad data."""

import math

import pytest
import torch

from softplus.lab import problems
from softplus.lab.errors import UsageError
from softplus.lab.problems import networks, scores


@pytest.mark.parametrize("name", ["digits", "diabetes"])
def test_a_task_is_split_into_disjoint_parts_by_its_seed(name):
    problem = problems.load(name)
    count = problem.rows
    parts = problem.split(3)
    assert torch.cat(parts).sort().values.equal(torch.arange(count))
    assert [len(part) for part in parts[1:]] == [count // 5] * 2
    assert [len(part) for part in parts] == list(problem.parts.values())
    assert problem.test_ratio == pytest.approx(len(parts.test) / len(parts.train))
    assert all(map(torch.equal, parts, problem.split(3)))
    assert not torch.equal(parts[0], problem.split(4)[0])


def test_inputs_are_standardised_on_the_training_rows_only():
    problem = problems.load("diabetes")
    train, _, test = problem.split(0)
    inputs = problem.examples(train).inputs
    assert torch.allclose(inputs[train].mean(dim=0), torch.zeros(10), atol=1e-5)
    assert torch.allclose(inputs[train].std(dim=0, correction=0), torch.ones(10), atol=1e-5)
    assert not torch.allclose(inputs[test].mean(dim=0), torch.zeros(10), atol=1e-3)


def test_the_diabetes_head_gives_a_positive_mean_and_scale_and_the_gaussian_likelihood():
    head = networks.PositiveMeanAndScale(unit=100.0)
    outputs = head(torch.tensor([[-30.0, -30.0], [0.0, 1.0]]))
    assert (outputs > 0).all()
    targets = torch.tensor([80.0, 150.0])
    mean, scale = outputs.unbind(dim=1)
    expected = -torch.distributions.Normal(mean, scale).log_prob(targets)
    assert torch.allclose(scores.gaussian_nll(outputs, targets), expected)
    stacked = scores.gaussian_nll(outputs.expand(3, 2, 2), targets.expand(3, 2))
    assert torch.allclose(stacked, expected.expand(3, 2))


def test_nan_in_data_is_refused_with_its_place():
    data = problems.load("diabetes").data
    inputs = data.inputs.clone()
    inputs[7, 2] = math.nan
    with pytest.raises(UsageError, match=r"1 of 442 rows.*inputs \(first: row 7\)"):
        networks.Data(**{**vars(data), "inputs": inputs})
