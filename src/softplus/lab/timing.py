"""The one way in which anything is timed here: calls in turn, round after round."""

import gc
import random
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from statistics import median, quantiles
from typing import Any

import torch

from softplus.lab.machine import Watch

# Estimates of a call's time, of which the least counts: one alone may have been interrupted.
_ESTIMATES = 3


class Times(dict[str, list[float]]):
    """Seconds a call, a figure a round, by name; `busy` says why they cannot be trusted."""

    busy: str | None = None

    def ratios(self, name: str, reference: str) -> list[float]:
        """Return the time of one call over that of another, a figure a round."""
        return [ours / theirs for ours, theirs in zip(self[name], self[reference], strict=True)]

    def medians(self, reference: str) -> dict[str, float]:
        """Return a median for each: the reference's own, and the others' by their median ratios.

        So a quotient of two medians is what the rounds say of it, however the machine drifted.
        """
        base = median(self[reference])
        return {name: base * median(self.ratios(name, reference)) for name in self}

    def spread(self, name: str) -> float:
        """Return the width of the middle half of the rounds, over their median."""
        if len(self[name]) < 2:
            return 0.0
        low, middle, high = quantiles(self[name], n=4)
        return (high - low) / middle


def interleaved(
    calls: Mapping[str, Callable[[], Any]],
    rounds: int,
    visit: float = 0.0,
    context: Callable[[], AbstractContextManager[Any]] = nullcontext,
) -> Times:
    """Return the seconds that one call of each takes, a figure a round.

    >>> x = torch.zeros(1000)
    >>> {name: len(seconds) for name, seconds in interleaved({"relu": x.relu}, rounds=5).items()}
    {'relu': 5}

    Every round visits every call once, in a random order, and repeats each equally often. So a
    machine whose speed drifts slows all of them alike, none is favoured by what ran before it, and
    their ratios hold. On one thread it is the processor's time that counts, on several the clock's.

    Args:
        calls: What to time, by name.
        rounds: How many figures to take of each.
        visit: Seconds that a visit should last on average: shorter calls are repeated in it.
        context: Entered around all of it, as `torch.no_grad`.
    """
    times = Times({name: [] for name in calls})
    threads = torch.get_num_threads()
    clock = time.thread_time if threads == 1 else time.perf_counter
    collecting = gc.isenabled()
    gc.disable()  # a collection would fall on whichever call is on turn
    try:
        with context():
            for call in calls.values():
                call()  # warms up
            repeats = _repeats(calls, visit, clock)
            watch = Watch(threads)
            order = list(calls)
            for _ in range(rounds):
                random.shuffle(order)
                for name in order:
                    times[name].append(_seconds(calls[name], repeats, clock))
            times.busy = watch.busy()
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


def _seconds(call: Callable[[], Any], repeats: int, clock: Callable[[], float]) -> float:
    start = clock()
    for _ in range(repeats):
        call()
    return (clock() - start) / repeats


def _repeats(
    calls: Mapping[str, Callable[[], Any]], visit: float, clock: Callable[[], float]
) -> int:
    """Return how many calls last about `visit` seconds, on the average of all."""
    if not visit:
        return 1
    each = [_estimate(call, visit, clock) for call in calls.values()]
    return max(1, round(visit * len(each) / sum(each)))


def _estimate(call: Callable[[], Any], visit: float, clock: Callable[[], float]) -> float:
    repeats = 1
    while _seconds(call, repeats, clock) * repeats < visit / 8:
        repeats *= 4
    return min(_seconds(call, repeats, clock) for _ in range(_ESTIMATES))
