"""A training script as a problem: its score, its failures, its files, and what is refused."""

import math
import os
import sys
import time
from pathlib import Path

import pytest

from softplus.lab.errors import UsageError
from softplus.lab.problems import script
from softplus.lab.trials import Outcome, Trial

TRIAL = Trial("relu", None, 3, measured=True)


@pytest.fixture
def train(tmp_path, monkeypatch):
    """Return a function that writes train.py and loads it as a problem, in a folder of its own.

    Of torch the script gets an empty twin, with which the arm relu runs in a tenth of a second.
    """
    monkeypatch.chdir(tmp_path)
    Path("torch.py").write_text("def manual_seed(seed): pass\n")

    def load(source, *words, metric="acc=([0-9.]+)", torch=True, **options):
        Path("train.py").write_text("import torch\n" * torch + source)
        return script.script(
            ["train.py", *words], metric=metric, out=tmp_path / "report", **options
        )

    return load


def run(problem, trial=TRIAL):
    (outcome,) = problem.run([trial])
    return outcome


# The score


def test_the_last_match_is_the_score_on_stdout_or_stderr(train):
    problem = train(
        "import sys\nprint('acc=0.5')\nsys.stdout.flush()\nprint('acc=0.75.', file=sys.stderr)"
    )
    outcome = run(problem)
    assert (outcome.validation, outcome.test, outcome.failure) == (0.75, 0.75, None)
    assert 0 < outcome.seconds < 60
    assert (problem.logs / "relu-seed3.log").read_text() == "acc=0.5\nacc=0.75.\n"


@pytest.mark.parametrize(
    ("printed", "metric"),
    [
        (b"\xff\xfe" + "précision=0.25\n".encode("utf-16-le"), "précision=([0-9.]+)"),
        ("précision=0.25 ±1".encode("latin-1"), "précision=([0-9.]+)"),
        ("精度=0.25".encode(), "精度=([0-9.]+)"),
        (b"acc=0.1\racc=0.2\racc=0.25\r", "^acc=([0-9.]+)$"),
        (b"\x1b[1macc\x1b[0m=\x1b[32m0.25\x1b[0m", "acc=([0-9.]+)"),
        (b"loss 1, acc 2.5e-1", r"loss (?:\S+), acc (\S+)"),
        (b"best: 0.25", "acc=([0-9.]+)|best: ([0-9.]+)"),
    ],
)
def test_any_encoding_progress_bar_and_colour_is_read(train, printed, metric):
    source = f"import sys; sys.stdout.buffer.write({printed!r})"
    assert run(train(source, metric=metric)).test == 0.25


def test_the_script_records_its_score(train):
    # Softplus needs the real torch: what `record` writes stands for it.
    write = (
        "import os, json\n"
        "def record(**values):\n"
        "    with open(os.environ['SOFTPLUS_TRIAL'] + '/records.jsonl', 'a') as file:\n"
        "        file.write(json.dumps(values) + chr(10))\n"
    )
    assert run(train(f"{write}record(acc=0.5); record(acc=0.75)", metric=None)).test == 0.75
    both = f"{write}record(acc=0.75, loss=0.5)"
    assert run(train(both, metric="loss")).test == 0.5
    with pytest.raises(UsageError, match=r"recorded no score \(recorded: acc, loss\)"):
        run(train(both, metric=None))
    with pytest.raises(UsageError, match=r"recorded no score named f1 \(recorded: acc, loss\)"):
        run(train(both, metric="f1"))


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("print('acc=nan')", "has a NaN or an infinity: it diverged"),
        ("print('acc=.')", "the score is nan: it diverged"),
    ],
)
def test_a_training_that_diverged_is_a_failure(train, source, reason):
    outcome = run(train(source))
    assert math.isnan(outcome.test)
    assert reason in outcome.failure


def test_a_pattern_that_never_matches_is_refused_with_what_was_printed(train):
    with pytest.raises(
        UsageError, match=r"'acc=\(\[0-9.\]\+\)' matches nothing.*ends with: 'f1=0.5'"
    ):
        run(train("print('f1=0.5')"))


