"""A trial: one network, trained once with one activation, one learning rate and one seed."""

import copy
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import version
from typing import Any

import torch
from torch import Tensor, nn

from softplus.lab import activations, measures, tasks

# Part of every key: raise it when a change makes earlier results incomparable.
_FORMAT = 1
# Steps between two looks at the validation split.
_LOOK_EVERY = 5


@dataclass(frozen=True)
class Trial:
    """What defines a training run; the same trial always gives the same result."""

    task: str
    activation: str
    learning_rate: float
    seed: int
    depth: int
    width: int
    epochs: int
    measured: bool

    @property
    def key(self) -> str:
        """The identity of the result, versions included."""
        software = {"torch": torch.__version__, "softplus": version("softplus"), "format": _FORMAT}
        return json.dumps({**asdict(self), **software}, sort_keys=True)


def network(
    task: tasks.Task, activation: activations.Activation, depth: int, width: int
) -> nn.Sequential:
    """Return a fully connected network with `depth` hidden layers of `width` units."""
    layers: list[nn.Module] = []
    inputs = task.inputs.shape[1]
    for _ in range(depth):
        layers += [nn.Linear(inputs, width), activation.build()]
        inputs = width
    return nn.Sequential(*layers, nn.Linear(inputs, task.outputs), task.head())


def run(trial: Trial) -> dict[str, Any]:
    """Train as the trial says and return what came out, ready for JSON.

    The state judged is the one with the best validation metric; its test metric is the result.
    A loss that is no longer finite ends the training, and the best state before it counts.
    """
    task = tasks.load(trial.task)
    activation = activations.parse(trial.activation)
    train, validation, test = task.split(trial.seed)
    inputs = task.prepared(train)

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(trial.seed)
        model = network(task, activation, trial.depth, trial.width)
    optimizer = torch.optim.Adam(model.parameters(), lr=trial.learning_rate)
    path = measures.UpdatePath(model) if trial.measured else None

    def look() -> float:
        with torch.no_grad():
            return task.metric(model(inputs[validation]), task.targets[validation])

    best, best_state = look(), copy.deepcopy(model.state_dict())
    curve = [[0, best]]
    steps_to_goal = 0 if not task.better(task.goal, best) else None
    diverged_at = None
    for step, batch in enumerate(_batches(train, trial, task.batch_size), start=1):
        loss = task.loss(model(inputs[batch]), task.targets[batch])
        if not torch.isfinite(loss):
            diverged_at = step
            break
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        if path:
            path.follow()
        optimizer.step()
        if step % _LOOK_EVERY:
            continue
        metric = look()
        curve.append([step, metric])
        if steps_to_goal is None and not task.better(task.goal, metric):
            steps_to_goal = step
        if task.better(metric, best):
            best, best_state = metric, copy.deepcopy(model.state_dict())

    model.load_state_dict(best_state)
    with torch.no_grad():
        final = task.metric(model(inputs[test]), task.targets[test])
    result: dict[str, Any] = {
        "validation": best,
        "test": final,
        "steps_to_goal": steps_to_goal,
        "diverged_at": diverged_at,
        "curve": curve,
    }
    if path:
        result["measures"] = {
            **measures.of_activations(model, activation, inputs),
            **path.summary(),
        }
    return result


def _batches(train: Tensor, trial: Trial, size: int) -> Iterator[Tensor]:
    generator = torch.Generator().manual_seed(trial.seed)
    for _ in range(trial.epochs):
        order = train[torch.randperm(len(train), generator=generator)]
        for start in range(0, len(order), size):
            yield order[start : start + size]
