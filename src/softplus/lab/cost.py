"""What a training step costs: its time, all activations interleaved, and what backward keeps."""

from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from softplus.lab import tasks, timing
from softplus.lab.activations import Activation
from softplus.lab.statistics import Interval, median_interval
from softplus.lab.trials import network

_ROUNDS = 40
_SECONDS_A_VISIT = 2e-3


@dataclass(frozen=True)
class Cost:
    """Milliseconds a step, that time over the reference's, and bytes kept for backward."""

    milliseconds: Interval
    ratio: Interval
    bytes_kept: int


def measure(
    task: tasks.Task, activations: list[Activation], reference: str, depth: int, width: int
) -> dict[str, Cost]:
    """Time training steps on one thread, in rounds that visit every activation in turn.

    Rounds make the ratio hold on a machine whose speed drifts: each round gives one ratio, and
    medians are taken over rounds.
    """
    batch = slice(0, task.batch_size)
    inputs, targets = task.inputs[batch], task.targets[batch]
    models = {}
    for activation in activations:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            models[activation.name] = network(task, activation, depth, width)
    optimizers = {name: torch.optim.Adam(model.parameters()) for name, model in models.items()}

    def step(name: str) -> None:
        optimizers[name].zero_grad()
        torch.autograd.backward(task.loss(models[name](inputs), targets))
        optimizers[name].step()

    kept = {name: _bytes_kept(model, task, inputs, targets) for name, model in models.items()}
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


def _bytes_kept(model: nn.Module, task: tasks.Task, inputs: Tensor, targets: Tensor) -> int:
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
        task.loss(model(inputs), targets)
    return sum(kept.values())
