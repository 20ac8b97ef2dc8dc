"""Unchanged training scripts of Lightning, transformers and torchrun, as trials of a comparison."""

import math
from pathlib import Path

import pytest

from softplus.lab.problems.script import script
from softplus.lab.trials import Trial

SCRIPTS = Path(__file__).with_name("scripts")
# Both import torchvision.
BESIDE_TORCHVISION = str(Path(__file__).with_name("torchvision_operators.py"))
TORCHRUN = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]


@pytest.mark.parametrize(
    ("command", "metric"),
    [
        ([BESIDE_TORCHVISION, str(SCRIPTS / "with_lightning.py")], "val_loss=([0-9.]+)"),
        (
            [BESIDE_TORCHVISION, str(SCRIPTS / "with_transformers.py"), "--seed={seed}"],
            "'eval_loss': '?([0-9.]+)",
        ),
        ([*TORCHRUN, str(SCRIPTS / "with_torchrun.py")], "loss=([0-9.]+)"),
    ],
    ids=["Lightning", "transformers", "torchrun"],
)
def test_a_script_of_a_library_is_swapped_and_seeded(tmp_path, monkeypatch, command, metric):
    monkeypatch.chdir(tmp_path)
    problem = script(command, metric=metric, threads=1)
    assert not problem.metric.higher_is_better
    scores = {}
    for arm, seed in (("softplus", 0), ("softplus", 1), ("relu", 0), ("relu", 0)):
        (outcome,) = problem.run([Trial(arm, None, seed, measured=True)])
        assert outcome.failure is None, outcome.failure
        assert math.isfinite(outcome.test)
        scores.setdefault((arm, seed), []).append(outcome.test)
    assert len({score for (score, *_) in scores.values()}) == 3  # arm and seed reach the script
    assert len(set(scores["relu", 0])) == 1  # and nothing else does
