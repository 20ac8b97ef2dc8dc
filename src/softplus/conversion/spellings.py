"""The spellings of an activation that models use: modules, functions and tensor methods."""

import functools
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 -- the spelling that models use

from softplus import functional, modules

FAMILIES: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "softplus": nn.Softplus,
    "shifted_softplus": modules.ShiftedSoftplus,
}


class _Function(NamedTuple):
    """A function that computes an activation, a clamp if its lower bound is 0."""

    family: str
    name: str
    spelling: str
    parameters: tuple[str, ...] = ("input",)
    inplace: bool = False

    @property
    def is_clamp(self) -> bool:
        """Whether it is an activation for the bound 0 only."""
        return "min" in self.parameters


_SOFTPLUS = ("input", "beta", "threshold")
_SHIFTED = ("input", "beta", "shift")
_FUNCTIONS: dict[Any, _Function] = {
    F.relu: _Function("relu", "relu", "F.relu", ("input", "inplace")),
    F.softplus: _Function("softplus", "softplus", "F.softplus", _SOFTPLUS),
    functional.softplus: _Function("softplus", "softplus", "softplus.softplus", _SOFTPLUS),
    functional.softplus_: _Function("softplus", "softplus", "softplus.softplus_", _SOFTPLUS, True),
    functional.shifted_softplus: _Function(
        "shifted_softplus", "shifted_softplus", "softplus.shifted_softplus", _SHIFTED
    ),
}
# The tensor methods by their name.
METHODS: dict[str, Callable[..., Any]] = {}
for _name, _parameters, _bound in (
    ("relu", ("input",), ""),
    ("clamp", ("input", "min", "max"), "min=0"),
    ("clip", ("input", "min", "max"), "min=0"),
    ("clamp_min", ("input", "min"), "0"),
):
    for _end in ("", "_"):
        METHODS[_name + _end] = getattr(Tensor, _name + _end)
        for _function, _spelling in (
            (getattr(torch, _name + _end), f"torch.{_name}{_end}" + (_bound and f"(x, {_bound})")),
            (getattr(Tensor, _name + _end), f"x.{_name}{_end}({_bound})"),
        ):
            _FUNCTIONS[_function] = _Function("relu", _name, _spelling, _parameters, bool(_end))
# Code that calls one of them by its name loads one of these names.
NAMES = {function.__name__: known for function, known in _FUNCTIONS.items()}
# A module computes an activation if its forward is one of these: a subclass with a forward of its
# own may do anything. nn.ReLU6 is none, for it is cut off above as well.
_MODULES: dict[Any, _Function] = {
    nn.ReLU.forward: _Function("relu", "relu", "nn.ReLU"),
    nn.Softplus.forward: _Function("softplus", "softplus", "nn.Softplus", _SOFTPLUS),
    modules.Softplus.forward: _Function("softplus", "softplus", "softplus.Softplus", _SOFTPLUS),
    modules.ShiftedSoftplus.forward: _Function(
        "shifted_softplus", "shifted_softplus", "softplus.ShiftedSoftplus", _SHIFTED
    ),
}


@dataclass(frozen=True)
class Call:
    """A call of an activation: which one, how it is spelled, on what, and its other arguments.

    A clamp is a ReLU on floating-point tensors only; else it bounds an index.
    """

    family: str
    name: str
    spelling: str
    input: Any = None
    inplace: bool = False
    is_clamp: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)


def read(function: Any, arguments: Sequence[Any], keywords: Mapping[str, Any]) -> Call | None:
    """Return what a call computes, None if it is no activation."""
    known = _FUNCTIONS.get(function)
    if known is None or len(arguments) > len(known.parameters):
        return None
    bound = {**dict(zip(known.parameters, arguments, strict=False)), **keywords}
    if "input" not in bound or "out" in bound:
        return None
    if known.is_clamp:
        low = bound.get("min")
        if not isinstance(low, (int, float)) or low != 0 or bound.get("max") is not None:
            return None
    return _call(known, bound)


def read_member(member: object) -> Call | None:
    """Return what a module, or a function kept as an attribute, computes; None if no activation."""
    if isinstance(member, nn.Module):
        known = _MODULES.get(getattr(type(member), "forward", None))  # TorchScript's has none
        names = () if known is None else (*known.parameters[1:], "inplace")
        bound = {name: getattr(member, name) for name in names if hasattr(member, name)}
        return None if known is None else _call(known, bound)
    if isinstance(member, functools.partial):
        return read(member.func, [None, *member.args], member.keywords)
    return read(member, [None], {}) if isinstance(member, Hashable) else None


def is_activation(function: object) -> bool:
    """Whether a function is one of those that compute an activation, clamps included."""
    return function in _FUNCTIONS


def named(name: str, value: Any) -> Call | None:
    """Return the call that loading a name may lead to, which may stand for a value."""
    known = _FUNCTIONS.get(value) if isinstance(value, Hashable) else None
    if known is None and name in NAMES:
        known = NAMES[name]._replace(spelling=name)
    return None if known is None else _call(known, {})


def of(family: str) -> list[str]:
    """Return the spellings of a family, those in place left out."""
    known = [*_MODULES.values(), *_FUNCTIONS.values()]
    return [each.spelling for each in known if each.family == family and not each.inplace]


def family_of(spelling: str) -> str:
    """Return the family of a function's spelling."""
    return next(each.family for each in _FUNCTIONS.values() if each.spelling == spelling)


def _call(known: _Function, bound: dict[str, Any]) -> Call:
    return Call(
        family=known.family,
        name=known.name,
        spelling=known.spelling,
        input=bound.pop("input", None),
        inplace=bound.pop("inplace", known.inplace) is True,
        is_clamp=known.is_clamp,
        options=bound,
    )
