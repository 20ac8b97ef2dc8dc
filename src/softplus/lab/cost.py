"""What a training step costs: its time, all activations interleaved, and what backward keeps."""

from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from softplus.lab import timing
from softplus.lab.activations import Activation
from softplus.lab.problems import Problem
from softplus.lab.problems.torch_problem import TorchProblem
from softplus.lab.statistics import Interval, median_interval

_ROUNDS = 40
_SECONDS_A_VISIT = 2e-3


@dataclass(frozen=True)
class Cost:
    """Milliseconds a step, that time over the reference's, and bytes kept for backward.

    `busy` says why there are no times, None where there are.
    """

    milliseconds: Interval
    ratio: Interval
    bytes_kept: int
    busy: str | None = None


def measure(problem: Problem, activations: list[Activation], reference: str) -> dict[str, Cost]:
    """Time training steps on one thread, in rounds that visit every activation in turn.

    Rounds make the ratio hold on a machine whose speed drifts: each round gives one ratio, and
    medians are taken over rounds. Only a problem that trains in this process has steps to time.
    """
    if not isinstance(problem, TorchProblem):
        return {}
    train = problem.split(0).train
    inputs, targets = problem.examples(train).batch(train[: problem.batch_size])
    models = {}
    for activation in activations:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            models[activation.name] = problem.model(activation)
    optimizers = {
        name: problem.optimizer(model.parameters(), 1e-3) for name, model in models.items()
    }

    def step(name: str) -> None:
        optimizers[name].zero_grad()
        torch.autograd.backward(problem.loss(models[name], inputs, targets))
        optimizers[name].step()

    kept = {name: _bytes_kept(model, problem, inputs, targets) for name, model in models.items()}
    with timing.threads(1):
        times = timing.interleaved(
            {name: partial(step, name) for name in models}, _ROUNDS, _SECONDS_A_VISIT
        )
    return {
        name: Cost(
            milliseconds=median_interval([seconds * 1e3 for seconds in times[name]]),
            ratio=median_interval(
                [ours / theirs for ours, theirs in zip(times[name], times[reference], strict=True)]
            ),
            bytes_kept=kept[name],
        )
        for name in models
    }


def _bytes_kept(model: nn.Module, problem: TorchProblem, inputs: Tensor, targets: Tensor) -> int:
    """Return the bytes that one forward pass keeps for backward, parameters and data aside."""
    given = [*model.parameters(), inputs, targets]
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
        problem.loss(model, inputs, targets)
    return sum(kept.values())
