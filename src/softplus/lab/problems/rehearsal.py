"""A step of each arm before a study: what is wrong shows at once, and how long it will take."""

import time
from collections.abc import Sequence
from contextlib import nullcontext

import torch

from softplus.lab import timing
from softplus.lab.activations import Activation
from softplus.lab.errors import UsageError, their_code
from softplus.lab.problems.problem import Problem
from softplus.lab.problems.task_file import TaskFile
from softplus.lab.problems.torch_problem import TorchProblem

_STEPS = 3


def rehearse(problem: Problem, arms: Sequence[Activation]) -> float | None:
    """Return about how many seconds a training of the slowest arm takes, None where unknown.

    Raises:
        UsageError: An arm cannot be built or trained, or no arm has a finite loss.
    """
    if not isinstance(problem, TorchProblem):
        return None
    theirs = their_code(f"training {problem.name}") if isinstance(problem, TaskFile) else None
    with theirs or nullcontext(), timing.threads(1), torch.random.fork_rng(devices=[]):
        found = [_train_a_little(problem, arm) for arm in arms]
    if not any(finite for _, finite in found):
        raise UsageError(
            f"the loss of {problem.name} is not a finite number at the first step: look for NaN or "
            "huge values in the data, the loss and the initial weights"
        )
    return max(seconds for seconds, _ in found)


def _train_a_little(problem: TorchProblem, arm: Activation) -> tuple[float, bool]:
    """Return the seconds of a whole training at this pace, and whether the first loss is finite."""
    torch.manual_seed(0)
    split = problem.split(0)
    examples = problem.examples(split.train)
    model = problem.model(arm)
    rates = problem.learning_rates
    optimizer = problem.optimizer(model.parameters(), rates[len(rates) // 2] if rates else None)
    rows = split.train[: problem.batch_size]
    steps, finite = [], True
    for number in range(_STEPS):
        start = time.perf_counter()
        optimizer.zero_grad()
        loss = problem.loss(model, *examples.batch(rows))
        if not loss.requires_grad:
            raise UsageError(
                f"the loss of {problem.name} does not depend on the model's parameters"
            )
        torch.autograd.backward(loss)
        optimizer.step()
        steps.append(time.perf_counter() - start)
        finite = finite and (number > 0 or bool(torch.isfinite(loss)))
    start = time.perf_counter()
    model.eval()
    problem.score(model, examples, split.validation)
    look = time.perf_counter() - start
    return problem.steps * (min(steps) + look / problem.look_every), finite
