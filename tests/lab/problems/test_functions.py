"""Functions in memory as a task, `softplus.lab.task`: in any process, and what is refused."""

import pytest
import torch
from torch import nn

from softplus import lab

FAST = {"seeds": 2, "learning_rates": [1e-2], "show_progress": False}


@pytest.fixture
def task():
    """Return a task of functions that no other process can import, with an option."""
    inputs = torch.randn(60, 2)

    def model():
        return nn.Sequential(nn.Linear(2, 8), nn.ReLU(), nn.Linear(8, 1))

    def loss(outputs, targets):
        return (outputs.squeeze(-1) - targets).abs().mean()

    return lab.task(model, (inputs, inputs.prod(dim=1)), loss=loss, epochs=1)


def test_functions_train_in_other_processes(task):
    study = lab.compare(task, jobs=2, **FAST)
    assert study.results.problem.metric.name == "loss"
    assert [row[:2] for row in study.to_frame().select("arm", "seed").rows()] == [
        ("relu", 0),
        ("relu", 1),
        ("softplus", 0),
        ("softplus", 1),
    ]


def test_data_may_be_a_function_too(task):
    data = task.members["data"]
    again = lab.task(task.members["model"], data, epochs=1)
    assert lab.compare(again, jobs=1, **FAST).results.settings.problem.rows == 60


def test_finished_trials_are_not_taken_for_those_of_functions_that_may_have_changed(task, tmp_path):
    first, second = (lab.compare(task, jobs=1, out=tmp_path, **FAST).to_frame() for _ in range(2))
    assert first["test"].equals(second["test"])
    assert not first["seconds"].equals(second["seconds"])


def test_a_model_that_is_no_function_is_refused():
    with pytest.raises(lab.UsageError, match=r"model must be a function .* got Linear"):
        lab.task(nn.Linear(1, 1), (torch.zeros(1), torch.zeros(1)))


def test_an_unknown_option_is_refused(task):
    with pytest.raises(lab.UsageError, match=r"unknown option 'epoch'; did you mean epochs\?"):
        lab.task(task.members["model"], task.members["data"], epoch=3)


def test_what_cannot_be_pickled_is_refused(task, tmp_path):
    with (tmp_path / "log").open("w") as log:
        model = task.members["model"]
        bad = lab.task(lambda: print(file=log) or model(), task.members["data"])
        with pytest.raises(lab.UsageError, match=r"pickling what softplus\.lab\.task was given"):
            lab.compare(bad, jobs=1, **FAST)
