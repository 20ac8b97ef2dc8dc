"""The tasks of `softplus.lab.tasks`: their splits, their heads and losses, and bad data."""

import math

import pytest
import torch

from softplus.lab import tasks
from softplus.lab.errors import UsageError


@pytest.mark.parametrize("name", tasks.NAMES)
def test_a_task_is_split_into_disjoint_parts_by_its_seed(name):
    task = tasks.load(name)
    parts = task.split(3)
    assert torch.cat(parts).sort().values.equal(torch.arange(len(task.inputs)))
    assert [len(part) for part in parts[1:]] == [len(task.inputs) // 5] * 2
    assert all(map(torch.equal, parts, task.split(3)))
    assert not torch.equal(parts[0], task.split(4)[0])


def test_inputs_are_standardised_on_the_training_rows_only():
    task = tasks.load("diabetes")
    train, _, test = task.split(0)
    inputs = task.prepared(train)
    assert torch.allclose(inputs[train].mean(dim=0), torch.zeros(10), atol=1e-5)
    assert torch.allclose(inputs[train].std(dim=0, correction=0), torch.ones(10), atol=1e-5)
    assert not torch.allclose(inputs[test].mean(dim=0), torch.zeros(10), atol=1e-3)


def test_the_diabetes_head_gives_a_positive_mean_and_scale_and_the_gaussian_likelihood():
    head = tasks.PositiveMeanAndScale(unit=100.0)
    outputs = head(torch.tensor([[-30.0, -30.0], [0.0, 1.0]]))
    assert (outputs > 0).all()
    targets = torch.tensor([80.0, 150.0])
    mean, scale = outputs.unbind(dim=1)
    expected = -torch.distributions.Normal(mean, scale).log_prob(targets).mean()
    assert tasks.gaussian_nll(outputs, targets) == pytest.approx(expected.item(), rel=1e-5)


def test_nan_in_data_is_refused_with_its_place():
    data = tasks.load("diabetes")
    inputs = data.inputs.clone()
    inputs[7, 2] = math.nan
    with pytest.raises(UsageError, match=r"1 of 442 rows.*inputs \(first: row 7\)"):
        tasks.Task(**{**vars(data), "inputs": inputs})
