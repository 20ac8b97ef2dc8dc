"""What the data() of a task file may return, as examples that can be drawn by their number."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import (
    ConcatDataset,
    DataLoader,
    Dataset,
    IterableDataset,
    TensorDataset,
    default_collate,
)

from softplus.lab.errors import UsageError
from softplus.lab.problems.torch_problem import Split

_ALLOWED = (
    "a pair (inputs, targets) of tensors or arrays, a Dataset, a DataLoader, or two or three of "
    "those: (train, test) or (train, validation, test)"
)
_TARGETS = ("labels", "label", "targets", "target")
_FEWEST = 10


@dataclass(frozen=True)
class Collection:
    """Examples in one row; `lengths` are of the parts that they come in: 1, 2 or 3."""

    items: Dataset[Any]
    collate: Callable[[list[Any]], Any]
    lengths: tuple[int, ...]

    def __len__(self) -> int:
        return sum(self.lengths)

    def batch(self, rows: Tensor) -> tuple[Any, Any]:
        """Return the inputs and the targets of these examples."""
        if isinstance(self.items, TensorDataset):
            inputs, targets = self.items[rows]
            return inputs, targets
        found = self.collate([self.items[row] for row in rows.tolist()])
        if isinstance(found, Mapping):
            name = next((name for name in _TARGETS if name in found), None)
            if name is None:
                raise UsageError(
                    f"an example of data() is a mapping of {', '.join(map(str, found))}, and one "
                    f"of {', '.join(_TARGETS)} must be among them"
                )
            return {key: value for key, value in found.items() if key != name}, found[name]
        if not isinstance(found, Sequence) or len(found) != 2:
            raise UsageError(
                "an example of data() must be a pair (input, target), or a mapping with labels; "
                f"got {type(found).__name__}"
            )
        return found[0], found[1]

    def split(self, seed: int) -> Split:
        """Return what a seed draws: all three parts, or validation alone where a test is given."""
        generator = torch.Generator().manual_seed(seed)
        order = torch.randperm(self.lengths[0], generator=generator)
        ends = [self.lengths[0], sum(self.lengths[:2]), len(self)]
        if len(self.lengths) == 3:
            return Split(order, torch.arange(*ends[:2]), torch.arange(*ends[1:]))
        fifth = max(1, self.lengths[0] // 5)
        if len(self.lengths) == 2:
            return Split(order[fifth:], order[:fifth], torch.arange(*ends[:2]))
        return Split(order[2 * fifth :], order[:fifth], order[fifth : 2 * fifth])

    def hash(self) -> str:
        """Return a name of the numbers, where they are all at hand, else of how many there are."""
        digest = hashlib.sha256(repr(self.lengths).encode())
        if isinstance(self.items, TensorDataset):
            for tensor in self.items.tensors:
                digest.update(tensor.contiguous().view(torch.uint8).numpy().tobytes())
        return digest.hexdigest()


def collect(data: Any) -> Collection:
    """Return the examples of what a data() returned.

    Raises:
        UsageError: It is none of what is allowed, or there is too little of it.
    """
    parts = [data] if _is_part(data) else list(data) if isinstance(data, (tuple, list)) else []
    if not (1 <= len(parts) <= 3 and all(_is_part(part) for part in parts)):
        raise UsageError(f"data() must return {_ALLOWED}; got {_described(data)}")
    loaders = [part for part in parts if isinstance(part, DataLoader)]
    collate = loaders[0].collate_fn if loaders else default_collate
    sets = [_as_dataset(part) for part in parts]
    lengths = tuple(len(each) for each in sets)  # type: ignore[arg-type]  # _as_dataset has looked
    if sum(lengths) < _FEWEST or 0 in lengths:
        raise UsageError(f"data() has too few examples: {', '.join(map(str, lengths))}")
    return Collection(_joined(sets), collate, lengths)


def _is_part(data: Any) -> bool:
    if isinstance(data, (Dataset, DataLoader)):
        return True
    return (
        isinstance(data, (tuple, list))
        and len(data) == 2
        and all(isinstance(each, (Tensor, np.ndarray)) for each in data)
    )


def _described(data: Any) -> str:
    if isinstance(data, (tuple, list)):
        return f"{type(data).__name__} of {', '.join(type(each).__name__ for each in data)}"
    return type(data).__name__


def _as_dataset(part: Any) -> Dataset[Any]:
    if isinstance(part, DataLoader):
        part = part.dataset
    if isinstance(part, IterableDataset) or (isinstance(part, Dataset) and not _has_length(part)):
        raise UsageError(
            f"data() returns {type(part).__name__}, whose examples have no numbers, and each seed "
            "draws them by number: return a Dataset with __len__ and __getitem__"
        )
    if isinstance(part, Dataset):
        return part
    tensors = [torch.as_tensor(each) for each in part]
    if len(tensors[0]) != len(tensors[1]):
        raise UsageError(
            f"data() returns {len(tensors[0])} inputs and {len(tensors[1])} targets: one each"
        )
    floats = [each.float() if each.dtype == torch.float64 else each for each in tensors]
    return TensorDataset(*floats)


def _has_length(part: Any) -> bool:
    return hasattr(part, "__len__") and hasattr(part, "__getitem__")


def _joined(sets: list[Dataset[Any]]) -> Dataset[Any]:
    """Return the sets one after the other, as tensors where they all are."""
    tensors = [each.tensors for each in sets if isinstance(each, TensorDataset)]
    if len(tensors) == len(sets) and all(len(each) == 2 for each in tensors):
        return TensorDataset(*(torch.cat(columns) for columns in zip(*tensors, strict=True)))
    return sets[0] if len(sets) == 1 else ConcatDataset(sets)
