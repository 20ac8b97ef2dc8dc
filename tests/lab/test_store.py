"""The study's file of `softplus.lab.store`: what survives, who may run what, what is refused."""

import os
import resource
import signal
import sqlite3
import time
from contextlib import closing

import pytest

from softplus.lab import problems, store
from softplus.lab.errors import UsageError
from softplus.lab.measures import LayerMeasures, Measures
from softplus.lab.store import Store
from softplus.lab.trials import Drift, Outcome, Trial

MEASURES = Measures(
    *[0.5] * 11,
    histogram=(0.5, 0.5),
    layers=(LayerMeasures(4, 0.25, 0.0, 0.5),),
    smoothness=0.1,
    first_layer_gradient=2.0,
)
OUTCOME = Outcome(
    validation=1.0,
    test=2.0,
    steps_to_goal=5,
    curve=((0, 0.5), (5, 1.0)),
    drift=Drift(0.1, 0.2, 0.0),
)
PROBLEM = problems.load("digits", depth=2, width=16, epochs=1)
OTHER = problems.load("digits", depth=3, width=16, epochs=1)


@pytest.fixture
def path(tmp_path):
    """Return the path of a study's file."""
    return tmp_path / "study.sqlite"


def trial(seed):
    return Trial("relu", 1e-3, seed, measured=False)


def in_child(work):
    """Do something in a forked process, which ends as kill -9 ends one."""
    child = os.fork()
    if child == 0:
        try:
            work()
        finally:
            os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)


# What is kept


def test_an_outcome_is_found_again_and_the_last_one_counts(path):
    measured = Outcome(1.0, 2.0, None, 7, (), MEASURES, failure="why")
    with Store(path) as kept:
        kept.put(PROBLEM, {trial(0): OUTCOME, trial(1): measured})
        assert kept.get(PROBLEM, [trial(0), trial(1), trial(2)]) == {
            trial(0): OUTCOME,
            trial(1): measured,
        }
        assert kept.get(OTHER, [trial(0)]) == {}
        kept.put(PROBLEM, {trial(0): measured})
    with Store(path) as kept:
        assert kept.get(PROBLEM, [trial(0)]) == {trial(0): measured}


def test_what_was_written_survives_kill_9(path):
    in_child(lambda: Store(path).put(PROBLEM, {trial(0): OUTCOME}))
    with Store(path) as kept:
        assert kept.get(PROBLEM, [trial(0)]) == {trial(0): OUTCOME}


def test_a_reader_of_the_file_sees_which_trial_is_which(path):
    with Store(path) as kept:
        kept.put(PROBLEM, {trial(3): OUTCOME})
    with closing(sqlite3.connect(path)) as plain:
        ((text,),) = plain.execute("SELECT trial FROM trials").fetchall()
    assert text == '{"arm": "relu", "learning_rate": 0.001, "seed": 3, "measured": false}'


def test_failures_are_forgotten_when_nobody_else_is_at_work(path):
    with Store(path) as kept:
        kept.put(PROBLEM, {trial(0): OUTCOME, trial(1): Outcome(failure="why")})
        with Store(path):
            kept.forget_failures()
            assert set(kept.get(PROBLEM, [trial(0), trial(1)])) == {trial(0), trial(1)}
        kept.forget_failures()
        assert set(kept.get(PROBLEM, [trial(0), trial(1)])) == {trial(0)}


# Claims


def test_a_trial_is_claimed_by_one_and_free_again_when_that_one_leaves(path):
    with Store(path) as one:
        with Store(path) as two:
            assert two.claim(PROBLEM, [trial(0), trial(1)]) == [trial(0), trial(1)]
            assert two.claim(PROBLEM, [trial(0)]) == [trial(0)]  # it is two's own
            assert one.claim(PROBLEM, [trial(0), trial(1), trial(2)]) == [trial(2)]
            two.put(PROBLEM, {trial(0): OUTCOME})
        assert one.claim(PROBLEM, [trial(0), trial(1)]) == [trial(1)]


