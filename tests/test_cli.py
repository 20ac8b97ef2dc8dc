"""The command line as a user runs it: what it prints, writes, refuses, and how it stops."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest
import torch

from softplus import cli
from softplus.lab import activations, problems
from softplus.lab.problems import networks

SMALL = ["--width", "8", "--epochs", "1", "--seeds", "2", "--lr", "1e-2", "--jobs", "1"]


def softplus(*arguments, cwd=None):
    """Run the command line in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "softplus.cli", *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=cwd,
        check=False,
        env={**os.environ, "COLUMNS": "120"},
    )


@pytest.fixture
def refused(monkeypatch, capsys):
    """Return a function that runs the command line here and returns what it refused with."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["softplus", *arguments])
        with pytest.raises(SystemExit) as stop:
            cli.main()
        assert stop.value.code == 2
        printed, message = capsys.readouterr()
        assert printed == ""  # bad input is refused before anything is printed
        return message

    return run


def test_table_computes_the_values_of_every_textbook():
    result = softplus("table")
    assert result.returncode == 0
    rows = [
        [cell.strip() for cell in line.strip("│").split("│")]
        for line in result.stdout.splitlines()
        if line.startswith("│")
    ]
    values = {row[0]: row[1:4] for row in rows if len(row) == 6}
    assert values == {
        "-2": ["0.1269", "0.1192", "0.1050"],
        "-1": ["0.3133", "0.2689", "0.1966"],
        "0": ["0.6931", "0.5000", "0.2500"],
        "1": ["1.3133", "0.7311", "0.1966"],
        "2": ["2.1269", "0.8808", "0.1050"],
        "5": ["5.0067", "0.9933", "0.0066"],
    }
    words = " ".join(result.stdout.split())
    assert "0, derivative 0, second 0" in words
    assert "inf, derivative 1, second 0" in words
    assert "2.06e-09" in words


@pytest.mark.parametrize("suffix", ["svg", "png", "pdf"])
def test_table_draws(tmp_path, suffix):
    path = tmp_path / f"functions.{suffix}"
    assert softplus("table", "--plot", path).returncode == 0
    head = path.read_bytes()[:200]
    assert {"svg": b"<?xml", "png": b"\x89PNG", "pdf": b"%PDF"}[suffix] in head


def test_compare_prints_the_table_and_the_verdict_and_writes_the_files(tmp_path):
    result = softplus("compare", "digits", *SMALL, "--plot", "verdict.svg", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "arm minus relu (points)" in (tmp_path / "verdict.svg").read_text()
    assert "wrote verdict.svg" in result.stdout
    assert "Dead units" in result.stdout
    assert "softplus against relu: " in result.stdout
    assert "On these 1,797 rows" in " ".join(result.stdout.split())
    out = tmp_path / "softplus-report"
    assert {path.name for path in out.iterdir()} == {
        "report.html",
        "report.md",
        "results.json",
        "study.sqlite",
    }
    results = json.loads((out / "results.json").read_text())
    assert results["problem"]["identity"]["depth"] == 3
    assert [arm["name"] for arm in results["arms"]] == ["relu", "softplus"]


def test_compare_takes_every_activation_on_the_positive_target(tmp_path):
    every = "relu,softplus,softplus:beta=5,shifted_softplus,gelu,silu,elu,leaky_relu"
    result = softplus("compare", "diabetes", *SMALL, "--activations", every, "--out", tmp_path)
    assert result.returncode == 0, result.stderr
    results = json.loads((tmp_path / "results.json").read_text())
    assert ",".join(arm["name"] for arm in results["arms"]) == every
    assert len(results["verdicts"]) == 7


def test_compare_says_what_it_found_in_a_table_and_how_long_it_will_take(tmp_path):
    rows = "".join(f"{n},{n % 7 / 7},{'high' if n % 7 > 3 else 'low'}\n" for n in range(100))
    (tmp_path / "people.csv").write_text(f"id,height,class\n{rows}")
    result = softplus("compare", "people.csv", "--target", "class", *SMALL, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "On these 100 rows" in result.stdout
    for words in (
        "people.csv: 100 rows, class from 1 columns",
        "target class: 2 classes",
        "id (a name of the rows)",
        "4 trainings, at most about ",
    ):
        assert words in result.stderr
    results = json.loads((tmp_path / "softplus-report" / "results.json").read_text())
    assert results["problem"]["identity"]["target"] == "class"


def test_compare_takes_a_task_file_and_shows_the_traceback_of_what_it_raises(tmp_path):
    task = tmp_path / "task.py"
    task.write_text(
        "import torch\nfrom torch import nn\n"
        "def model(): return nn.Sequential(nn.Linear(2, 4), nn.ReLU(), nn.Linear(4, 1))\n"
        "def data(): return torch.randn(60, 2), torch.randn(60)\n"
    )
    small = ["--seeds", "2", "--lr", "1e-2", "--jobs", "2", "--epochs", "1"]
    result = softplus("compare", task, *small, "--init", "he", "--out", tmp_path / "out")
    assert result.returncode == 0, result.stderr
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert [arm["name"] for arm in results["arms"]] == ["relu:init=he", "softplus:init=he"]

    task.write_text(task.read_text() + "def loss(outputs, targets): return outputs @ outputs\n")
    result = softplus("compare", task, *small, "--out", tmp_path / "out")
    assert result.returncode == 2
    lines = result.stderr.strip().splitlines()
    assert "return outputs @ outputs" in result.stderr
    assert lines[-1].startswith("softplus: training task.py raised RuntimeError")
    assert "softplus/lab/training" not in result.stderr


def test_bench_prints_ratios_and_writes_the_times_and_the_plot(monkeypatch, capsys, tmp_path):
    arguments = ["--quick", "--dtype", "float32,float16", "--size", "64,65536", "--threads", "1"]
    files = ["--json", str(tmp_path / "bench.json"), "--plot", str(tmp_path / "bench.svg")]
    monkeypatch.setattr(sys, "argv", ["softplus", "bench", *arguments, *files])
    monkeypatch.setenv("COLUMNS", "100")
    threads = torch.get_num_threads()
    with pytest.raises(SystemExit) as stop:
        cli.main()
    assert stop.value.code == 0
    assert torch.get_num_threads() == threads
    printed = capsys.readouterr().out
    assert "times faster" in printed
    assert "not compiled: --quick" in printed
    results = json.loads((tmp_path / "bench.json").read_text())
    assert results["torch"] == torch.__version__
    assert results["not_compiled"] == "--quick"
    assert results["settings"]["sizes"] == [64, 65536]
    measured = [(case["direction"], case["dtype"], case["size"]) for case in results["cases"]]
    assert measured == [
        (direction, dtype, size)
        for dtype in ("float32", "float16")
        for size in (64, 65536)
        for direction in ("forward", "with grad", "backward", "double backward")
        if direction != "with grad" or size == 64
    ]
    for case in results["cases"]:
        copied = {"copy"} if case["direction"] == "forward" else set()
        assert set(case["eager"]) == {"ReLU", "PyTorch", "softplus"} | copied
        assert min(case["eager"].values()) > 0
        assert case["compiled"] == {}
    drawn = (tmp_path / "bench.svg").read_text()
    assert "GB/s" in drawn
    assert "roofline" in drawn


def test_judge_says_who_wins_and_writes_the_json(tmp_path):
    scores = tmp_path / "scores.csv"
    runs = [f"{arm},{seed},{loss + seed / 10}" for seed in range(6) for arm, loss in ARMS.items()]
    scores.write_text("\n".join(["arm,seed,score", *runs]))
    options = ["--margin", "0.5", "--lower-is-better", "--test-ratio", "0.25"]
    result = softplus("judge", scores, *options, "--json", tmp_path / "judged.json")
    assert result.returncode == 0, result.stderr
    assert "gelu against relu: gelu is better, on these rows and on others" in result.stdout
    document = json.loads((tmp_path / "judged.json").read_text())
    assert document["verdicts"][0]["these_rows"]["winner"] == "gelu"
    result = softplus("judge", scores, "--reference", "gelu")
    assert "relu against gelu: relu is better on these rows; on others: unknown" in result.stdout


ARMS = {"gelu": 1.0, "relu": 2.0}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["compare", "digts"], ["unknown task 'digts'", "did you mean digits?", "diabetes"]),
        (["compare", "digits", "--activations", "relu,sofplus"], ["did you mean softplus?"]),
        (["compare", "digits", "--activations", "relu"], ["--activations", "two or more"]),
        (["compare", "digits", "--seeds", "0"], ["--seeds", "from 1 to", "got 0"]),
        (["compare", "digits", "--width", "-4"], ["--width", "at least 1", "got -4"]),
        (["compare", "digits", "--jobs", "0"], ["--jobs", "at least 1", "got 0"]),
        (["compare", "digits", "--lr", "fast"], ["--lr", "'fast'"]),
        (["compare", "digits", "--activations", "relu,softplus:beta=0"], ["beta", "'0'"]),
        (["compare", "digits", "--out", "/dev/null/x"], ["--out /dev/null/x cannot be written"]),
        (["judge", "missing.csv"], ["missing.csv cannot be read as CSV", "No such file"]),
        (["judge", __file__, "--margin", "-1"], ["margin must be a positive number, got -1"]),
        (["judge", __file__, "--json", "/dev/null/x"], ["--json /dev/null/x cannot be written"]),
        (["compare"], ["needs a task", "a table", "model()"]),
        (["compare", "digits", "--target", "y"], ["--target is for a table"]),
        (["compare", "no.csv", "--target", "y"], ["no.csv cannot be read", "No such file"]),
        (["compare", "digits", "--init", "hee"], ["did you mean he?"]),
        (["table", "--plot", "functions.xyz"], ["--plot", "suffix", "svg"]),
        (["table", "--plot", "/dev/null/x.svg"], ["--plot /dev/null/x.svg cannot be written"]),
        (["bench", "--dtype", "float23"], ["unknown dtype 'float23'"]),
        (["bench", "--json", "/dev/null/x.json"], ["--json /dev/null/x.json cannot be written"]),
        (["bench", "--plot", "/dev/null/x.svg"], ["--plot /dev/null/x.svg cannot be written"]),
        (["compare", "digits", "--plot", "verdict.xyz"], ["--plot", "suffix", "svg"]),
        (["bench", "--plot", "bench.xyz"], ["--plot", "suffix", "svg"]),
    ],
)
def test_bad_input_is_one_clear_line_and_exit_code_2(arguments, words, refused):
    message = refused(*arguments)
    assert len(message.strip().splitlines()) == 1
    assert all(word in message for word in words)


def test_the_exit_code_of_bad_input_reaches_the_shell():
    result = softplus("compare", "digts")
    assert result.returncode == 2
    assert result.stderr.startswith("softplus: unknown task")
    assert "Traceback" not in result.stderr


def test_nan_in_the_data_is_one_clear_line_and_exit_code_2(monkeypatch, refused, tmp_path):
    data = networks._DATA["diabetes"]()

    def broken():
        return networks.Data(**{**vars(data), "targets": data.targets * float("nan")})

    monkeypatch.setitem(networks._DATA, "diabetes", broken)
    message = refused("compare", "diabetes", "--out", str(tmp_path))
    assert "442 of 442 rows have a NaN or infinite value in the targets" in message


def test_ctrl_c_keeps_what_is_finished_and_the_next_run_goes_on(tmp_path):
    command = [sys.executable, "-m", "softplus.cli", "compare", "digits", "--jobs", "2"]
    command += ["--width", "8", "--seeds", "2", "--lr", "1e-2,1e-3", "--epochs", "2"]
    # A shell that starts the tests in its background lets them, and theirs, ignore Ctrl-C.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    running = subprocess.Popen(
        [*command, "--out", tmp_path],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,  # a terminal sends Ctrl-C to the whole process group
    )
    signal.signal(signal.SIGINT, before)
    deadline = time.monotonic() + 120
    store = tmp_path / "study.sqlite"
    while time.monotonic() < deadline and not _kept(store):
        time.sleep(0.01)
    os.killpg(running.pid, signal.SIGINT)
    output, _ = running.communicate(timeout=60)
    assert running.returncode == 130, output
    assert "Traceback" not in output
    kept = _kept(store)
    assert f"stopped: {kept} of 16 runs are kept in" in " ".join(output.split())
    result = softplus(*command[3:], "--out", tmp_path)
    assert result.returncode == 0, result.stderr
    assert _kept(store) == 16


def _kept(path):
    """Return how many trials a study's file holds."""
    try:
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
            return connection.execute("SELECT count(*) FROM trials").fetchone()[0]
    except sqlite3.OperationalError:  # not there yet
        return 0


