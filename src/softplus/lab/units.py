"""Dead, dormant, sparse and always-on units: per call of an activation, whatever the model.

Nothing of a batch is kept but a few figures per unit, however many examples there are.
"""

import itertools
import os
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, FrameType, TracebackType
from typing import Any, NamedTuple, Self
from weakref import ref

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

import softplus
from softplus import samples
from softplus.conversion import finding
from softplus.conversion.sites import Kind
from softplus.lab.measures import DEAD_BELOW, DORMANT_AT

# Outputs of fewer elements are gathered to this number before they are looked at: a look takes ten
# calls, as long as a small layer.
_GATHERED = 65_536

# Arguments of activations that say where the result goes.
_WRITING = {"input", "inplace", "out"}

_LIBRARIES = tuple(f"{Path(each.__file__).parent}{os.sep}" for each in (torch, softplus))


class Family(NamedTuple):
    """An activation: its name, a function that is not in place, and how its derivative goes.

    One whose derivative never falls has its steepest slope at the largest input.
    """

    name: str
    function: Callable[..., Tensor]
    rising: bool = False


_RELU = Family("relu", torch.relu, rising=True)
_LEAKY_RELU = Family("leaky_relu", functional.leaky_relu, rising=True)
_SOFTPLUS = Family("softplus", functional.softplus, rising=True)
_ELU = Family("elu", functional.elu)

# By the function that Python calls; a call of a module ends in one of them.
_FAMILIES: dict[Any, Family] = {
    **dict.fromkeys(
        (functional.relu, torch.relu, torch.relu_, Tensor.relu, Tensor.relu_), _RELU
    ),
    **dict.fromkeys((functional.leaky_relu, functional.leaky_relu_), _LEAKY_RELU),
    **dict.fromkeys((functional.elu, functional.elu_), _ELU),
    functional.softplus: _SOFTPLUS,
    softplus.softplus: _SOFTPLUS._replace(function=softplus.softplus),
    softplus.shifted_softplus: Family("shifted_softplus", softplus.shifted_softplus, rising=True),
    **{
        function: Family(function.__name__, function)
        for function in (
            functional.celu,
            functional.selu,
            functional.gelu,
            functional.silu,
            functional.mish,
            functional.hardswish,
            functional.hardtanh,
            functional.relu6,
        )
    },
}

# What makes units, and where their axis is, counted from the end.
_UNIT_AXES: dict[Callable[..., Tensor], int] = {
    **dict.fromkeys(
        (functional.linear, functional.bilinear, torch.matmul, Tensor.matmul, Tensor.__matmul__), -1
    ),
    **dict.fromkeys((torch.mm, Tensor.mm, torch.bmm, torch.addmm, torch.baddbmm), -1),
    **dict.fromkeys((functional.layer_norm, functional.rms_norm), -1),
    **dict.fromkeys((functional.conv1d, functional.conv_transpose1d), -2),
    **dict.fromkeys((functional.conv2d, functional.conv_transpose2d), -3),
    **dict.fromkeys((functional.conv3d, functional.conv_transpose3d), -4),
}
# Their axis is the second one.
_CHANNEL_NORMS = {functional.batch_norm, functional.group_norm, functional.instance_norm}


@dataclass(frozen=True)
class Units:
    """What was seen of the units of one call of an activation.

    Attributes:
        site: The name that `find_sites` gives the call and `convert(include=...)` takes; of one that
            it does not know, the path of the module whose code makes it, and the function.
        after: The layer whose output enters, by its path: what tells the calls of one module apart.
        activation: "relu", "softplus", "gelu" and so on.
        file: The source file of a call that is no module's.
        line: The line there.
        units: How many units there are: features, or channels of a convolution.
        examples: How many values of each were seen: examples, times positions.
        dead: The units whose derivative stays below 1e-3 on all of them.
        dormant: The units whose mean absolute output is at most 2.5% of the mean over the units.
        always_on: The units whose pre-activation is always positive: with ReLU a linear layer.
        sparsity: The share of outputs that are exactly 0.
        highest: The largest pre-activation of every unit.
    """

    site: str
    after: str
    activation: str
    file: str | None
    line: int | None
    units: int
    examples: int
    dead: tuple[int, ...]
    dormant: tuple[int, ...]
    always_on: tuple[int, ...]
    sparsity: float
    highest: tuple[float, ...]


