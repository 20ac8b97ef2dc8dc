"""The target of a table: what kind it is, the last layer, the loss and the metric that it takes."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl
import torch
from torch import Tensor, nn

from softplus.lab.errors import UsageError
from softplus.lab.problems import scores
from softplus.lab.problems.problem import Metric
from softplus.modules import Softplus

KINDS = ("classification", "regression")
# A column of whole numbers with at most so many different ones, each of so many rows, is classes.
_MOST_CLASSES = 20
_ROWS_A_CLASS = 5
# One for training, one for validation, one for the test.
_FEWEST_ROWS = 3
# Above this share of one class, accuracy rewards guessing it.
_LOPSIDED = 0.8
# A difference that does not matter, as a share of the target's standard deviation.
_MARGIN = 0.02


@dataclass(frozen=True)
class Target:
    """What is learned: numbers for the rows, and what is asked of a network about them."""

    values: Tensor
    outputs: int
    head: Callable[[], nn.Module]
    losses: Callable[[Tensor, Tensor], Tensor]
    score: Callable[[Tensor, Tensor], float]
    metric: Metric
    notes: tuple[str, ...]

    @property
    def classes(self) -> bool:
        """Whether it is one of a few classes."""
        return not self.values.is_floating_point()


def of(column: pl.Series, path: Path, kind: str | None = None) -> Target:
    """Return the target in a column without missing values.

    Args:
        column: Its values.
        path: The file, for messages.
        kind: "classification" or "regression"; None: what the values look like.

    Raises:
        UsageError: Nothing can be learned from it.
    """
    text = column.dtype in {pl.String, pl.Categorical, pl.Enum, pl.Boolean}
    if column.n_unique() < 2:
        raise UsageError(f"target {column.name!r} of {path} is {column[0]!r} in every row")
    if kind is None:
        kind = "classification" if text or _looks_like_classes(column) else "regression"
    if kind == "classification":
        return _classes(column, path)
    if text or not column.dtype.is_numeric():
        raise UsageError(
            f"target {column.name!r} of {path} holds {column.dtype}, and a regression takes numbers"
        )
    return _number(column, path)


def _looks_like_classes(column: pl.Series) -> bool:
    values = column.cast(pl.Float64).to_numpy() if column.dtype.is_numeric() else None
    if values is None:
        return False
    distinct = column.n_unique()
    if distinct == 2:
        return True
    whole = bool((values == np.round(values)).all())
    return whole and distinct <= _MOST_CLASSES and len(column) >= _ROWS_A_CLASS * distinct


def _classes(column: pl.Series, path: Path) -> Target:
    names, codes, counts = np.unique(
        column.cast(pl.String).to_numpy(), return_inverse=True, return_counts=True
    )
    if counts.min() < _FEWEST_ROWS:
        raise UsageError(
            f"class {names[counts.argmin()]!r} of target {column.name!r} of {path} has "
            f"{counts.min()} row{'s' if counts.min() > 1 else ''}, and each class needs "
            f"{_FEWEST_ROWS}, for training, validation and test: remove or merge it, or say "
            "--kind regression"
        )
    largest = counts.max() / counts.sum()
    notes = [f"target {column.name}: {len(names)} classes, the largest {largest:.0%} of the rows"]
    name, score, weights = "accuracy", scores.accuracy, None
    if largest > _LOPSIDED:
        name, score = "balanced accuracy", scores.balanced_accuracy
        weights = torch.tensor(counts.sum() / (len(counts) * counts), dtype=torch.float32)
        notes.append(
            "one class is so common that guessing it would look good: classes weigh alike in the "
            "loss and in the metric, balanced accuracy (the mean share found of each class)"
        )
    return Target(
        values=torch.tensor(codes),
        outputs=len(names),
        head=nn.Identity,
        losses=partial(scores.cross_entropies, weights=weights),
        score=score,
        metric=Metric(name, "%", higher_is_better=True, margin=1.0),
        notes=tuple(notes),
    )


def _number(column: pl.Series, path: Path) -> Target:
    values = column.cast(pl.Float64).to_numpy()
    if not np.isfinite(values).all():
        row = int((~np.isfinite(values)).argmax())
        raise UsageError(f"target {column.name!r} of {path} is infinite in row {row + 1}")
    spread = float(values.std())
    low, high = float(values.min()), float(values.max())
    note = f"target {column.name}: a number from {low:.4g} to {high:.4g}"
    if low > 0:
        head: Callable[[], nn.Module] = partial(Scaled, spread, 0.0, positive=True)
        note += ", strictly positive, so the last layer is a Softplus, the same for every arm"
    else:
        head = partial(Scaled, spread, float(values.mean()), positive=False)
    return Target(
        values=torch.tensor(values, dtype=torch.float32),
        outputs=1,
        head=head,
        losses=partial(scores.squared_errors, unit=spread),
        score=scores.root_mean_square,
        metric=Metric(
            "root mean square error",
            "",
            higher_is_better=False,
            margin=float(f"{_MARGIN * spread:.2g}"),
        ),
        notes=(f"{note}; its standard deviation is {spread:.4g}",),
    )


class Scaled(nn.Module):
    """The last layer of a regression: one number in units of the target's spread."""

    def __init__(self, unit: float, offset: float, *, positive: bool) -> None:
        super().__init__()
        self.unit, self.offset = unit, offset
        self.shape = Softplus() if positive else nn.Identity()

    def forward(self, input: Tensor) -> Tensor:
        result: Tensor = self.offset + self.unit * self.shape(input)
        return result
