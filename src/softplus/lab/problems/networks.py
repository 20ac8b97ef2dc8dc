"""Fully connected networks on rows of numbers, among them the built-in digits and diabetes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from typing import Any

import torch
from sklearn import datasets
from torch import Tensor, nn

from softplus.lab import training
from softplus.lab.activations import Activation
from softplus.lab.errors import UsageError
from softplus.lab.problems import scores
from softplus.lab.problems.problem import Metric
from softplus.lab.problems.torch_problem import Examples, Split, TorchProblem
from softplus.lab.trials import Outcome, Trial
from softplus.modules import Softplus

# 16 GB with gradients and Adam's state.
_MOST_WEIGHTS = 10**9


@dataclass(frozen=True)
class Data:
    """Rows of numbers, and what is asked of a network on them.

    `losses` takes outputs and targets, (..., rows, outputs) and (..., rows), and gives the loss of
    each row; `metric` gives one number. `standardise` brings every column of the inputs to mean 0
    and variance 1 on the training rows; `flags`, of 0 and 1, are left as they are. Inputs with
    `missing` values have NaN there.
    """

    inputs: Tensor
    targets: Tensor
    outputs: int
    head: Callable[[], nn.Module]
    losses: Callable[[Tensor, Tensor], Tensor]
    metric: Callable[[Tensor, Tensor], float]
    standardise: bool = True
    flags: Tensor | None = None
    missing: bool = False

    def __post_init__(self) -> None:
        for name, values in (("inputs", self.inputs), ("targets", self.targets)):
            if self.missing and name == "inputs":
                continue
            bad = ~torch.isfinite(values.double()).reshape(len(values), -1).all(dim=1)
            if bad.any():
                raise UsageError(
                    f"{int(bad.sum())} of {len(values)} rows have a NaN or infinite value in the "
                    f"{name} (first: row {int(bad.nonzero()[0])}); drop or fill them first"
                )

    def prepared(self, train: Tensor) -> Tensor:
        """Return the inputs as the network sees them; constant columns become 0.

        A missing value becomes the median of the training rows.
        """
        inputs = self.inputs
        if self.missing:
            medians = inputs[train].nanmedian(dim=0).values.nan_to_num()
            inputs = torch.where(inputs.isnan(), medians, inputs)
        if self.standardise:
            scale, mean = torch.std_mean(inputs[train], dim=0, correction=0)
            inputs = (inputs - mean) / torch.where(scale > 0, scale, torch.inf)
        return inputs if self.flags is None else torch.cat([inputs, self.flags], dim=1)

    @property
    def columns(self) -> int:
        """How many numbers a row is to the network."""
        return self.inputs.shape[1] + (0 if self.flags is None else self.flags.shape[1])

    def hash(self) -> str:
        """Return a name of the numbers themselves."""
        digest = sha256()
        for values in (self.inputs, self.targets):
            digest.update(values.numpy().tobytes())
        return digest.hexdigest()


@dataclass(frozen=True)
class Rows:
    """The rows of a data set as the network sees them."""

    inputs: Tensor
    targets: Tensor

    def batch(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Return the inputs and the targets of these rows."""
        return self.inputs[rows], self.targets[rows]


