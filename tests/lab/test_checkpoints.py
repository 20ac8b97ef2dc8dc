"""Weights from files: what training scripts save fits, and what does not is said in one line."""

import pickle

import pytest
import torch
from torch import nn

from softplus.lab import checkpoints
from softplus.lab.errors import UsageError


def network():
    return nn.Sequential(nn.Linear(3, 2), nn.ReLU(), nn.BatchNorm1d(2))


SAVED = network().state_dict()


@pytest.mark.parametrize(
    "saved",
    [
        SAVED,
        {"state_dict": {f"model.{name}": value for name, value in SAVED.items()}, "epoch": 3},
        {"model_state_dict": SAVED, "optimizer": {"lr": 0.1}},
        {"model": {f"module.{name}": value for name, value in SAVED.items()}},
        {f"_orig_mod.{name}": value for name, value in SAVED.items()},
    ],
    ids=["plain", "lightning", "script", "parallel", "compiled"],
)
def test_what_training_saves_is_loaded(saved, tmp_path):
    torch.save(saved, tmp_path / "weights.pt")
    model = network()
    checkpoints.load(model, tmp_path / "weights.pt")
    assert all(torch.equal(value, SAVED[name]) for name, value in model.state_dict().items())


class Arbitrary:
    """Unpickling it would run code."""

    def __reduce__(self):
        return print, ("code ran",)


@pytest.mark.parametrize(
    ("saved", "said"),
    [
        (nn.Linear(3, 2), "no file of weights alone"),
        ({"state_dict": Arbitrary()}, "no file of weights alone"),
        ({"epoch": 3}, "holds no state_dict: it is a dict with the keys epoch"),
        ([1, 2], "holds no state_dict: it is a list"),
        (nn.Linear(3, 2).state_dict(), r"7 weights of the model are missing \(0.weight, 0.bias, "),
        ({**SAVED, "head.weight": torch.zeros(1)}, r"1 weights are unknown to the model \(head"),
        (
            {**SAVED, "0.bias": torch.zeros(5)},
            r"1 weights have another shape \(0.bias: \(5,\) for \(2,\)\)",
        ),
    ],
)
def test_what_does_not_fit_is_refused(saved, said, tmp_path, capsys):
    torch.save(saved, tmp_path / "weights.pt")
    model = network()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(UsageError, match=said) as refused:
        checkpoints.load(model, tmp_path / "weights.pt")
    assert "\n" not in str(refused.value)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert capsys.readouterr().out == ""


def test_files_that_are_none(tmp_path):
    with pytest.raises(UsageError, match="cannot be read: No such file"):
        checkpoints.load(network(), tmp_path / "missing.pt")
    (tmp_path / "text.pt").write_text("no checkpoint")
    (tmp_path / "list.pt").write_bytes(pickle.dumps([1]))
    for name in ("text.pt", "list.pt"):
        with pytest.raises(UsageError, match="--checkpoint"):
            checkpoints.load(network(), tmp_path / name)
