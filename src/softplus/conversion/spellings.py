"""The spellings of an activation that models use: modules, functions and tensor methods."""

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 -- the spelling that models use

from softplus import functional, modules

FAMILIES: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "softplus": nn.Softplus,
    "shifted_softplus": modules.ShiftedSoftplus,
}
# Of 304 clamps at zero in 608 models none is an activation: they bound overlaps and durations.
_CLAMP = "a clamp at zero is seldom an activation"


@dataclass(frozen=True)
class Spelling:
    """A way to write an activation.

    Attributes:
        family: What it computes: a key of FAMILIES.
        name: What the submodule that takes the place of a call is called.
        text: How a user writes it.
        parameters: The names of the function's parameters, in order.
        inplace: Whether it writes over its input.
        requires: The values that parameters must have for it to be of the family.
        left: Why `convert` leaves it unless `include` names it; None where it does not.
    """

    family: str
    name: str
    text: str
    parameters: tuple[str, ...] = ("input",)
    inplace: bool = False
    requires: Mapping[str, float | None] = field(default_factory=dict)
    left: str | None = None


@dataclass(frozen=True)
class Call:
    """An activation with its arguments: the input, whether it is overwritten, the others."""

    spelling: Spelling
    input: Any = None
    inplace: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)


_SOFTPLUS = ("input", "beta", "threshold")
_SHIFTED = ("input", "beta", "shift")
_FUNCTIONS: dict[Any, Spelling] = {
    F.relu: Spelling("relu", "relu", "F.relu", ("input", "inplace")),
    F.softplus: Spelling("softplus", "softplus", "F.softplus", _SOFTPLUS),
    functional.softplus: Spelling("softplus", "softplus", "softplus.softplus", _SOFTPLUS),
    functional.softplus_: Spelling("softplus", "softplus", "softplus.softplus_", _SOFTPLUS, True),
    functional.shifted_softplus: Spelling(
        "shifted_softplus", "shifted_softplus", "softplus.shifted_softplus", _SHIFTED
    ),
}
# The tensor methods by their name.
METHODS: dict[str, Callable[..., Any]] = {}
for _name, _arguments, _zero in (
    ("relu", ("input",), ""),
    ("clamp", ("input", "min", "max"), "min=0"),
    ("clip", ("input", "min", "max"), "min=0"),
    ("clamp_min", ("input", "min"), "0"),
):
    for _end in ("", "_"):
        METHODS[_name + _end] = getattr(Tensor, _name + _end)
        for _function, _text in (
            (getattr(torch, _name + _end), f"torch.{_name}{_end}" + (_zero and f"(x, {_zero})")),
            (getattr(Tensor, _name + _end), f"x.{_name}{_end}({_zero})"),
        ):
            _FUNCTIONS[_function] = Spelling(
                "relu",
                _name,
                _text,
                _arguments,
                inplace=bool(_end),
                requires={"min": 0, "max": None} if _zero else {},
                left=_CLAMP if _zero else None,
            )
# A module computes an activation if its forward is one of these: a subclass with a forward of its
# own may do anything.
_MODULES: dict[Any, Spelling] = {
    nn.ReLU.forward: Spelling("relu", "relu", "nn.ReLU"),
    nn.Softplus.forward: Spelling("softplus", "softplus", "nn.Softplus", _SOFTPLUS),
    modules.Softplus.forward: Spelling("softplus", "softplus", "softplus.Softplus", _SOFTPLUS),
    modules.ShiftedSoftplus.forward: Spelling(
        "shifted_softplus", "shifted_softplus", "softplus.ShiftedSoftplus", _SHIFTED
    ),
}
# What is nearly ReLU, or ReLU under another name: named, and left to the user.
_NEARLY: list[tuple[Any, tuple[str, ...], dict[str, float | None], str]] = [
    (nn.ReLU6, (), {"min_val": 0, "max_val": 6}, "it ends at 6"),
    (nn.Hardswish, (), {}, "it is negative between -3 and 0"),
    (nn.LeakyReLU, ("negative_slope",), {"negative_slope": 0}, "its slope may vary"),
    (nn.Threshold, ("threshold", "value"), {"threshold": 0, "value": 0}, "it may jump"),
]
for _module, _parameters, _requires, _why in _NEARLY:
    _text, _left = _module.__name__, f"{_module.__name__} is no ReLU: {_why}"
    _name = "leaky_relu" if _module is nn.LeakyReLU else _text.lower()
    _nearly = Spelling("relu", _name, f"nn.{_text}", requires=_requires, left=_left)
    _MODULES[_module.forward] = _nearly
    _bound = {name: value for name, value in _requires.items() if name in _parameters}
    for _home, _namespace in (("F", F), ("torch", torch)):
        if hasattr(_namespace, _name):
            _FUNCTIONS[getattr(_namespace, _name)] = replace(
                _nearly,
                text=f"{_home}.{_name}",
                parameters=("input", *_parameters, "inplace"),
                requires=_bound,
            )
_FUNCTION_TYPES = {type(function) for function in _FUNCTIONS}
# Compiled code, in which an activation is seen and not reached.
TORCHSCRIPT = Spelling("relu", "relu", "TorchScript")
# Code that calls one of them by its name loads one of these names.
NAMES = {function.__name__: spelling for function, spelling in _FUNCTIONS.items()}


def read(function: Any, arguments: Sequence[Any], keywords: Mapping[str, Any]) -> Call | None:
    """Return what a call computes, None if it is no activation."""
    known = _known(function)
    if known is None or len(arguments) > len(known.parameters):
        return None
    bound = {**dict(zip(known.parameters, arguments, strict=False)), **keywords}
    if "input" not in bound or "out" in bound:
        return None
    return _call(known, bound)


def read_member(member: object) -> Call | None:
    """Return what a module, or a function kept as an attribute, computes; None if no activation."""
    if isinstance(member, nn.Module):
        known = _MODULES.get(getattr(type(member), "forward", None))  # TorchScript's has none
        if known is None or "forward" in vars(member):
            return None
        names = (*known.parameters[1:], *known.requires, "inplace")
        return _call(
            known, {name: getattr(member, name) for name in names if hasattr(member, name)}
        )
    if isinstance(member, functools.partial):
        return read(member.func, [None, *member.args], member.keywords)
    return read(member, [None], {})


def is_module_of(cls: object) -> bool:
    """Whether it is a class of modules that may compute an activation."""
    return isinstance(cls, type) and getattr(cls, "forward", None) in _MODULES


def texts(family: str) -> list[str]:
    """Return the spellings of a family that are replaced by default, those in place left out."""
    known = [*_MODULES.values(), *_FUNCTIONS.values()]
    return [
        each.text
        for each in known
        if each.family == family and not each.inplace and each.left is None
    ]


def _known(function: object) -> Spelling | None:
    # A thing of another type may refuse to be hashed or compared, as a list of settings does.
    return _FUNCTIONS.get(function) if type(function) in _FUNCTION_TYPES else None


def _call(known: Spelling, bound: dict[str, Any]) -> Call | None:
    for name, value in known.requires.items():
        found = bound.get(name)
        if found is not value and not (isinstance(found, (int, float)) and found == value):
            return None
    inplace = bound.get("inplace", False)
    if isinstance(inplace, int):  # else an expression
        bound.pop("inplace", None)
    return Call(known, bound.pop("input", None), inplace is True or known.inplace, bound)