def test_a_closed_pipe_loses_no_report(tmp_path):
    command = [sys.executable, "-m", "softplus.cli", "compare", "digits", *SMALL]
    reading, writing = os.pipe()
    os.close(reading)
    result = subprocess.run(
        [*command, "--out", tmp_path], stdout=writing, stderr=subprocess.PIPE, check=False
    )
    os.close(writing)
    assert b"Traceback" not in result.stderr
    assert (tmp_path / "report.html").exists()


def test_a_full_disk_is_one_clear_line():
    with Path("/dev/full").open("w") as full:
        result = subprocess.run(
            [sys.executable, "-m", "softplus.cli", "table"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert result.returncode == 2
    assert result.stderr == "softplus: [Errno 28] No space left on device\n"


def test_help_opens_with_what_the_program_is_for():
    assert "Softplus beside ReLU" in softplus("--help").stdout


def test_help_names_every_arm_and_every_task():
    printed = " ".join(softplus("compare", "--help").stdout.split())
    assert all(name in printed for name in [*activations.NAMES, *problems.BUILT_IN])


def test_without_the_lab_extra_the_command_says_how_to_get_it():
    blocked = "import sys; sys.modules['typer'] = None\nimport softplus.cli"
    result = subprocess.run(
        [sys.executable, "-c", blocked], capture_output=True, text=True, check=False
    )
    assert result.returncode == 2
    assert "pip install 'softplus[lab]'" in result.stderr
    assert "Traceback" not in result.stderr
