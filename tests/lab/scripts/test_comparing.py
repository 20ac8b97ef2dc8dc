"""`softplus compare -- COMMAND`: an unchanged script compared, stopped, gone on with, refused."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from softplus import cli
from softplus.lab.problems.script import script
from softplus.lab.trials import Trial

PLAIN = str(Path(__file__).with_name("plain.py"))
PATTERN = "val_acc=([0-9.]+)"


def command(*options, words=("python", PLAIN, "--epochs", "1")):
    """Return the command line of a comparison in the present folder."""
    return [
        *(sys.executable, "-m", "softplus.cli", "compare"),
        *("--out", "report", "--metric", PATTERN, *options, "--", *words),
    ]


def compare(folder, *options, **words):
    """Run a comparison in a process of its own."""
    return subprocess.run(
        command(*options, **words),
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "COLUMNS": "200"},
    )


def running(words):
    """Return the processes of which the command line has these words."""
    found = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if words in file.read_bytes().replace(b"\0", b" ").decode(errors="replace"):
                found.append(int(file.parent.name))
        except OSError:
            continue
    return found


def test_one_trial_of_an_unchanged_script(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    problem = script(["python", PLAIN, "--epochs", "1"], metric=PATTERN)
    (outcome,) = problem.run([Trial("softplus:beta=5", None, 1, measured=True)])
    assert outcome.failure is None
    assert 0.1 < outcome.test < 1
    assert outcome.remarks == ()


@pytest.mark.slow
def test_an_unchanged_script_is_compared_and_reported(tmp_path):
    ran = compare(tmp_path, "--seeds", "3")
    assert ran.returncode == 0, ran.stderr
    assert "most likely chosen for ReLU" in ran.stdout
    results = json.loads((tmp_path / "report" / "results.json").read_text())
    assert results["problem"]["metric"] == "val_acc"
    for arm in results["arms"]:
        scores = [trial["test"] for trial in arm["trials"]]
        assert len(set(scores)) == 3
        for seed, score in enumerate(scores):
            log = tmp_path / "report" / "logs" / f"{arm['name']}-seed{seed}.log"
            assert float(re.search(PATTERN, log.read_text()).group(1)) == score
    assert {"report.html", "report.md"} <= {file.name for file in (tmp_path / "report").iterdir()}
    logs = {file: file.stat().st_mtime for file in (tmp_path / "report" / "logs").iterdir()}
    assert compare(tmp_path, "--seeds", "3").returncode == 0
    assert {file: file.stat().st_mtime for file in logs} == logs  # nothing ran again


@pytest.mark.slow
def test_learning_rates_are_chosen_for_each_arm(tmp_path):
    words = ("python", PLAIN, "--epochs", "1", "--lr", "{lr}")
    ran = compare(tmp_path, "--seeds", "2", "--lr", "1e-5,1e-2", words=words)
    assert ran.returncode == 0, ran.stderr
    assert "most likely chosen for ReLU" not in ran.stdout
    results = json.loads((tmp_path / "report" / "results.json").read_text())
    assert [arm["learning_rate"] for arm in results["arms"]] == [1e-2, 1e-2]
    assert len(list((tmp_path / "report" / "logs").iterdir())) == 2 * (2 * 3 + 2)


@pytest.mark.slow
@pytest.mark.parametrize("signum", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("jobs", ["1", "2"])
def test_stopped_in_the_middle_it_leaves_nothing_running_and_goes_on(tmp_path, signum, jobs):
    (tmp_path / "mine.py").write_text(
        "import torch, time\nprint(f'val_acc={torch.rand(1).relu().item()}')\ntime.sleep(0.5)\n"
    )
    words = ("python", str(tmp_path / "mine.py"))
    options = ("--seeds", "3", "--jobs", jobs)
    first = subprocess.Popen(command(*options, words=words), cwd=tmp_path)
    logs = tmp_path / "report" / "logs"
    while len(list(logs.glob("*.log"))) < 3:
        assert first.poll() is None
        time.sleep(0.05)
    first.send_signal(signum)
    assert first.wait() in {-signum, 128 + signum}
    deadline = time.monotonic() + 10
    while running(str(tmp_path / "mine.py")):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    before = {file.name: file.stat().st_mtime for file in logs.iterdir()}
    ran = compare(tmp_path, *options, words=words)
    assert ran.returncode == 0, ran.stderr
    kept = [name for name, time in before.items() if (logs / name).stat().st_mtime == time]
    assert len(kept) >= 1
    assert len(list(logs.iterdir())) == 6


@pytest.mark.slow
def test_a_script_that_raises_shows_its_own_traceback(tmp_path):
    (tmp_path / "mine.py").write_text("import torch\nraise ValueError('mine')\n")
    ran = compare(tmp_path, words=("mine.py",))
    assert ran.returncode == 2
    words = " ".join(ran.stderr.split())
    assert "mine.py\", line 2, in <module> raise ValueError('mine') ValueError: mine" in words
    assert "mine.py ended with exit code 1" in words


@pytest.mark.slow
def test_what_no_trial_can_mend_is_refused_at_the_first(tmp_path):
    (tmp_path / "mine.py").write_text("import torch\nprint(torch.zeros(1).clamp(min=0))\n")
    ran = compare(tmp_path, words=("mine.py",))
    assert (ran.returncode, "nothing was replaced" in ran.stderr) == (2, True)
    (tmp_path / "mine.py").write_text("import torch\nprint(torch.zeros(1).relu())\n")
    ran = compare(tmp_path, words=("mine.py",))
    assert (ran.returncode, "matches nothing" in ran.stderr) == (2, True)
    assert len(list((tmp_path / "report" / "logs").iterdir())) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["digits", "--", "train.py"], "a task cannot be given with a training command after --"),
        (["--epochs", "3", "--", "python", "x"], "--epochs cannot be given with a training"),
        (["digits", "--metric", "acc=(.)"], "--metric is for a training command after --"),
        (["--lr", "0.1", "--", "python", "x"], "write {lr} where the rate goes"),
        (["--"], "a command is missing"),
        (["--", "trian.py"], "there is no script trian.py"),
    ],
)
def test_options_that_have_no_meaning_are_refused(monkeypatch, capsys, arguments, message):
    monkeypatch.setattr(sys, "argv", ["softplus", "compare", *arguments])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    assert stop.value.code == 2
    assert message in " ".join(capsys.readouterr().err.split())
