"""The ways in which a seed draws training, validation and test rows: 60%, 20% and 20%."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
import torch
from sklearn.model_selection import GroupShuffleSplit, train_test_split
from torch import Tensor

from softplus.lab.errors import UsageError
from softplus.lab.problems.torch_problem import Split

_SHARE = 0.2
# Fewer groups give a part of one group or none.
_FEWEST_GROUPS = 10


class Splitter(ABC):
    """Draws the rows of each part."""

    notes: tuple[str, ...] = ()

    @abstractmethod
    def split(self, seed: int) -> Split:
        """Return the rows that a seed draws for each part."""


@dataclass(frozen=True)
class AtRandom(Splitter):
    """Row by row, or, given classes, with the same share of each class in every part."""

    rows: int
    classes: np.ndarray | None = None

    def split(self, seed: int) -> Split:
        """Return the rows that a seed draws for each part."""
        rest, test = self._cut(np.arange(self.rows), _SHARE, seed)
        train, validation = self._cut(rest, _SHARE / (1 - _SHARE), seed)
        return _as_split(train, validation, test)

    def _cut(self, rows: np.ndarray, share: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
        classes = None if self.classes is None else self.classes[rows]
        large, small = train_test_split(rows, test_size=share, random_state=seed, stratify=classes)
        return large, small


@dataclass(frozen=True)
class ByGroup(Splitter):
    """Whole groups, so that no group is in two parts."""

    groups: np.ndarray
    name: str

    def __post_init__(self) -> None:
        count = len(np.unique(self.groups))
        if count < _FEWEST_GROUPS:
            raise UsageError(
                f"--group {self.name} has {count} groups, and a split that cuts none needs at "
                f"least {_FEWEST_GROUPS}"
            )

    @property
    def notes(self) -> tuple[str, ...]:  # type: ignore[override]
        """What it does, in words."""
        count = len(np.unique(self.groups))
        return (f"a split cuts none of the {count:,} groups of {self.name}",)

    def split(self, seed: int) -> Split:
        """Return the rows that a seed draws for each part."""
        rest, test = self._cut(np.arange(len(self.groups)), _SHARE, seed)
        train, validation = self._cut(rest, _SHARE / (1 - _SHARE), seed)
        return _as_split(train, validation, test)

    def _cut(self, rows: np.ndarray, share: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
        cut = GroupShuffleSplit(n_splits=1, test_size=share, random_state=seed)
        large, small = next(cut.split(rows, groups=self.groups[rows]))
        return rows[large], rows[small]


@dataclass(frozen=True)
class InTime(Splitter):
    """The earliest rows train and the latest are the test, whatever the seed.

    Rows of one time stay together.
    """

    times: np.ndarray
    name: str

    @property
    def notes(self) -> tuple[str, ...]:  # type: ignore[override]
        """What it does, in words."""
        note = (
            f"training on the earliest rows by {self.name}, validation on later ones, the test on "
            "the latest; the split is the same for every seed, so only weights and order vary"
        )
        return (note,)

    def split(self, seed: int) -> Split:
        """Return the rows of each part."""
        del seed
        order = np.argsort(self.times, kind="stable")
        ordered = self.times[order]
        cuts = [
            int(np.searchsorted(ordered, ordered[int(len(ordered) * share)]))
            for share in (1 - 2 * _SHARE, 1 - _SHARE)
        ]
        train, validation, test = np.split(order, cuts)
        if not all(map(len, (train, validation, test))):
            raise UsageError(
                f"--time {self.name} has too many rows of one time: a split that cuts none would "
                "leave a part empty"
            )
        return _as_split(train, validation, test)


def _as_split(*parts: np.ndarray) -> Split:
    tensors: list[Tensor] = [torch.from_numpy(np.ascontiguousarray(part)) for part in parts]
    return Split(*tensors)
