"""The one way in which anything is timed here: calls in turn, round after round."""

import gc
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch


def interleaved(
    calls: Mapping[str, Callable[[], Any]],
    rounds: int,
    visit: float = 0.0,
    context: Callable[[], AbstractContextManager[Any]] = nullcontext,
) -> dict[str, list[float]]:
    """Return the seconds that one call of each takes, a figure a round.

    >>> x = torch.zeros(1000)
    >>> {name: len(seconds) for name, seconds in interleaved({"relu": x.relu}, rounds=5).items()}
    {'relu': 5}

    Every round visits every call in turn, so a machine whose speed drifts slows all of them alike
    and their ratios hold.

    Args:
        calls: What to time, by name.
        rounds: How many figures to take of each.
        visit: Seconds that a visit should last: a call shorter than that is repeated in it.
        context: Entered around all of it, as `torch.no_grad`.
    """
    times: dict[str, list[float]] = {name: [] for name in calls}
    collecting = gc.isenabled()
    gc.disable()  # a collection would fall on whichever call is on turn
    try:
        with context():
            for call in calls.values():
                call()  # warms up
            repeats = {name: _repeats(call, visit) for name, call in calls.items()}
            for _ in range(rounds):
                for name, call in calls.items():
                    times[name].append(_seconds(call, repeats[name]))
    finally:
        if collecting:
            gc.enable()
    return times


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Let PyTorch compute on so many threads inside the block."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _seconds(call: Callable[[], Any], repeats: int) -> float:
    start = time.perf_counter()
    for _ in range(repeats):
        call()
    return (time.perf_counter() - start) / repeats


def _repeats(call: Callable[[], Any], visit: float) -> int:
    """Return how many calls last about `visit` seconds."""
    repeats = 1
    while (each := _seconds(call, repeats)) * repeats < visit / 4:
        repeats *= 4
    return max(1, round(visit / each))
