"""A trial: one network, trained once with one activation, one learning rate and one seed."""

import copy
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from softplus.lab import activations, tasks
from softplus.lab.measures import Measures, UpdatePath, measure

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


@dataclass(frozen=True)
class Outcome:
    """What came out of a trial.

    `validation` is the best metric on that split, and `test` is the metric of the same state on
    the test split. `curve` holds (step, validation metric). `steps_to_goal` and `diverged_at` are
    None where that never happened, `measures` where the trial is not measured.
    """

    validation: float
    test: float
    steps_to_goal: int | None
    diverged_at: int | None
    curve: tuple[tuple[int, float], ...]
    measures: Measures | None = None


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


def run(trial: Trial) -> Outcome:
    """Train as the trial says and return what came out.

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
    path = UpdatePath(model) if trial.measured else None
    watch = _Watch(task, model, inputs[validation], task.targets[validation])
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
        if step % _LOOK_EVERY == 0:
            watch.look(step)

    model.load_state_dict(watch.best_state)
    with torch.no_grad():
        final = task.metric(model(inputs[test]), task.targets[test])
    return Outcome(
        validation=watch.best,
        test=final,
        steps_to_goal=watch.steps_to_goal,
        diverged_at=diverged_at,
        curve=tuple(watch.curve),
        measures=measure(model, activation, inputs, path) if path else None,
    )


class _Watch:
    """Looks at the validation split during a training and keeps the best state."""

    best: float
    best_state: dict[str, Tensor]

    def __init__(self, task: tasks.Task, model: nn.Module, inputs: Tensor, targets: Tensor) -> None:
        self._task, self._model = task, model
        self._inputs, self._targets = inputs, targets
        self.curve: list[tuple[int, float]] = []
        self.steps_to_goal: int | None = None
        self.look(0)

    def look(self, step: int) -> None:
        """Take the metric after so many steps."""
        with torch.no_grad():
            metric = self._task.metric(self._model(self._inputs), self._targets)
        self.curve.append((step, metric))
        if self.steps_to_goal is None and not self._task.better(self._task.goal, metric):
            self.steps_to_goal = step
        if step == 0 or self._task.better(metric, self.best):
            self.best, self.best_state = metric, copy.deepcopy(self._model.state_dict())


def _batches(train: Tensor, trial: Trial, size: int) -> Iterator[Tensor]:
    generator = torch.Generator().manual_seed(trial.seed)
    for _ in range(trial.epochs):
        order = train[torch.randperm(len(train), generator=generator)]
        for start in range(0, len(order), size):
            yield order[start : start + size]
