"""A task file: Python of the user's that defines model() and data(), and what else it likes."""

import difflib
import hashlib
import importlib.util
import inspect
import random
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from softplus import samples
from softplus.conversion import convert, find_sites
from softplus.lab import training
from softplus.lab.activations import Activation
from softplus.lab.errors import UsageError, their_code
from softplus.lab.problems import task_options
from softplus.lab.problems.adam import Optimizer
from softplus.lab.problems.datasets import Collection, collect
from softplus.lab.problems.torch_problem import Examples, Split, TorchProblem, usual_training
from softplus.lab.trials import Outcome, Trial

# Rows that the model is given at a time where it is only judged.
_JUDGED_AT_ONCE = 1024


@dataclass(frozen=True, kw_only=True)
class TaskFile(TorchProblem):
    """Trains what a Python file defines; its ReLUs are the arm's, put there by `convert`.

    `staying` names the activations that cannot be replaced.
    """

    path: Path
    digest: str
    data_digest: str
    staying: tuple[str, ...]
    lengths: tuple[int, int, int]

    @property
    def identity(self) -> dict[str, Any]:
        """What decides an outcome besides the trial: the code, the data, and how long it trains."""
        return {
            "problem": "task file",
            "code": self.digest,
            "data": self.data_digest,
            "epochs": self.epochs,
            "batch_size": self.batch_size,
        }

    @property
    def training(self) -> str:
        """How it trains, in a few words."""
        return f"{self.epochs} epochs, batches of {self.batch_size}"

    @property
    def parts(self) -> dict[str, int]:
        """How many examples each part has."""
        return dict(zip(Split._fields, self.lengths, strict=True))

    def split(self, seed: int) -> Split:
        """Return the examples that a seed draws for each part."""
        return _collection(self.path, self.digest).split(seed)

    def examples(self, train: Tensor) -> Examples:
        """Return the data as they are."""
        del train
        return _collection(self.path, self.digest)

    def model(self, activation: Activation) -> nn.Module:
        """Return a new model with the arm's activation in the place of each ReLU."""
        model = _module(self.path, self.digest).model()
        converted = convert(model, {"relu": activation.build()}, exclude=self.staying or None)
        activation.initialise(converted)
        inputs, _ = self.examples(torch.arange(0)).batch(torch.arange(1))
        return converted if isinstance(inputs, Tensor) else Called(converted)

    def losses(self, model: nn.Module, inputs: Any, targets: Any) -> Tensor | None:
        """Return the usual loss of each example, None where the file has a loss of its own."""
        if hasattr(_module(self.path, self.digest), "loss") or not isinstance(inputs, Tensor):
            return None
        sample, _ = self.examples(torch.arange(0)).batch(torch.arange(1))
        return task_options.usual_losses(
            model(inputs), targets, leading=inputs.dim() - sample.dim() + 1
        )

    def loss(self, model: nn.Module, inputs: Any, targets: Any) -> Tensor:
        """Return the file's loss, or the usual one for targets of this kind."""
        loss: Any = getattr(_module(self.path, self.digest), "loss", task_options.usual_loss)
        with_model = task_options.takes_the_model(loss)
        value: Tensor = loss(model, inputs, targets) if with_model else loss(model(inputs), targets)
        return value

    def score(self, model: nn.Module, examples: Examples, rows: Tensor) -> float:
        """Return the file's metric over these examples, or the usual one."""
        metric = task_options.metric(_module(self.path, self.digest), self.metric.name)
        few = torch.split(rows, _JUDGED_AT_ONCE)
        batches = [examples.batch(each) for each in few]
        if task_options.takes_the_model(metric):
            values = [_number(metric(model, *batch)) for batch in batches]
            return sum(v * len(each) for v, each in zip(values, few, strict=True)) / len(rows)
        with torch.no_grad():
            outputs = torch.cat([model(inputs) for inputs, _ in batches])
            return _number(metric(outputs, torch.cat([targets for _, targets in batches])))

    def optimizer(self, parameters: Iterable[nn.Parameter], rate: float | None) -> Optimizer:
        """Return the file's optimizer, or Adam."""
        own = getattr(_module(self.path, self.digest), "optimizer", None)
        if own is None:
            return super().optimizer(parameters, rate)
        made: torch.optim.Optimizer = own(parameters) if rate is None else own(parameters, lr=rate)
        return made

    @property
    def own_optimizer(self) -> bool:
        """Whether the file has an optimizer."""
        return hasattr(_module(self.path, self.digest), "optimizer")

    def run(self, trials: Sequence[Trial]) -> list[Outcome]:
        """Train every trial."""
        return training.run(self, trials)


def _number(value: Any) -> float:
    return float(value.detach() if isinstance(value, Tensor) else value)


