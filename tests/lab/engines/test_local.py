"""The local engine of `softplus.lab.engines`: every answer, no process left, no call twice."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from softplus.lab import engines
from softplus.lab.engines import Died
from softplus.lab.errors import UsageError


def slow_square(x):
    time.sleep(x / 100)
    return x * x


def die_at_two(x):
    if x == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return x * x


def refuse(_):
    raise UsageError("not with me")


@pytest.mark.parametrize("jobs", [1, 2])
def test_the_engine_returns_every_answer(jobs):
    with engines.choose(jobs=jobs) as engine:
        assert sorted(engine.map(slow_square, iter([3, 1, 2]))) == [(1, 1), (2, 4), (3, 9)]


def test_an_item_is_taken_when_there_is_a_process_for_it():
    taken = []
    items = (taken.append(item) or item for item in (1, 20, 20, 1))
    with engines.choose(jobs=2) as engine:
        answers = engine.map(slow_square, items)
        assert next(answers) == (1, 1)
        assert taken == [1, 20]
        assert len(list(answers)) == 3


def test_leaving_the_engine_early_ends_its_workers_at_once():
    with engines.choose(jobs=2) as engine:
        running = engine.map(slow_square, iter([1, 6000, 6000]))
        assert next(running) == (1, 1)
        start = time.monotonic()
    assert time.monotonic() - start < 20  # the workers would sleep for 60 s


def test_the_call_that_ends_its_process_is_told_from_those_beside_it():
    with engines.choose(jobs=2) as engine:
        answers = dict(engine.map(die_at_two, iter([1, 2, 3, 4])))
    assert isinstance(answers[2], Died)
    assert "killed, or out of memory" in answers[2].reason
    assert {item: answers[item] for item in (1, 3, 4)} == {1: 1, 3: 9, 4: 16}


@pytest.mark.parametrize("jobs", [1, 2])
def test_what_a_call_raises_is_raised_here(jobs):
    with engines.choose(jobs=jobs) as engine, pytest.raises(UsageError, match="not with me"):
        list(engine.map(refuse, iter([1, 2])))


# A parent that starts two workers, writes their process numbers, and waits in them.
PARENT = """
import os, sys, time
from softplus.lab import engines

def stay(folder):
    open(os.path.join(folder, str(os.getpid())), "w").close()
    time.sleep(600)

if __name__ == "__main__":
    with engines.choose(jobs=2) as engine:
        list(engine.map(stay, iter([sys.argv[1]] * 2)))
"""


def test_no_worker_outlives_a_parent_that_is_killed(tmp_path):
    script, folder = tmp_path / "parent.py", tmp_path / "workers"
    script.write_text(PARENT)
    folder.mkdir()
    parent = subprocess.Popen([sys.executable, script, folder])
    wait_until(lambda: len(list(folder.iterdir())) == 2)
    parent.kill()
    parent.wait()
    workers = [int(file.name) for file in folder.iterdir()]
    wait_until(lambda: not any(alive(worker) for worker in workers))


def wait_until(condition, seconds=60):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def alive(process):
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ({"jobs": 0}, "--jobs must be at least 1, got 0"),
        ({"name": "lokal"}, "did you mean local"),
        ({"address": "auto"}, "--address and --gpus belong to --engine ray"),
        ({"gpus": 1.0}, "--address and --gpus belong to --engine ray"),
    ],
)
def test_an_engine_that_cannot_be_is_refused(arguments, word):
    with pytest.raises(UsageError, match=word):
        engines.choose(**arguments)
