"""The study's file of `softplus.lab.store`: what survives, and what is refused."""

import os
import signal
import sqlite3
from contextlib import closing

import pytest

from softplus.lab import problems
from softplus.lab.errors import UsageError
from softplus.lab.store import Store
from softplus.lab.trials import Outcome, Trial

PROBLEM = problems.load("digits")
OUTCOME = Outcome(validation=1.0, test=2.0, steps_to_goal=5, diverged_at=None, curve=((0, 0.5),))


@pytest.fixture
def trial():
    """Return the function that gives the trial of a seed."""
    return lambda seed: Trial("relu", 1e-3, seed, measured=False)


def test_an_outcome_is_found_again_and_the_last_one_counts(tmp_path, trial):
    with Store(tmp_path / "study.sqlite") as store:
        store.put(PROBLEM, trial(0), OUTCOME)
        assert store.get(PROBLEM, [trial(0), trial(1)]) == {trial(0): OUTCOME}
        other = Outcome(3.0, 4.0, None, 7, ())
        store.put(PROBLEM, trial(0), other)
        assert store.get(PROBLEM, [trial(0)]) == {trial(0): other}


def test_the_store_keeps_what_was_written_when_the_process_is_killed(tmp_path, trial):
    path = tmp_path / "study.sqlite"
    child = os.fork()
    if child == 0:
        store = Store(path)
        store.put(PROBLEM, trial(0), OUTCOME)
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    with Store(path) as store:
        assert store.get(PROBLEM, [trial(0)]) == {trial(0): OUTCOME}
    with closing(sqlite3.connect(path)) as plain:
        assert plain.execute("SELECT count(*) FROM trials").fetchone() == (1,)


def test_a_file_that_is_no_database_is_refused_and_left_alone(tmp_path):
    path = tmp_path / "study.sqlite"
    path.write_text("notes of mine, longer than a header, so that it is no empty database\n" * 20)
    with pytest.raises(UsageError, match="not a database"):
        Store(path)
    assert path.read_text().startswith("notes of mine")


def test_a_database_of_something_else_is_refused(tmp_path, trial):
    path = tmp_path / "study.sqlite"
    with closing(sqlite3.connect(path)) as other:
        other.execute("CREATE TABLE trials (judge TEXT)")
    with Store(path) as store:
        with pytest.raises(UsageError, match=r"study\.sqlite cannot be used .*no such column"):
            store.get(PROBLEM, [trial(0)])
        with pytest.raises(UsageError, match="cannot be used"):
            store.put(PROBLEM, trial(0), OUTCOME)


def test_a_folder_in_the_place_of_the_file_is_refused(tmp_path):
    with pytest.raises(UsageError, match="unable to open"):
        Store(tmp_path)
