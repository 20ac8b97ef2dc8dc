"""Training: one model, trained once as a trial says, watched on the validation split."""

import copy
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from softplus.lab import activations
from softplus.lab.measures import UpdatePath, measure
from softplus.lab.problems.torch_problem import Examples, TorchProblem
from softplus.lab.trials import Outcome, Trial


def run(problem: TorchProblem, trial: Trial) -> Outcome:
    """Train as the trial says and return what came out.

    The state judged is the one with the best validation metric; its test metric is the result.
    A loss that is no longer finite ends the training, and the best state before it counts.
    """
    activation = activations.parse(trial.arm)
    train, validation, test = problem.split(trial.seed)
    examples = problem.examples(train)

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(trial.seed)
        model = problem.model(activation)
    optimizer = problem.optimizer(model.parameters(), trial.learning_rate)
    path = UpdatePath(model) if trial.measured else None
    after_step = activation.begin(model, problem.steps)
    watch = _Watch(problem, model, examples, validation)
    diverged_at = None
    for step, batch in enumerate(_batches(problem, train, trial.seed), start=1):
        loss = problem.loss(model, *examples.batch(batch))
        if not torch.isfinite(loss):
            diverged_at = step
            break
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        if path:
            path.follow()
        optimizer.step()
        after_step()
        if step % problem.look_every == 0:
            watch.look(step)

    if not activation.anneals:
        model.load_state_dict(watch.best_state)
    model = activation.finish(model)
    everything = torch.arange(len(train) + len(validation) + len(test))
    return Outcome(
        validation=watch.best,
        test=problem.score(model, examples, test),
        steps_to_goal=watch.steps_to_goal,
        diverged_at=diverged_at,
        curve=tuple(watch.curve),
        measures=measure(model, activation, examples.batch(everything)[0], path) if path else None,
    )


class _Watch:
    """Looks at the validation split during a training and keeps the best state."""

    best: float
    best_state: dict[str, Tensor]

    def __init__(
        self, problem: TorchProblem, model: nn.Module, examples: Examples, rows: Tensor
    ) -> None:
        self._problem, self._model = problem, model
        self._examples, self._rows = examples, rows
        self.curve: list[tuple[int, float]] = []
        self.steps_to_goal: int | None = None
        self.look(0)

    def look(self, step: int) -> None:
        """Take the metric after so many steps."""
        metric = self._problem.score(self._model, self._examples, self._rows)
        judged = self._problem.metric
        self.curve.append((step, metric))
        if self.steps_to_goal is None and judged.goal is not None:
            self.steps_to_goal = None if judged.better(judged.goal, metric) else step
        if step == 0 or judged.better(metric, self.best):
            self.best, self.best_state = metric, copy.deepcopy(self._model.state_dict())


def _batches(problem: TorchProblem, train: Tensor, seed: int) -> Iterator[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    for _ in range(problem.epochs):
        order = train[torch.randperm(len(train), generator=generator)]
        yield from torch.split(order, problem.batch_size)