@dataclass(frozen=True, kw_only=True)
class Network(TorchProblem):
    """A chain of linear layers with the arm's activation between them, on a built-in data set."""

    depth: int = 3
    width: int = 64

    def __post_init__(self) -> None:
        for name in ("depth", "width", "epochs"):
            if getattr(self, name) < 1:
                raise UsageError(f"--{name} must be at least 1, got {getattr(self, name)}")
        if self.depth * self.width**2 > _MOST_WEIGHTS:
            raise UsageError(
                f"--depth {self.depth} and --width {self.width} make a network of more than "
                f"{_MOST_WEIGHTS:,} weights: choose a smaller one"
            )

    @property
    def data(self) -> Data:
        """The data set, loaded once a process."""
        return _DATA[self.name]()

    @property
    def identity(self) -> dict[str, Any]:
        """What decides an outcome besides the trial."""
        return {
            "problem": self.name,
            "data": self.data.hash(),
            "depth": self.depth,
            "width": self.width,
            "epochs": self.epochs,
            "batch_size": self.batch_size,
        }

    @property
    def training(self) -> str:
        """How it trains, in a few words."""
        return (
            f"{self.depth} hidden layers of {self.width}, {self.epochs} epochs, "
            f"batches of {self.batch_size}"
        )

    @property
    def parts(self) -> dict[str, int]:
        """How many rows every split has: 60%, 20% and 20%."""
        fifth = len(self.data.inputs) // 5
        return {"train": len(self.data.inputs) - 2 * fifth, "validation": fifth, "test": fifth}

    def split(self, seed: int) -> Split:
        """Return the rows that a seed draws for each part."""
        count = len(self.data.inputs)
        order = torch.randperm(count, generator=torch.Generator().manual_seed(seed))
        fifth = count // 5
        return Split(order[2 * fifth :], order[:fifth], order[fifth : 2 * fifth])

    def examples(self, train: Tensor) -> Rows:
        """Return the rows, prepared by the training rows."""
        return Rows(self.data.prepared(train), self.data.targets)

    def model(self, activation: Activation) -> nn.Sequential:
        """Return `depth` hidden layers of `width` units, and the data's last layer."""
        layers: list[nn.Module] = []
        inputs = self.data.columns
        for _ in range(self.depth):
            layers += [nn.Linear(inputs, self.width), activation.build()]
            inputs = self.width
        layers += [nn.Linear(inputs, self.data.outputs), self.data.head()]
        model = nn.Sequential(*layers)
        activation.initialise(model)
        return model

    def losses(self, model: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
        """Return the loss of each example."""
        return self.data.losses(model(inputs), targets)

    def score(self, model: nn.Module, examples: Examples, rows: Tensor) -> float:
        """Return the data's metric on these rows."""
        inputs, targets = examples.batch(rows)
        with torch.no_grad():
            return self.judge(model(inputs), targets)

    @property
    def judges_outputs(self) -> bool:
        """Whether `judge` gives what `score` would: a subclass may have a score of its own."""
        return type(self).score is Network.score

    def judge(self, outputs: Tensor, targets: Tensor) -> float:
        """Return the data's metric of outputs."""
        return self.data.metric(outputs, targets)

    def run(self, trials: Sequence[Trial]) -> list[Outcome]:
        """Train every trial."""
        return training.run(self, trials)


@cache
def _digits() -> Data:
    data = datasets.load_digits()
    return Data(
        inputs=torch.tensor(data.data / 16, dtype=torch.float32),
        targets=torch.tensor(data.target),
        outputs=10,
        head=nn.Identity,
        losses=scores.cross_entropies,
        metric=scores.accuracy,
        # A pixel that is almost never inked would become an outlier of thirty deviations.
        standardise=False,
    )


class PositiveMeanAndScale(nn.Module):
    """The last layer of a Gaussian regression: two Softplus outputs, mean and scale.

    Both are in units of `unit`; the scale has a floor of 1% of it, below which a Gaussian
    likelihood would reward memorising a point.
    """

    def __init__(self, unit: float) -> None:
        super().__init__()
        self.unit = unit
        self.positive = Softplus()

    def forward(self, input: Tensor) -> Tensor:
        floor = torch.tensor([0.0, 0.01])
        result: Tensor = self.unit * (self.positive(input) + floor)
        return result


@cache
def _diabetes() -> Data:
    data = datasets.load_diabetes(scaled=False)
    return Data(
        inputs=torch.tensor(data.data, dtype=torch.float32),
        targets=torch.tensor(data.target, dtype=torch.float32),
        outputs=2,
        head=lambda: PositiveMeanAndScale(unit=100.0),
        losses=scores.gaussian_nll,
        metric=scores.mean_gaussian_nll,
    )


_DATA: dict[str, Callable[[], Data]] = {"digits": _digits, "diabetes": _diabetes}
_GRID = (3e-4, 1e-3, 3e-3, 1e-2, 3e-2)


def digits(**changes: Any) -> Network:
    """Return the built-in classification."""
    return Network(
        **{
            "name": "digits",
            "title": "1,797 handwritten digits of 8 by 8 pixels, ten classes",
            "metric": Metric("accuracy", "%", higher_is_better=True, margin=1.0, goal=90.0),
            "learning_rates": _GRID,
            "test_ratio": 359 / 1079,
            "rows": 1797,
            # Ten leave an interval of 1.8 points, 20 one of 0.9, 30 one of 0.7 for 30% more time.
            "seeds": 20,
            "things": "handwritten digits",
            "epochs": 30,
            "batch_size": 64,
            **changes,
        }
    )


def diabetes(**changes: Any) -> Network:
    """Return the built-in regression of a positive target."""
    return Network(
        **{
            "name": "diabetes",
            "title": "442 patients, ten measurements, disease progression after a year (25 to 346)",
            "metric": Metric(
                "negative log-likelihood", "nats", higher_is_better=False, margin=0.05, goal=5.6
            ),
            "learning_rates": _GRID,
            "test_ratio": 88 / 266,
            "rows": 442,
            "things": "patients",
            "epochs": 60,
            "batch_size": 32,
            **changes,
        }
    )