# What the script gets


def test_rate_seed_and_name_are_filled_in(train):
    words = ["--lr", "{lr}", "--seed={seed}", "runs/{trial}", '{"a": {b}}']
    problem = train("import sys; print(sys.argv[1:], 'acc=1')", *words)
    assert problem.learning_rates == (3e-4, 1e-3, 3e-3, 1e-2, 3e-2)
    run(problem, Trial("relu", 3e-4, 5, measured=False))
    (log,) = problem.logs.iterdir()
    assert log.read_text().startswith(
        "['--lr', '0.0003', '--seed=5', 'runs/relu-lr0.0003-seed5', '{\"a\": {b}}']"
    )


def test_seed_threads_and_standard_input(train, monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    source = (
        "import os, random, sys\n"
        "print(random.random(), os.environ['SOFTPLUS_SEED'], os.environ['PYTHONHASHSEED'])\n"
        "print(os.environ['OMP_NUM_THREADS'], repr(sys.stdin.read()), 'acc=1')\n"
    )
    problem = train(source, threads=2)
    run(problem)
    text = (problem.logs / "relu-seed3.log").read_text()
    assert text == "0.23796462709189137 3 3\n2 '' acc=1\n"
    monkeypatch.setenv("OMP_NUM_THREADS", "5")  # the user's word goes
    assert train(source, threads=2).threads == 5


# Failures


def test_a_script_that_raises_shows_its_own_traceback(train, tmp_path):
    outcome = run(train("print('acc=1')\nraise KeyError('mine')"))
    assert math.isnan(outcome.test)
    assert outcome.failure.splitlines() == [
        "Traceback (most recent call last):",
        f'  File "{tmp_path}/train.py", line 3, in <module>',
        "    raise KeyError('mine')",
        "KeyError: 'mine'",
        f"train.py ended with exit code 1; its output is in {tmp_path}/report/logs/relu-seed3.log",
    ]


def test_a_script_that_is_killed_or_hangs_is_a_failure(train):
    assert "was ended by signal 9" in run(train("import os; os.kill(os.getpid(), 9)")).failure
    started = time.monotonic()
    outcome = run(train("import time; print('acc=1', flush=True); time.sleep(60)", timeout=0.5))
    assert "had not ended after 0.5 s (--timeout)" in outcome.failure
    assert time.monotonic() - started < 30


def test_nothing_replaced_is_refused(train):
    with pytest.raises(UsageError, match="no Python of this command imported torch"):
        run(train("print('acc=1')", torch=False))


@pytest.mark.parametrize(
    ("words", "options", "message"),
    [
        ([], {"metric": "acc=([0-9"}, "--metric is no regular expression"),
        ([], {"timeout": 0}, "--timeout must be a positive number"),
    ],
)
def test_what_cannot_be_asked_is_refused(train, words, options, message):
    with pytest.raises(UsageError, match=message):
        train("", *words, **options)


# What is said


def test_an_own_rate_is_said_to_favour_relu(train):
    problem = train("")
    assert problem.learning_rates == ()
    assert "most likely chosen for ReLU, which that may favour" in problem.notes[0]
    assert "chosen for ReLU" not in " ".join(train("", "{lr}").notes)


@pytest.mark.parametrize(
    ("metric", "name", "higher"),
    [
        ("val_acc=([0-9.]+)", "val_acc", True),
        (r"Validation loss:\s+(\S+)", "loss", False),
        ("eval_loss': ([0-9.]+)", "eval_loss", False),
        ("f1", "f1", True),
        (r"\[(\d+)\]", "score", True),
        (None, "score", True),
    ],
)
def test_the_metric_s_name_says_which_way_is_better(train, metric, name, higher):
    problem = train("", metric=metric)
    assert (problem.metric.name, problem.metric.higher_is_better) == (name, higher)
    assert any("lower is better" in note for note in problem.notes) == (not higher)
    turned = train("", metric=metric, lower_is_better=higher)
    assert turned.metric.higher_is_better != higher
    assert not any("lower is better" in note for note in turned.notes)


def test_a_script_with_a_seed_of_its_own_is_found_out(train):
    problem = train("")
    alike, spread = [Outcome(0.5, 0.5)] * 3, [Outcome(0.5, 0.5), Outcome(0.6, 0.6)]
    (remark,) = problem.remarks({"relu": alike, "softplus": spread})
    assert "all 3 seeds of relu gave the same score" in remark
    assert problem.remarks({"relu": alike[:1], "softplus": spread}) == ()


def test_files_that_several_trials_write_are_named(train):
    problem = train("open('best.pt', 'w').close()\nprint('acc=1')")
    outcomes = [run(problem, Trial("relu", None, seed, measured=True)) for seed in (0, 1)]
    assert [outcome.remarks for outcome in outcomes] == [("wrote best.pt",)] * 2
    assert "trials write the same files (best.pt)" in problem.remarks({"relu": outcomes})[-1]
    problem = train("import sys; open(sys.argv[1], 'w').close()\nprint('acc=1')", "{trial}.pt")
    outcomes = [run(problem, Trial("relu", None, seed, measured=True)) for seed in (0, 1)]
    assert "write the same" not in " ".join(problem.remarks({"relu": outcomes}))


def test_what_was_out_of_reach_is_said_once(train):
    outcome = Outcome(0.5, 0.5, remarks=("out of reach: 3 calls of quantized::linear_relu",))
    remarks = train("").remarks({"relu": [outcome], "softplus": [outcome]})
    assert remarks == ("out of reach: 3 calls of quantized::linear_relu, in one trial",)


# Identity


def test_a_change_of_code_command_or_metric_is_another_problem(train, tmp_path):
    first = train("print('acc=1')").identity
    assert train("print('acc=1')").identity == first
    assert train("print('acc=2')").identity != first
    assert train("print('acc=1')", "-x").identity != first
    assert train("print('acc=1')", metric="f1=(.)").identity != first
    (tmp_path / "model.py").write_text("depth = 3")
    with_model = train("print('acc=1')").identity
    assert with_model != first
    for folder in ("report", ".hidden", "environment"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "left.py").write_text("no part of it")
    (tmp_path / "environment" / "pyvenv.cfg").write_text("")
    assert train("print('acc=1')").identity == with_model
    (tmp_path / "data.csv").write_text("1")
    with_data = train("print('acc=1')", "--data=data.csv", "long" * 2000).identity
    (tmp_path / "data.csv").write_text("2")
    assert train("print('acc=1')", "--data=data.csv", "long" * 2000).identity != with_data


def test_arms_that_show_whether_anything_is_replaced_come_first(train):
    trials = [Trial(arm, None, 0, measured=True) for arm in ("relu", "softplus")]
    assert train("").batches(trials) == [[trials[1]], [trials[0]]]


def test_the_script_ends_with_a_lab_that_is_interrupted(train, monkeypatch):
    """As Ctrl-C does while a trial runs in the lab's own process."""
    problem = train("import os, time; print(os.getpid(), flush=True); time.sleep(60)")
    log = problem.logs / "relu-seed3.log"

    def interrupt(*_):
        while not log.read_text().strip():
            time.sleep(0.01)
        monkeypatch.undo()
        raise KeyboardInterrupt

    monkeypatch.setattr(script.subprocess.Popen, "wait", interrupt)
    with pytest.raises(KeyboardInterrupt):
        run(problem)
    with pytest.raises(ProcessLookupError):
        os.kill(int(log.read_text()), 0)


def test_an_unchanged_script_with_the_real_torch(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("train.py").write_text(
        "import sys, torch\nfrom softplus.lab import record\n"
        "record(float(torch.nn.functional.relu(torch.zeros(()))))\n"
    )
    problem = script.script([sys.executable, "train.py"], metric=None, out=tmp_path / "report")
    assert round(run(problem, Trial("softplus", None, 0, measured=True)).test, 4) == 0.6931
