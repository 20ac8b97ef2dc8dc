"""The activations that can be compared, and how the command line spells them."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from softplus.lab.errors import UsageError, unknown
from softplus.modules import ShiftedSoftplus, Softplus


@dataclass(frozen=True)
class _Family:
    module: Callable[..., nn.Module]
    formula: str
    parameters: dict[str, float] = field(default_factory=dict)


_FAMILIES = {
    "relu": _Family(nn.ReLU, "max(x, 0)"),
    "softplus": _Family(Softplus, "ln(1 + e^(beta·x)) / beta", {"beta": 1.0}),
    "shifted_softplus": _Family(
        ShiftedSoftplus, "ln(1 + e^(beta·x)) / beta - ln2/beta", {"beta": 1.0}
    ),
    "gelu": _Family(nn.GELU, "x·Phi(x)"),
    "silu": _Family(nn.SiLU, "x·sigmoid(x)"),
    "elu": _Family(nn.ELU, "x; alpha·(e^x - 1) where x < 0", {"alpha": 1.0}),
    "leaky_relu": _Family(nn.LeakyReLU, "x; slope·x where x < 0", {"slope": 0.01}),
}
NAMES = tuple(_FAMILIES)
# How the module spells a parameter, where it does so otherwise.
_MODULE_SPELLING = {"slope": "negative_slope"}


@dataclass(frozen=True)
class Activation:
    """One activation of a comparison: a family and its parameters.

    `name` is the canonical spelling: `softplus`, `softplus:beta=5`.
    """

    name: str
    formula: str
    family: str
    parameters: tuple[tuple[str, float], ...]

    def build(self) -> nn.Module:
        """Return a new module of this activation."""
        options = {_MODULE_SPELLING.get(key, key): value for key, value in self.parameters}
        return _FAMILIES[self.family].module(**options)

    def derivative(self, x: Tensor) -> Tensor:
        """Return f'(x) of this activation, by autograd."""
        return derivatives(self.build(), x, orders=1)[1]

    def shape(self) -> str:
        """Return smooth or kinked, convex or not, monotone or not, as seen on [-20, 20]."""
        x = torch.linspace(-20, 20, 4001, dtype=torch.float64)
        slope = self.derivative(x)
        beside_zero = self.derivative(torch.tensor([-1e-12, 1e-12], dtype=torch.float64))
        kink = float(beside_zero[1] - beside_zero[0])
        return ", ".join(
            [
                "smooth" if abs(kink) < 1e-3 else f"kink at 0 (slope jumps by {kink:.3g})",
                "convex" if bool((slope.diff() >= -1e-12).all()) else "not convex",
                "monotone" if bool((slope >= 0).all()) else "not monotone",
            ]
        )

    def values(self, at: list[float]) -> list[float]:
        """Return f at the given points, in float64."""
        result: list[float] = self.build()(torch.tensor(at, dtype=torch.float64)).tolist()
        return result


def derivatives(function: Callable[[Tensor], Tensor], x: Tensor, orders: int = 2) -> list[Tensor]:
    """Return an elementwise function and its derivatives up to an order, by autograd.

    >>> derivatives(torch.sin, torch.zeros(1))
    [tensor([0.]), tensor([1.]), tensor([-0.])]
    """
    x = x.detach().requires_grad_()
    found = [function(x)]
    for _ in range(orders):
        (gradient,) = torch.autograd.grad(found[-1].sum(), x, create_graph=True)
        found.append(gradient)
    return [y.detach() for y in found]


def parse(spelling: str) -> Activation:
    """Return the activation that `name` or `name:parameter=value` spells.

    >>> parse("softplus:beta=5").name
    'softplus:beta=5'
    >>> parse("softplus:beta=1").name
    'softplus'

    Raises:
        UsageError: An unknown name or parameter, or a value that is not a positive finite number.
    """
    family, _, options = spelling.strip().partition(":")
    if family not in _FAMILIES:
        raise unknown("activation", family, _FAMILIES)
    defaults = _FAMILIES[family].parameters
    chosen = dict(defaults)
    for option in filter(None, options.split(":")):
        key, _, value = option.partition("=")
        if not defaults:
            raise UsageError(f"activation {family} takes no parameter, got {option!r}")
        if key not in defaults:
            raise unknown(f"parameter of {family}", key, defaults)
        chosen[key] = _positive(f"{key} of {family}", value)
    changed = [f"{key}={value:g}" for key, value in chosen.items() if value != defaults[key]]
    return Activation(
        name=":".join([family, *changed]),
        formula=_FAMILIES[family].formula,
        family=family,
        parameters=tuple(chosen.items()),
    )


def parse_list(spellings: str) -> list[Activation]:
    """Return the activations of a comma-separated list, of which each must be named once."""
    activations = [parse(spelling) for spelling in spellings.split(",") if spelling.strip()]
    names = [activation.name for activation in activations]
    if len(set(names)) < max(2, len(names)):
        raise UsageError(
            f"--activations needs two or more different activations, got {spellings!r}"
        )
    return activations


def _positive(what: str, value: str) -> float:
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if not (number > 0 and 1e-6 <= number <= 1e6):
        raise UsageError(f"{what} must be a number from 1e-6 to 1e6, got {value!r}")
    return number
