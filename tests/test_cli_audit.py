"""`softplus audit`: a task file, a checkpoint, an unchanged script, bad input."""

import json
import sys

import pytest

from softplus import cli

TASK = """
import torch
from torch import nn

def model():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 10), nn.ReLU(), nn.Linear(10, 2))
    with torch.no_grad():
        net[0].bias[:3] = -50.0
        net[0].bias[3:] = 50.0
    return net

def data():
    return torch.randn(40, 4), torch.zeros(40, dtype=torch.long)
"""

SCRIPT = """
import sys
import torch
from task import data, model

net, (x, y) = model(), data()
optimizer = torch.optim.SGD(net.parameters(), lr=0.0)
for _ in range(3):
    torch.nn.functional.cross_entropy(net(x), y).backward()
    optimizer.step()
    if "--evaluate" in sys.argv:
        with torch.no_grad():
            for part in x.split(10):
                net(part)
print("trained", sys.argv[1:])
sys.exit(3 if "--fail" in sys.argv else 0)
"""


@pytest.fixture
def audit(tmp_path, monkeypatch, capfd):
    (tmp_path / "task.py").write_text(TASK)
    (tmp_path / "train.py").write_text(SCRIPT)
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["softplus", "audit", *arguments])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        return ended.value.code, *capfd.readouterr()

    return run


def test_a_task_file(audit, tmp_path):
    code, out, err = audit("task.py", "--json", "found.json", "--batch-size", "16")
    assert (code, err) == (0, "")
    assert "Sequential: 3 batches" in out
    assert "3 dead units" in out
    (found,) = json.loads((tmp_path / "found.json").read_text())
    assert found["calls"][0]["dead"] == [0, 1, 2]
    assert found["calls"][0]["always_on"] == list(range(3, 10))
    assert found["advice"][0]["code"] in out


@pytest.mark.parametrize(
    ("option", "seen"),
    [("--evaluate", "4 batches of the last evaluation"), ("--train", "the last 3 batches of the")],
)
def test_a_script_as_it_is(audit, option, seen):
    code, out, err = audit("--", "python", "train.py", option)
    assert (code, err) == (0, "")
    assert out.startswith(f"trained ['{option}']")
    assert seen in out
    assert "3 dead units" in out


def test_a_script_that_fails_is_audited_and_its_code_kept(audit):
    code, out, _ = audit("--", "python", "train.py", "--evaluate", "--fail")
    assert code == 3
    assert "3 dead units" in out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "audit needs a task file, or a training command after --"),
        (["task.py", "--", "python", "train.py"], "audit needs a task file, or a training"),
        (["missing.py"], "missing.py cannot be read: No such file or directory"),
        (["task.py", "--checkpoint", "task.py"], "--checkpoint task.py is no file of weights"),
        (["--checkpoint", "x.pt", "--", "python", "train.py"], "--checkpoint is for a task file"),
        (["task.py", "--batch-size", "0"], "--batch-size must be at least 1, got 0"),
        (["task.py", "--json", "no/such/folder.json"], "--json no/such/folder.json cannot be"),
        (["--", "python", "-c", "pass"], "nothing was audited"),
        (["--", "no-such-program"], "there is no program no-such-program on the PATH"),
    ],
)
def test_bad_input_is_one_line(audit, arguments, said):
    code, _, err = audit(*arguments)
    assert code == 2
    assert err.startswith(f"softplus: {said}")
    assert err.count("\n") == 1
