"""The engine of `softplus.lab.engines`: it returns everything, stops at once, and never hangs."""

import os
import signal
import time

import pytest

from softplus.lab import engines


def slow_square(x):
    time.sleep(x / 100)
    return x * x


def die(_):
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize("jobs", [1, 2])
def test_the_engine_returns_every_outcome(jobs):
    assert sorted(engines.run_local(slow_square, [3, 1, 2], jobs)) == [(1, 1), (2, 4), (3, 9)]


def test_leaving_the_engine_early_ends_its_workers_at_once():
    running = engines.run_local(slow_square, [1, 6000, 6000], 2)
    assert next(running) == (1, 1)
    start = time.monotonic()
    running.close()
    assert time.monotonic() - start < 20  # the workers would sleep for 60 s


def test_a_dead_worker_is_an_error_not_a_hang():
    with pytest.raises(engines.WorkerDiedError, match="killed, or out of memory"):
        list(engines.run_local(die, [1, 2], 2))
