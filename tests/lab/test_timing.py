"""The timing of `softplus.lab.timing`: who is called when; no time is asserted."""

import torch

from softplus.lab import timing


def test_rounds_visit_every_call_in_turn():
    visits = []
    calls = {name: lambda name=name: visits.append(name) for name in "ab"}
    times = timing.interleaved(calls, rounds=3)
    assert {name: len(seconds) for name, seconds in times.items()} == {"a": 3, "b": 3}
    assert visits[-6:] == ["a", "b"] * 3


def test_threads_are_set_inside_and_put_back():
    before = torch.get_num_threads()
    with timing.threads(before + 1):
        assert torch.get_num_threads() == before + 1
    assert torch.get_num_threads() == before