def test_the_claims_of_a_process_that_was_killed_are_free_at_once(path):
    in_child(lambda: Store(path).claim(PROBLEM, [trial(0)]))
    with Store(path) as kept:
        assert kept.claim(PROBLEM, [trial(0)]) == [trial(0)]


def test_the_claims_of_a_machine_that_is_not_heard_are_free_after_the_lease(path, monkeypatch):
    monkeypatch.setattr(store, "_place", lambda: "elsewhere")
    away = Store(path)
    away.claim(PROBLEM, [trial(0)])
    monkeypatch.undo()
    with Store(path) as kept:
        assert kept.claim(PROBLEM, [trial(0)]) == []
        now = time.time()
        monkeypatch.setattr(time, "time", lambda: now + 2 * store._LEASE)
        assert kept.claim(PROBLEM, [trial(0)]) == [trial(0)]


def test_a_runner_at_work_is_heard(path, monkeypatch):
    monkeypatch.setattr(store, "_BEAT", 0.05)
    with Store(path), closing(sqlite3.connect(path)) as plain:
        first = heard(plain)
        deadline = time.monotonic() + 30
        while heard(plain) == first:
            assert time.monotonic() < deadline
            time.sleep(0.05)


def heard(connection):
    return connection.execute("SELECT heard FROM runners").fetchall()


# What is refused, and left as it was


def refused(path, words):
    before = path.read_bytes()
    with pytest.raises(UsageError, match=words) as refusal:
        Store(path)
    assert path.read_bytes() == before
    assert str(path) in str(refusal.value)
    assert len(str(refusal.value).splitlines()) == 1


def test_a_file_that_is_no_database_is_refused(path):
    path.write_text("notes of mine, longer than a header, so that it is no empty database\n" * 20)
    refused(path, "not a database")


@pytest.mark.parametrize("table", ["trials (judge TEXT)", "letters (text TEXT)"])
def test_a_database_of_something_else_is_refused(path, table):
    with closing(sqlite3.connect(path)) as other:
        other.execute(f"CREATE TABLE {table}")
    refused(path, "earlier softplus wrote it" if "trials" in table else "it is no study's")


def test_a_file_of_another_version_is_refused(path):
    Store(path).__exit__(None, None, None)
    with closing(sqlite3.connect(path)) as newer:
        newer.execute("PRAGMA user_version = 99")
        newer.execute("PRAGMA journal_mode = DELETE")
    refused(path, "version 99, this softplus writes 2")


def test_a_file_cut_short_is_refused(path):
    with Store(path) as kept:
        kept.put(PROBLEM, {trial(seed): OUTCOME for seed in range(200)})
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2)
    refused(path, "damaged|malformed")


def test_an_outcome_that_cannot_be_read_is_refused(path):
    with Store(path) as kept:
        kept.put(PROBLEM, {trial(0): OUTCOME})
        with closing(sqlite3.connect(path)) as plain, plain:
            plain.execute("UPDATE trials SET outcome = '{\"validation\": 1'")
        with pytest.raises(UsageError, match="it is damaged"):
            kept.get(PROBLEM, [trial(0)])


def test_a_folder_in_the_place_of_the_file_is_refused(tmp_path):
    with pytest.raises(UsageError, match="unable to open"):
        Store(tmp_path)


def test_a_full_disk_loses_nothing_that_was_kept(path):
    with Store(path) as kept:
        kept.put(PROBLEM, {trial(0): OUTCOME})
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (2**16, before[1]))
        try:
            with pytest.raises(UsageError, match=r"cannot be written .*: free some space"):
                kept.put(PROBLEM, {trial(seed): OUTCOME for seed in range(1, 2000)})
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        assert kept.get(PROBLEM, [trial(seed) for seed in range(2000)]) == {trial(0): OUTCOME}
        kept.put(PROBLEM, {trial(1): OUTCOME})
    with Store(path) as kept:
        assert len(kept.get(PROBLEM, [trial(seed) for seed in range(2000)])) == 2
