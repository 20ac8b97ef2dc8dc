"""The timing of `softplus.lab.timing`: who is called when, and what is made of it; no time."""

import time

import pytest
import torch

from softplus.lab import machine, timing


def visited(rounds, visit=0.0):
    """Return the names of two calls in the order in which the rounds visited them."""
    visits = []
    calls = {name: lambda name=name: visits.append(name) for name in "ab"}
    times = timing.interleaved(calls, rounds, visit)
    assert {name: len(seconds) for name, seconds in times.items()} == {"a": rounds, "b": rounds}
    return visits


def test_every_round_visits_every_call_once_in_a_random_order():
    visits = "".join(visited(rounds=60)[-120:])
    rounds = [visits[start : start + 2] for start in range(0, 120, 2)]
    assert set(rounds) == {"ab", "ba"}


def test_every_call_is_repeated_equally_often():
    visits = visited(rounds=7, visit=1e-3)
    repeats = 1
    while len(set(visits[-repeats - 1 :])) == 1:
        repeats += 1
    assert repeats > 1
    rounds = visits[-7 * 2 * repeats :]
    assert rounds.count("a") == rounds.count("b") == 7 * repeats


def test_times_agree_with_their_ratios_however_the_machine_drifts():
    times = timing.Times(slow=[2.0, 4.0, 60.0], fast=[1.0, 2.0, 3.0])
    assert times.ratios("slow", "fast") == [2.0, 2.0, 20.0]
    assert times.medians("fast") == {"slow": 4.0, "fast": 2.0}
    assert times.spread("fast") == pytest.approx(1.0)


def test_on_one_thread_what_others_compute_is_not_counted():
    with timing.threads(1):
        times = timing.interleaved({"sleep": lambda: time.sleep(0.02)}, rounds=2)
    assert max(times["sleep"]) < 0.02  # the thread slept
    assert "had to wait" in times.busy


def test_threads_are_set_inside_and_put_back():
    before = torch.get_num_threads()
    with timing.threads(before + 1):
        assert torch.get_num_threads() == before + 1
    assert torch.get_num_threads() == before


# Whether the machine is busy


@pytest.mark.parametrize(
    ("threads", "computed", "words"),
    [
        # By this thread, this process and everybody, in ten seconds of two cores.
        (1, (10.0, 10.0, 10.0), None),
        (1, (10.0, 10.0, 20.0), None),  # another core computes something else
        (1, (8.0, 8.0, 20.0), "wait 20% of the time"),
        (2, (10.0, 20.0, 20.0), None),
        (2, (10.0, 15.0, 20.0), "other programs used 0.5 of the 2 cores"),
    ],
)
def test_a_computation_without_a_core_for_each_thread_is_disturbed(
    monkeypatch, threads, computed, words
):
    monkeypatch.setattr(machine.os, "cpu_count", lambda: 2)
    clock = iter([(0.0, 0.0, 0.0, 0.0), (10.0, *computed)])
    monkeypatch.setattr(machine.Watch, "_now", lambda _: next(clock))
    busy = machine.Watch(threads).busy()
    assert (busy is None) if words is None else (words in busy)


def test_the_machine_is_described():
    described = machine.description()
    assert set(described) == {"cpu", "cores", "load"}
    assert int(described["cores"]) == machine.cores() >= 1
