"""The tasks: a data set, a loss, a metric, and the network's last layer."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import torch
from sklearn import datasets
from torch import Tensor, nn

from softplus.lab.errors import UsageError, unknown
from softplus.modules import Softplus


@dataclass(frozen=True)
class Task:
    """A data set and what it asks of a network.

    `loss` and `metric` take (outputs, targets) and return one number; `goal` is the validation
    metric that "steps to a target" counts to, and `margin` the difference in the metric below
    which two activations count as equivalent in practice. Metrics are in `unit`. `standardise`
    brings every column to mean 0 and variance 1 on the training rows.
    """

    name: str
    title: str
    inputs: Tensor
    targets: Tensor
    outputs: int
    head: Callable[[], nn.Module]
    loss: Callable[[Tensor, Tensor], Tensor]
    metric: Callable[[Tensor, Tensor], float]
    metric_name: str
    unit: str
    higher_is_better: bool
    goal: float
    margin: float
    epochs: int
    learning_rates: tuple[float, ...]
    batch_size: int = 64
    standardise: bool = True

    def __post_init__(self) -> None:
        for name, values in (("inputs", self.inputs), ("targets", self.targets)):
            bad = ~torch.isfinite(values.double()).reshape(len(values), -1).all(dim=1)
            if bad.any():
                raise UsageError(
                    f"task {self.name}: {int(bad.sum())} of {len(values)} rows have a NaN or "
                    f"infinite value in the {name} (first: row {int(bad.nonzero()[0])}); drop or "
                    "fill them first"
                )

    def better(self, metric: float, other: float) -> bool:
        """Whether the first metric is strictly better than the second."""
        return metric > other if self.higher_is_better else metric < other

    def prepared(self, train: Tensor) -> Tensor:
        """Return the inputs as the network sees them; constant columns become 0."""
        if not self.standardise:
            return self.inputs
        scale, mean = torch.std_mean(self.inputs[train], dim=0, correction=0)
        return (self.inputs - mean) / torch.where(scale > 0, scale, torch.inf)

    @property
    def difference_unit(self) -> str:
        """The unit of a difference in the metric: of percentages it is points."""
        return "points" if self.unit == "%" else self.unit

    @property
    def rows(self) -> dict[str, int]:
        """How many rows every split has for training, validation and test."""
        fifth = len(self.inputs) // 5
        return {"train": len(self.inputs) - 2 * fifth, "validation": fifth, "test": fifth}

    @property
    def test_ratio(self) -> float:
        """The size of the test split over that of the training split."""
        return self.rows["test"] / self.rows["train"]

    def split(self, seed: int) -> tuple[Tensor, Tensor, Tensor]:
        """Return the rows that a seed draws for training (60%), validation and test (20% each)."""
        order = torch.randperm(len(self.inputs), generator=torch.Generator().manual_seed(seed))
        fifth = self.rows["test"]
        return order[2 * fifth :], order[:fifth], order[fifth : 2 * fifth]


def _digits() -> Task:
    data = datasets.load_digits()
    return Task(
        name="digits",
        title="1,797 handwritten digits of 8 by 8 pixels, ten classes",
        inputs=torch.tensor(data.data / 16, dtype=torch.float32),
        targets=torch.tensor(data.target),
        outputs=10,
        head=nn.Identity,
        loss=nn.functional.cross_entropy,
        metric=lambda outputs, targets: float(
            (outputs.argmax(dim=1) == targets).double().mean() * 100
        ),
        metric_name="accuracy",
        unit="%",
        higher_is_better=True,
        goal=90.0,
        margin=1.0,
        epochs=30,
        learning_rates=(3e-4, 1e-3, 3e-3, 1e-2, 3e-2),
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


def gaussian_nll(outputs: Tensor, targets: Tensor) -> Tensor:
    """Return the mean negative log-likelihood, in nats, of targets under N(mean, scale²)."""
    mean, scale = outputs.unbind(dim=1)
    loss: Tensor = nn.functional.gaussian_nll_loss(mean, targets, scale**2, full=True)
    return loss


def _diabetes() -> Task:
    data = datasets.load_diabetes(scaled=False)
    return Task(
        name="diabetes",
        title="442 patients, ten measurements, disease progression after a year (25 to 346)",
        inputs=torch.tensor(data.data, dtype=torch.float32),
        targets=torch.tensor(data.target, dtype=torch.float32),
        outputs=2,
        head=lambda: PositiveMeanAndScale(unit=100.0),
        loss=gaussian_nll,
        metric=lambda outputs, targets: float(gaussian_nll(outputs.double(), targets.double())),
        metric_name="negative log-likelihood",
        unit="nats",
        higher_is_better=False,
        goal=5.6,
        margin=0.05,
        epochs=60,
        learning_rates=(3e-4, 1e-3, 3e-3, 1e-2, 3e-2),
        batch_size=32,
    )


_TASKS: dict[str, Callable[[], Task]] = {"digits": _digits, "diabetes": _diabetes}
NAMES = tuple(_TASKS)


@cache
def load(name: str) -> Task:
    """Return the task of that name, with its data.

    Raises:
        UsageError: The name is unknown, or the data hold a NaN or infinite value.
    """
    if name not in _TASKS:
        raise unknown("task", name, _TASKS)
    return _TASKS[name]()
