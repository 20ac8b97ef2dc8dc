"""`DeadUnits`: a watch over a model, and what it saw of every call of an activation.

Nothing of a batch is kept but a few figures per unit, however many examples there are.
"""

from contextlib import ExitStack
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self
from weakref import ref

from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from softplus import samples
from softplus.conversion import counting
from softplus.lab.measures import DEAD_BELOW, DORMANT_AT
from softplus.lab.units.calls import Call, caller, site_names
from softplus.lab.units.families import CHANNEL_NORMS, FAMILIES, UNIT_AXES, Family
from softplus.lab.units.tallies import Tally


@dataclass(frozen=True)
class Units:
    """What was seen of the units of one call of an activation.

    Attributes:
        site: The name that `find_sites` gives the call and `convert(include=...)` takes; of one
            that it does not know, the path of the module whose code makes it, and the function.
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


class DeadUnits:
    """Watches a model while batches go through it, and counts its dead units.

    >>> import torch
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
        self._tallies: dict[Call, Tally] = {}
        self._watching = _Watching(self._tallies, model)
        self._active = ExitStack()

    def __enter__(self) -> Self:
        self._active.enter_context(samples.uncompiled())
        self._active.enter_context(self._watching)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._active.__exit__(kind, error, traceback)
        for tally in self._tallies.values():
            tally.settle()

    def reset(self) -> None:
        """Forget what was seen."""
        self._tallies.clear()

    def unseen(self) -> "_Unseen":
        """Return a mode that collects the activations which run unseen under this watch."""
        return _Unseen(self._watching)

    def calls(self) -> list[Units]:
        """Return what was seen of every call, in the order of the first batch."""
        names = site_names(self._model())
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

    busy = False  # whether what runs is an activation that is seen, or a look at one

    def __init__(self, tallies: dict[Call, Tally], model: nn.Module) -> None:
        super().__init__()
        self._tallies = tallies
        self._names = {id(module): path for path, module in model.named_modules()}
        self._weights = {
            id(weight): name.rpartition(".")[0] for name, weight in model.named_parameters()
        }
        self._after, self._axis, self._size = "", -1, 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        del types
        kwargs = kwargs or {}
        family = FAMILIES.get(func)
        if family is not None:
            self.busy = True
            try:
                x, *others = args or (kwargs["input"],)
                # A weight that is made positive is no unit.
                if x.is_floating_point() and not isinstance(x, nn.Parameter):
                    self._watch(family, x, others, kwargs)
                return func(*args, **kwargs)
            finally:
                self.busy = False
        result = func(*args, **kwargs)
        axis = UNIT_AXES.get(func)
        if axis is None and func in CHANNEL_NORMS:
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
        call = caller(self._names, self._after)
        if call is None:
            return
        tally = self._tallies.get(call)
        if tally is None:
            tally = self._tallies[call] = Tally(family, self._unit_axis(x))
        tally.add(x.detach(), others, keywords)

    def _unit_axis(self, x: Tensor) -> int:
        """Return the axis of the units: the last layer's, where the shape still is that of it."""
        shape = list(x.shape)
        if x.dim() >= -self._axis and shape[self._axis] == self._size:
            return self._axis
        if shape.count(self._size) == 1:
            return shape.index(self._size) - x.dim()
        return -1 if x.dim() < 4 else 1 - x.dim()


class _Unseen(counting.Counter):  # type: ignore[no-untyped-call]  # how torch registers modes
    """Collects the activations that PyTorch dispatches while a watch sees none."""

    def __init__(self, watching: _Watching) -> None:
        super().__init__()
        self._watching = watching

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if self._watching.busy:
            return func(*args, **(kwargs or {}))
        return super().__torch_dispatch__(func, types, args, kwargs)


def _units(call: Call, tally: Tally, names: dict[Any, str]) -> Units:
    """Return the figures of a call by the rules."""
    figures = {name: figure.cpu() for name, figure in tally.figures().items()}
    activity = figures["total"] / tally.examples
    file, line, column = call.place or (None, None, None)
    exact = (call.path, file, line, column)
    default = f"{call.path}.{tally.family.name}".strip(".") if file else call.path
    site = next((names[exact[:n]] for n in (4, 3, 1) if exact[:n] in names), default)
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