class Called(nn.Module):
    """A model that takes several arguments, or names them, as one of a single argument."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, inputs: Any) -> Any:
        named = isinstance(inputs, Mapping)
        outputs = self.model(**inputs) if named else self.model(*inputs)
        return getattr(outputs, "logits", outputs)  # of a transformers model


def load(path: Path, **changes: int) -> TaskFile:
    """Return the problem that a Python file defines.

    Args:
        path: The file. It defines `model()`, which returns a PyTorch model with ReLUs, and
            `data()`; see `datasets.collect` for what that may return, and `task_options`.
        changes: epochs or batch_size instead of the file's.

    Raises:
        UsageError: There is no such file, something that it must define is missing or wrong, or
            it raises: then with its own traceback.
    """
    for name in ("depth", "width"):
        if name in changes:
            raise UsageError(f"--{name} is for networks of the lab's own, and {path} has its model")
    path, digest = path.absolute(), _digest(path)
    task = _module(path, digest)
    data = _collection(path, digest)
    train, validation, test = data.split(0)
    batch_size, epochs = usual_training(len(train))
    said = {
        name: task_options.positive(task, name)
        for name in ("epochs", "batch_size")
        if hasattr(task, name)
    }
    model = _model(task, path)
    with their_code(f"data() of {path.name}, asked for two examples,"):
        sample, targets = data.batch(train[:2])
    with their_code(f"model() of {path.name}, run on two examples,"), torch.no_grad():
        outputs = samples.run(samples.evaluation_copy(model), sample)
    outputs = getattr(outputs, "logits", outputs)
    staying = tuple(site.name for site in find_sites(model) if site.obstacle is not None)
    settings: dict[str, Any] = {
        "name": path.name,
        "title": f"{type(model).__name__} on {len(data):,} examples",
        "metric": task_options.judged_by(task, path, outputs, targets),
        "learning_rates": task_options.rates(task, path),
        # A test that is always the same says nothing about another one.
        "test_ratio": len(test) / len(train) if len(data.lengths) == 1 else None,
        "notes": (*_conversion_notes(model, sample, path, staying), *_other_notes(task, data)),
        "rows": len(data),
        "things": "examples",
        "epochs": epochs,
        "batch_size": batch_size,
        "path": path,
        "digest": digest,
        "data_digest": data.hash(),
        "lengths": (len(train), len(validation), len(test)),
        "staying": staying,
        **said,
        **changes,
    }
    return TaskFile(**settings)


def model_and_examples(path: Path) -> tuple[nn.Module, Collection]:
    """Return the model of a task file as it makes it, and all of its examples.

    Raises:
        UsageError: As `load` does; the model may be any.
    """
    path, digest = path.absolute(), _digest(path)
    module = _module(path, digest)
    return _model(module, path), _collection(path, digest)


def _digest(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from None


def _model(task: ModuleType, path: Path) -> nn.Module:
    with their_code(f"model() of {path.name}"):
        model = task.model()
    if not isinstance(model, nn.Module):
        raise UsageError(
            f"model() of {path.name} must return a torch.nn.Module; got {type(model).__name__}"
        )
    return model


@cache
def _module(path: Path, digest: str) -> ModuleType:
    """Return the file as a module, run once a process."""
    if hashlib.sha256(path.read_bytes()).hexdigest() != digest:
        raise UsageError(f"{path} has changed since the study began: start it again")
    # A name of its own: what is defined there must be found again by its class's module.
    name = f"softplus_task_{digest[:16]}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise UsageError(f"{path} cannot be loaded as Python")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    if str(path.parent) not in sys.path:  # what lies beside it
        sys.path.insert(0, str(path.parent))
    with their_code(path.name):
        spec.loader.exec_module(module)
    for needed in ("model", "data"):
        if not callable(getattr(module, needed, None)):
            raise UsageError(
                f"{path.name} does not define {needed}(): a task file defines model(), which "
                "returns a PyTorch model, and data()"
            )
    return module


@cache
def _collection(path: Path, digest: str) -> Collection:
    """Return the file's data; every process draws the same where they are drawn at random."""
    module = _module(path, digest)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        random.seed(0)
        np.random.seed(0)  # noqa: NPY002  # the generator that the file may use
        with their_code(f"data() of {path.name}"):
            data = module.data()
    return collect(data)


def _conversion_notes(
    model: nn.Module, sample: Any, path: Path, staying: tuple[str, ...]
) -> list[str]:
    """Return which ReLUs the arms replace, and which they cannot."""
    with their_code(f"model() of {path.name}, run on two examples,"):
        try:
            record: Any = convert(
                model, {"relu": nn.SiLU()}, sample=sample, exclude=staying or None
            ).conversion
        except ValueError as error:
            raise UsageError(f"model() of {path.name}: {error}") from None
    notes = [f"{len(record.sites)} ReLUs are the arm's: {_some(record.sites)}"]
    if left := [site for site in record.left if site.family == "relu"]:
        notes.append(f"ReLUs that stay in every arm: {_some(left)}")
    return notes


def _some(sites: Sequence[Any]) -> str:
    names = ", ".join(site.name or str(site) for site in sites[:6])
    return names + (f" and {len(sites) - 6} more" if len(sites) > 6 else "")


def _other_notes(task: ModuleType, data: Collection) -> list[str]:
    """Return how the data are split, and names that were probably meant for an option."""
    said = {1: "each seed draws 60% for training, 20% for validation and 20% for the test"}
    said[2] = "the test is data()'s, the same for every seed; each seed draws the validation"
    said[3] = "the three parts are data()'s, the same for every seed"
    notes = [said[len(data.lengths)]]
    for name, value in vars(task).items():
        own = not (name.startswith("_") or inspect.ismodule(value) or inspect.isclass(value))
        near = difflib.get_close_matches(name, task_options.OPTIONS, n=1, cutoff=0.8)
        if own and name not in task_options.OPTIONS and near and not hasattr(task, near[0]):
            notes.append(f"{name} is not read: did you mean {near[0]}?")
    return notes