class _Call(NamedTuple):
    """Where an activation is called.

    The path of the module whose code is at work, the instruction of the user's code that called,
    whether that is the module's own, and the layer before.
    """

    path: str
    code: CodeType | None
    instruction: int
    own: bool
    after: str

    @property
    def place(self) -> tuple[str, int, int] | None:
        """The file, the line and the column where the expression ends; None of a module's call."""
        if self.code is None or not self.own:
            return None
        positions = next(itertools.islice(self.code.co_positions(), self.instruction // 2, None))
        line, _, _, end = positions
        return self.code.co_filename, line or 0, end or 0


class _Tally:
    """The figures of one call so far, per unit, and the small inputs that are not yet looked at."""

    def __init__(self, family: Family, axis: int) -> None:
        self.family, self.examples = family, 0
        self._axis = axis
        self._figures: dict[str, Tensor] = {}
        self._waiting: list[Tensor] = []
        # As it was called last; forgotten where it holds a tensor, which may be the model's.
        self._function: Any = None
        self._holds_tensor = False

    def add(self, x: Tensor, function: Callable[[Tensor], Tensor], *, holds_tensor: bool) -> None:
        """Take in the input of one call of the function; what follows may write into it."""
        self._function, self._holds_tensor = function, holds_tensor
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
        y = y if self.family is _RELU else y.abs()
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
                self._figures["slope"][doubtful] = _slope(self._function, values).amax(1)
        self.examples += x.numel() // highest.numel()

    def _merge(self, name: str, new: Tensor, how: Callable[[Tensor, Tensor], Tensor]) -> None:
        new = new if new.is_mps else new.double()  # MPS has no float64
        old = self._figures.get(name)
        self._figures[name] = new if old is None else how(old, new)


def _slope(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    with torch.enable_grad():
        x = (x.clone() if x.is_inference() else x.detach()).requires_grad_()
        (slope,) = torch.autograd.grad(function(x).sum(), x)
    return slope.abs_()


class DeadUnits:
    """Watches a model while batches go through it, and counts its dead units.

    >>> model = nn.Sequential(nn.Linear(2, 3), nn.ReLU())
    >>> _ = nn.init.constant_(model[0].bias, -100.0)
    >>> with DeadUnits(model) as watch:
    ...     for batch in torch.randn(10, 8, 2):
    ...         _ = model(batch)
    >>> watch.shares()["dead"]
    1.0
    >>> [(each.site, each.after, each.units, len(each.dead)) for each in watch.calls()]
    [('1', '0', 3, 3)]

    Every call of an activation is watched where it stands: modules, functions and methods, in place
    or not, and each call of a module that is used twice by itself. What leaves a batch
    normalisation enters the activation after it, and is what is judged. A unit is a feature, or a
    channel of a convolution.

    Entering again goes on with the same figures; `reset` begins anew. Neither the model nor any of
    its outputs is kept alive.

    Args:
        model: Any module that runs in Python; where torch.compile wraps it, or a part of it, that
            part runs uncompiled while it is watched.
    """

    def __init__(self, model: nn.Module) -> None:
        model = getattr(model, "_orig_mod", model)
        self._model = ref(model)
        self._names = {id(module): path for path, module in model.named_modules()}
        self._weights = {
            id(weight): name.rpartition(".")[0] for name, weight in model.named_parameters()
        }
        self._tallies: dict[_Call, _Tally] = {}
        self._active: list[AbstractContextManager[Any]] = []

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            stack.enter_context(samples.uncompiled())
            stack.enter_context(_Watching(self._names, self._weights, self._tallies))
            self._active.append(stack.pop_all())
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._active.pop().__exit__(kind, error, traceback)
        for tally in self._tallies.values():
            tally.settle()

    def reset(self) -> None:
        """Forget what was seen."""
        self._tallies.clear()

    def calls(self) -> list[Units]:
        """Return what was seen of every call, in the order of the first batch."""
        names = _site_names(self._model())
        return [_units(call, tally, names) for call, tally in self._tallies.items()]

    def shares(self) -> dict[str, float]:
        """Return the shares of dead, dormant and always-on units, and of outputs of exactly 0.

        All are over the units of all calls; none where none was seen.
        """
        calls = self.calls()
        units = sum(each.units for each in calls)
        if not units:
            return {}
        return {
            "dead": sum(len(each.dead) for each in calls) / units,
            "dormant": sum(len(each.dormant) for each in calls) / units,
            "always_on": sum(len(each.always_on) for each in calls) / units,
            "sparsity": sum(each.sparsity * each.units for each in calls) / units,
        }


class _Watching(TorchFunctionMode):
    """Sees the functions that a model calls: the layers that make units, then the activations."""

    def __init__(
        self, names: dict[int, str], weights: dict[int, str], tallies: dict[_Call, _Tally]
    ) -> None:
        super().__init__()
        self._names, self._weights, self._tallies = names, weights, tallies
        self._after, self._axis, self._size = "", -1, 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        del types
        kwargs = kwargs or {}
        family = _FAMILIES.get(func)
        if family is not None:
            x, *others = args or (kwargs["input"],)
            if x.is_floating_point():
                self._watch(family, x, others, kwargs)
        result = func(*args, **kwargs)
        axis = _UNIT_AXES.get(func)
        if axis is None and func in _CHANNEL_NORMS:
            axis = 1 - result.dim()
        if axis is not None and result.dim() >= -axis:
            self._after = ""
            for each in (*args[1:], *kwargs.values()):
                if id(each) in self._weights:
                    self._after = self._weights[id(each)]
                    break
            self._axis, self._size = axis, result.shape[axis]
        return result

    def _watch(self, family: Family, x: Tensor, others: Any, keywords: Any) -> None:
        call = _caller(self._names, self._after)
        if call is None:
            return
        tally = self._tallies.get(call)
        if tally is None:
            tally = self._tallies[call] = _Tally(family, self._unit_axis(x))
        function, holds_tensor = family.function, False
        if others or not keywords.keys() <= _WRITING:
            keywords = {key: value for key, value in keywords.items() if key not in _WRITING}
            holds_tensor = any(isinstance(each, Tensor) for each in (*others, *keywords.values()))
            function = lambda z: family.function(z, *others, **keywords)  # noqa: E731 -- the shortest
        tally.add(x.detach(), function, holds_tensor=holds_tensor)

    def _unit_axis(self, x: Tensor) -> int:
        """Return the axis of the units: the last layer's, where the shape still is that of it."""
        shape = list(x.shape)
        if x.dim() >= -self._axis and shape[self._axis] == self._size:
            return self._axis
        if shape.count(self._size) == 1:
            return shape.index(self._size) - x.dim()
        return -1 if x.dim() < 4 else 1 - x.dim()


def _caller(names: dict[int, str], after: str) -> _Call | None:
    """Return where the activation that is being watched was called; None outside of the model."""
    path, code, instruction, own = None, None, 0, False
    frame: FrameType | None = sys._getframe(3)  # noqa: SLF001 -- inspect does so too
    while frame is not None and (path is None or code is None):
        here = frame.f_code
        if code is None and not here.co_filename.startswith(_LIBRARIES):
            code, instruction, own = here, frame.f_lasti, path is None
        if path is None and here.co_argcount:
            path = names.get(id(frame.f_locals.get(here.co_varnames[0])))
        frame = frame.f_back
    return None if path is None else _Call(path, code, instruction, own, after)


def _units(call: _Call, tally: _Tally, names: dict[Any, str]) -> Units:
    """Return the figures of a call by the rules."""
    figures = {name: figure.cpu() for name, figure in tally.figures().items()}
    activity = figures["total"] / tally.examples
    site = call.path
    file = line = None
    if call.place:
        file, line, column = call.place
        known = names.get((call.path, file, line, column), names.get((call.path, file, line)))
        site = known or f"{call.path}.{tally.family.name}".strip(".")
    return Units(
        site=site,
        after=call.after,
        activation=tally.family.name,
        file=file,
        line=line,
        units=activity.numel(),
        examples=tally.examples,
        dead=_which(figures["slope"] < DEAD_BELOW),
        dormant=_which(activity <= DORMANT_AT * activity.mean()),
        always_on=_which(figures["lowest"] > 0),
        sparsity=1 - float(figures["nonzero"].mean()) / tally.examples,
        highest=tuple(figures["highest"].tolist()),
    )


def _which(mask: Tensor) -> tuple[int, ...]:
    return tuple(mask.nonzero().flatten().tolist())


def _site_names(model: nn.Module | None) -> dict[Any, str]:
    """Return the names that `find_sites` gives: of calls by where they end, of what is held by line."""
    names: dict[Any, str] = {}
    for found in [] if model is None else finding.find(model):
        if found.place and found.key:
            names[found.owner, *found.place, found.key.column] = found.name
        elif found.place and found.kind is Kind.HELD:
            names[found.owner, *found.place] = found.name
    return names
