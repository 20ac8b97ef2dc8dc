"""A study that is stopped, by `softplus.lab.stopping` or by force: what is kept, who is left."""

import os
import shlex
import signal
import sqlite3
import subprocess
import sys
import time
import uuid
from contextlib import closing
from pathlib import Path

import pytest

from softplus.lab import stopping
from softplus.lab.store import Store

# Four batches choose the learning rates, and two processes run them: the first is done, and two
# are in flight, when the study is stopped.
STUDY = ["compare", "digits", "--jobs", "2", "--width", "8", "--seeds", "2", "--epochs", "40"]
STUDY += ["--lr", "1e-2,1e-3", "--activations", "relu,softplus,gelu,elu"]
TRIALS = 4 * (2 * 3 + 2)


class Study:
    """A comparison in a process of its own, whose children can be told from all others."""

    def __init__(self, out):
        self.file = out / "study.sqlite"
        self._mark = uuid.uuid4().hex
        # A shell that starts the tests in its background lets them, and theirs, ignore Ctrl-C.
        before = signal.signal(signal.SIGINT, signal.default_int_handler)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "softplus.cli", *STUDY, "--out", out],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, "COLUMNS": "200", "SOFTPLUS_TEST": self._mark},
            start_new_session=True,  # a terminal sends Ctrl-C to the whole process group
        )
        signal.signal(signal.SIGINT, before)

    def kept(self):
        """Return how many trials the file holds."""
        try:
            with closing(sqlite3.connect(f"file:{self.file}?mode=ro", uri=True)) as connection:
                return connection.execute("SELECT count(*) FROM trials").fetchone()[0]
        except sqlite3.OperationalError:  # not there yet
            return 0

    def processes(self):
        """Return the processes that belong to the study and run."""
        return [
            folder.name
            for folder in Path("/proc").glob("[0-9]*")
            if self._mark.encode() in read(folder / "environ")
            and b") Z" not in read(folder / "stat")
        ]


def read(file):
    try:
        return file.read_bytes()
    except OSError:
        return b""


def wait_until(condition, seconds=180):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.fixture
def study(tmp_path):
    """Return a study of which some trials are kept and some are in flight."""
    running = Study(tmp_path)
    wait_until(running.kept)
    yield running
    running.process.kill()
    running.process.communicate()


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        (signal.SIGTERM, 143),
        pytest.param(signal.SIGINT, 130, marks=pytest.mark.slow),
        pytest.param(signal.SIGHUP, 129, marks=pytest.mark.slow),
    ],
)
def test_a_signal_keeps_what_is_finished_and_leaves_no_process(study, kind, code):
    os.killpg(study.process.pid, kind)
    output, _ = study.process.communicate(timeout=60)
    assert study.process.returncode == code, output
    assert "Traceback" not in output
    assert 0 < study.kept() < TRIALS
    assert f"stopped: {study.kept()} of {TRIALS} runs are kept in" in output
    wait_until(lambda: not study.processes())


def test_a_study_killed_in_the_middle_goes_on_where_it_was(study, tmp_path):
    assert len(study.processes()) >= 3
    study.process.kill()
    wait_until(lambda: not study.processes())
    before = rows(study.file)
    assert 0 < len(before) < TRIALS
    again = Study(tmp_path)
    output, _ = again.process.communicate(timeout=300)
    assert again.process.returncode == 0, output
    after = rows(study.file)
    assert len(after) == TRIALS
    assert before.items() <= after.items()
    assert not again.processes()


@pytest.mark.slow
def test_two_commands_on_one_study_share_its_trials(tmp_path):
    file = tmp_path / "study.sqlite"
    with Store(file), closing(sqlite3.connect(file)) as connection:
        connection.executescript(
            "CREATE TABLE written (key TEXT);"
            "CREATE TRIGGER note AFTER INSERT ON trials "
            "BEGIN INSERT INTO written VALUES (new.key); END;"
        )
    both = [Study(tmp_path), Study(tmp_path)]
    for each in both:
        output, _ = each.process.communicate(timeout=300)
        assert each.process.returncode == 0, output
    with closing(sqlite3.connect(file)) as connection:
        written = [key for (key,) in connection.execute("SELECT key FROM written")]
    assert len(written) == len(set(written)) == TRIALS


@pytest.mark.slow
def test_a_disk_that_is_full_in_the_middle_is_one_line_and_loses_nothing(tmp_path):
    small = [sys.executable, "-m", "softplus.cli", "compare", "diabetes", "--jobs", "1"]
    small += ["--width", "8", "--epochs", "1", "--seeds", "40", "--lr", "1e-2,1e-3"]
    command = shlex.join([*small, "--out", str(tmp_path)])
    # No file may grow beyond 200 kB: the study's own does, when the last trials come in.
    full = subprocess.run(
        ["/bin/bash", "-c", f"ulimit -f 200; exec {command}"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert full.returncode == 2, full.stdout + full.stderr
    *announced, refusal = full.stderr.strip().splitlines()
    assert "cannot be written" in refusal
    assert not any("softplus:" in line for line in announced)
    before = rows(tmp_path / "study.sqlite")
    assert before
    again = subprocess.run(shlex.split(command), capture_output=True, text=True, check=False)
    assert again.returncode == 0, again.stderr
    after = rows(tmp_path / "study.sqlite")
    assert before.items() <= after.items()
    assert len(after) == 2 * (2 * 3 + 40)


def rows(file):
    """Return the outcomes that a study's file holds, by key, with the time each took."""
    with closing(sqlite3.connect(file)) as connection:
        return dict(connection.execute("SELECT key, outcome FROM trials").fetchall())


def test_a_signal_is_raised_inside_and_left_alone_outside():
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(stopping.Stopped, match="SIGTERM") as stop, stopping.by_signals():
        signal.raise_signal(signal.SIGTERM)
    assert stopping.exit_code(stop.value) == 143
    assert stopping.exit_code(KeyboardInterrupt()) == 130
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_signal_that_is_ignored_stays_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with stopping.by_signals():
            signal.raise_signal(signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)
