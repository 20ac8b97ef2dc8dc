"""What a training step costs: its time, all activations interleaved, and what backward keeps."""

import math
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from softplus.lab import timing
from softplus.lab.activations import Activation
from softplus.lab.problems import Problem
from softplus.lab.problems.torch_problem import TorchProblem
from softplus.lab.statistics import Interval, median_interval

# Every few rounds with new networks, made in another order: where their memory lies makes one of
# two alike up to 4% faster.
_NETWORKS, _ROUNDS = 8, 5
_SECONDS_A_VISIT = 2e-3
# On a busy machine it is tried again, so many times in all.
_TRIES, _PAUSE = 3, 0.5


@dataclass(frozen=True)
class Cost:
    """Milliseconds a step, that time over the reference's, and bytes kept for backward.

    Milliseconds are the ratio times the reference's, so that the two agree. `spread` is the width
    of the middle half of the rounds, over their median. Where the machine was busy, `busy` says
    so, and nothing was measured but the bytes: the rest is NaN.
    """

    milliseconds: Interval
    ratio: Interval
    bytes_kept: int
    spread: float = math.nan
    busy: str | None = None


def measure(problem: Problem, activations: list[Activation], reference: str) -> dict[str, Cost]:
    """Time training steps on one thread, in rounds that visit every activation.

    Each round gives one ratio, and medians are taken over rounds. Only a problem that trains in
    this process has steps to time.
    """
    if not isinstance(problem, TorchProblem) or reference not in [a.name for a in activations]:
        return {}
    train = problem.split(0).train
    batch = problem.examples(train).batch(train[: problem.batch_size])
    with timing.threads(1):
        for attempt in range(_TRIES):
            times = _times(problem, activations, batch)
            if times.busy is None:
                break
            if attempt < _TRIES - 1:
                time.sleep(_PAUSE)
    kept = {arm.name: _bytes_kept(problem, arm, batch) for arm in activations}
    if times.busy is not None:
        busy = f"machine busy: not measured ({times.busy})"
        nothing = Interval(math.nan, math.nan, math.nan)
        return {name: Cost(nothing, nothing, kept[name], busy=busy) for name in times}
    base = median_interval([seconds * 1e3 for seconds in times[reference]])
    ratios = {name: median_interval(times.ratios(name, reference)) for name in times}
    return {
        name: Cost(
            milliseconds=base if name == reference else _scaled(ratio, base.center),
            ratio=ratio,
            bytes_kept=kept[name],
            spread=times.spread(name),
        )
        for name, ratio in ratios.items()
    }


def _scaled(interval: Interval, factor: float) -> Interval:
    return Interval(interval.center * factor, interval.low * factor, interval.high * factor)


def _times(
    problem: TorchProblem, activations: list[Activation], batch: tuple[Any, Any]
) -> timing.Times:
    """Return the seconds of a step of every arm, and what disturbed most of the measurement."""
    times = timing.Times({arm.name: [] for arm in activations})
    disturbances = []
    for _ in range(_NETWORKS):
        shuffled = random.sample(activations, len(activations))
        steps = {arm.name: _step(problem, arm, batch) for arm in shuffled}
        found = timing.interleaved(steps, _ROUNDS, _SECONDS_A_VISIT)
        for name, seconds in found.items():
            times[name] += seconds
        disturbances.append(found.busy)
    seen = [disturbance for disturbance in disturbances if disturbance is not None]
    times.busy = seen[-1] if len(seen) > _NETWORKS // 4 else None
    return times


def _step(
    problem: TorchProblem, activation: Activation, batch: tuple[Any, Any]
) -> Callable[[], None]:
    """Return one step of the training of a new network."""
    model = _model(problem, activation)
    optimizer = problem.optimizer(model.parameters(), 1e-3)

    def step() -> None:
        optimizer.zero_grad()
        torch.autograd.backward(problem.loss(model, *batch))
        optimizer.step()

    return step


def _model(problem: TorchProblem, activation: Activation) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return problem.model(activation)


def _bytes_kept(problem: TorchProblem, activation: Activation, batch: tuple[Any, Any]) -> int:
    """Return the bytes that one forward pass keeps for backward, parameters and data aside."""
    model = _model(problem, activation)
    given = [*model.parameters(), *(data for data in batch if torch.is_tensor(data))]
    given_storages = {tensor.untyped_storage().data_ptr() for tensor in given}
    kept: dict[int, int] = {}
    alive = []  # a freed storage's address could be taken again, and be counted once

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in given_storages:
            kept[storage.data_ptr()] = storage.nbytes()
            alive.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        problem.loss(model, *batch)
    return sum(kept.values())
