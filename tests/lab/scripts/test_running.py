"""`softplus run`: the script as it is without us, what is said of it, and what is refused."""

import os
import signal
import subprocess
import sys
import time

import pytest

from softplus import cli
from softplus.lab import activations
from softplus.lab.errors import UsageError
from softplus.lab.scripts import running

SCRIPT = """
import os, sys
import torch
print(__name__, __file__, sys.argv, os.getcwd(), sys.stdin.read(), torch.relu(torch.zeros(1)))
raise SystemExit(7)
"""


@pytest.fixture
def run(capfd):
    """Return a function that runs a command here, and returns the run, its output and errors."""

    def run_command(*command, activation="softplus:beta=5", seed=None):
        done = running.run(command, activations.parse(activation), seed)
        return done, *capfd.readouterr()

    return run_command


def test_a_script_sees_what_it_sees_without_us(tmp_path):
    script = tmp_path / "train.py"
    script.write_text(SCRIPT)

    def output(*command):
        ran = subprocess.run(
            [*command, "train.py", "--seed", "5", "-x"],
            cwd=tmp_path,
            input="typed",
            capture_output=True,
            text=True,
            check=False,
        )
        return ran.returncode, ran.stdout, ran.stderr

    code, printed, said = output(sys.executable, "-m", "softplus.cli", "run", "--seed", "3")
    assert (code, printed.replace("0.6931", "0.")) == output(sys.executable)[:2]
    assert "tensor([0.6931])" in printed
    assert said == "softplus run: ReLU computed softplus in 1 call\n"


def test_a_traceback_is_the_script_s_own(tmp_path, run):
    script = tmp_path / "train.py"
    script.write_text(
        "import torch; from softplus.lab import record; record(0.5); record(loss=2)\n"
        "torch.relu(torch.zeros(1))\nraise ValueError('mine')\n"
    )
    done, printed, said = run(str(script))
    assert (done.code, printed) == (1, "")
    assert said == (
        "Traceback (most recent call last):\n"
        f'  File "{script}", line 3, in <module>\n'
        "    raise ValueError('mine')\nValueError: mine\n"
    )
    assert done.summary == (
        "ReLU computed softplus:beta=5 in 1 call; recorded score=0.5; recorded loss=2"
    )
    assert done.fault is None


def test_modules_and_programs_run_too(tmp_path, run, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "train.py").write_text("import torch, sys; print(torch.zeros(1).relu(), sys.argv)")
    for command in (["-m", "train", "-x"], ["python", "train.py", "-x"]):
        done, printed, _ = run(*command)
        assert printed.startswith("tensor([0.1386])")
        assert "'-x'" in printed
        assert done.fault is None


def test_nothing_replaced_is_an_error_that_says_so(tmp_path, monkeypatch, capfd):
    script = tmp_path / "train.py"
    script.write_text("import torch; torch.zeros(1).clamp(min=0)")
    monkeypatch.setattr(sys, "argv", ["softplus", "run", str(script)])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    assert stop.value.code == 2
    assert "nothing was replaced: the script computed no ReLU" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ([], "a command is missing"),
        (["trian.py"], "there is no script trian.py in "),
        (["-m"], "-m needs the name of a module"),
        (["-x", "train.py"], "-x is no option of `softplus run`"),
        (["no-such-program"], "there is no program no-such-program"),
    ],
)
def test_a_command_that_cannot_run_is_refused(run, command, message):
    with pytest.raises(UsageError, match=message):
        run(*command)


@pytest.mark.parametrize("name", ["annealed_softplus", "softplus:init=he"])
def test_an_arm_that_needs_more_than_a_function_is_refused(run, name):
    with pytest.raises(UsageError, match=f"{name} cannot take ReLU's place in a script"):
        run("python", "-c", "", activation=name)


def test_a_seed_that_numpy_would_refuse_is_refused(run):
    with pytest.raises(UsageError, match="from 0 to 2\\^32 - 1"):
        run("python", "-c", "", seed=2**32)


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_script_and_the_run(tmp_path, signum):
    script = tmp_path / "train.py"
    script.write_text(
        "import os, sys, time\nprint(os.getpid(), flush=True)\n"
        "try:\n    time.sleep(60)\n"
        "except KeyboardInterrupt:\n    print('saved', flush=True); raise\n"
    )
    run = subprocess.Popen(
        [sys.executable, "-m", "softplus.cli", "run", str(script)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    script_process = int(run.stdout.readline())
    time.sleep(0.2)
    run.send_signal(signum)
    printed, _ = run.communicate()
    assert run.returncode == -signum
    assert printed == ("saved\n" if signum == signal.SIGINT else "")
    with pytest.raises(ProcessLookupError):
        os.kill(script_process, 0)
