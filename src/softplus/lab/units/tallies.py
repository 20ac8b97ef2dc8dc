"""The figures of one call of an activation, gathered batch by batch."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from softplus.lab.measures import DEAD_BELOW
from softplus.lab.units.families import RELU, WRITING, Family

# Outputs of fewer elements are gathered to this number before they are looked at: a look takes ten
# calls, as long as a small layer.
_GATHERED = 65_536


class Tally:
    """The figures of one call so far, per unit, and the small inputs that are not yet looked at."""

    def __init__(self, family: Family, axis: int) -> None:
        self.family, self.examples = family, 0
        self._axis = axis
        self._figures: dict[str, Tensor] = {}
        self._waiting: list[Tensor] = []
        # As it was called last; forgotten where it holds a tensor, which may be the model's.
        self._function: Any = None
        self._holds_tensor = False

    def add(self, x: Tensor, others: Sequence[Any], keywords: Mapping[str, Any]) -> None:
        """Take in the input and the other arguments of a call; what follows may write into it."""
        self._function, self._holds_tensor = self.family.function, False
        keywords = {key: value for key, value in keywords.items() if key not in WRITING}
        if others or keywords:
            values = (*others, *keywords.values())
            self._holds_tensor = any(isinstance(each, Tensor) for each in values)
            others = [_ordinary(each) for each in others]
            keywords = {key: _ordinary(value) for key, value in keywords.items()}
            self._function = partial(_call, self.family.function, others, keywords)
        if x.dim() == -self._axis:
            x = x[None]
        if self._waiting and self._waiting[0].shape[1:] != x.shape[1:]:
            self.settle()
        if x.numel() >= _GATHERED:
            self._look(x)
            return
        self._waiting.append(x.clone())
        if len(self._waiting) * x.numel() >= _GATHERED:
            self.settle()

    def settle(self) -> None:
        """Look at the inputs that wait, and keep nothing of the model alive."""
        if self._waiting:
            self._look(torch.cat(self._waiting))
            self._waiting.clear()
        if self._holds_tensor:
            self._function = None

    @torch.inference_mode(mode=False)
    def figures(self) -> dict[str, Tensor]:
        """Return the figures per unit: highest and lowest input, steepest slope, outputs."""
        self.settle()
        if "slope" not in self._figures:  # it is steepest at the highest input
            self._merge("slope", _slope(self._function, self._figures["highest"]), torch.maximum)
        return self._figures

    @torch.inference_mode(mode=False)
    @torch.no_grad()
    def _look(self, x: Tensor) -> None:
        others = [axis for axis in range(x.dim()) if axis - x.dim() != self._axis]
        sums = torch.promote_types(x.dtype, torch.float32)
        y = self._function(x)
        y = y if self.family is RELU else y.abs()
        self._merge("total", y.sum(others, dtype=sums), torch.add)
        # sign and sum take a sixth of the time of count_nonzero on the CPU.
        self._merge("nonzero", y.sign_().sum(others, dtype=sums), torch.add)
        highest, lowest = x.amax(others), x.amin(others)
        self._merge("highest", highest, torch.maximum)
        self._merge("lowest", lowest, torch.minimum)
        if self._holds_tensor:
            self._merge("slope", _slope(self._function, x).amax(others), torch.maximum)
        elif not self.family.rising:
            for some in (highest, lowest):
                self._merge("slope", _slope(self._function, some), torch.maximum)
            doubtful = self._figures["slope"] < DEAD_BELOW
            if doubtful.any():  # elsewhere one steep value has settled it
                values = x.movedim(self._axis, 0)[doubtful].flatten(1)
                slope = self._figures["slope"]
                slope[doubtful] = _slope(self._function, values).amax(1).to(slope)
        self.examples += x.numel() // highest.numel()

    def _merge(self, name: str, new: Tensor, how: Callable[[Tensor, Tensor], Tensor]) -> None:
        new = new if new.is_mps else new.double()  # MPS has no float64
        old = self._figures.get(name)
        self._figures[name] = new if old is None else how(old, new)


def _ordinary(value: Any) -> Any:
    """Return a tensor that autograd takes as a constant; anything else as it is."""
    if not isinstance(value, Tensor):
        return value
    with torch.inference_mode(mode=False):
        return value.clone() if value.is_inference() else value.detach()


def _call(function: Any, others: Any, keywords: Any, x: Tensor) -> Any:
    return function(x, *others, **keywords)


def _slope(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    with torch.enable_grad():
        x = _ordinary(x).requires_grad_()
        (slope,) = torch.autograd.grad(function(x).sum(), x)
    return slope.abs_()
