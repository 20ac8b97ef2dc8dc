"""The activations that can be compared, and how the command line spells them."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn

from softplus.lab.errors import UsageError, unknown
from softplus.modules import ShiftedSoftplus, Softplus


@dataclass(frozen=True)
class Activation:
    """One activation: its family, and the parameters that its module takes, in that order."""

    family: str
    module: Callable[..., nn.Module]
    formula: str
    parameters: dict[str, float] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The canonical spelling: `softplus`, `softplus:beta=5`."""
        defaults = _FAMILIES[self.family].parameters
        changed = [
            f"{key}={value!r}".removesuffix(".0")
            for key, value in self.parameters.items()
            if value != defaults[key]
        ]
        return ":".join([self.family, *changed])

    def build(self) -> nn.Module:
        """Return a new module of this activation."""
        return self.module(*self.parameters.values())

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

    def values(self) -> list[float]:
        """Return f(-2), f(0) and f(5), in float64."""
        x = torch.tensor([-2.0, 0.0, 5.0], dtype=torch.float64)
        result: list[float] = self.build()(x).tolist()
        return result


# Each with its default parameters.
_FAMILIES = {
    activation.family: activation
    for activation in (
        Activation("relu", nn.ReLU, "max(x, 0)"),
        Activation("softplus", Softplus, "ln(1 + e^(beta·x)) / beta", {"beta": 1.0}),
        Activation(
            "shifted_softplus",
            ShiftedSoftplus,
            "ln(1 + e^(beta·x)) / beta - ln2/beta",
            {"beta": 1.0},
        ),
        Activation("gelu", nn.GELU, "x·Phi(x)"),
        Activation("silu", nn.SiLU, "x·sigmoid(x)"),
        Activation("elu", nn.ELU, "x; alpha·(e^x - 1) where x < 0", {"alpha": 1.0}),
        Activation("leaky_relu", nn.LeakyReLU, "x; slope·x where x < 0", {"slope": 0.01}),
    )
}
NAMES = tuple(_FAMILIES)


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
    chosen: dict[str, float] = {}
    for option in filter(None, options.split(":")):
        key, _, value = option.partition("=")
        if not defaults:
            raise UsageError(f"activation {family} takes no parameter, got {option!r}")
        if key not in defaults:
            raise unknown(f"parameter of {family}", key, defaults)
        if key in chosen:
            raise UsageError(f"{key} of {family} is given twice in {spelling!r}")
        chosen[key] = _positive(f"{key} of {family}", value)
    return replace(_FAMILIES[family], parameters={**defaults, **chosen})


def parse_list(spellings: str) -> list[Activation]:
    """Return the activations of a comma-separated list, of which each must be named once."""
    activations = [parse(spelling) for spelling in spellings.split(",") if spelling.strip()]
    names = [activation.name for activation in activations]
    if len(set(names)) < 2:
        raise UsageError(
            f"--activations needs two or more different activations, got {spellings!r}"
        )
    for name in names:
        if names.count(name) > 1:
            raise UsageError(f"--activations names {name} twice, got {spellings!r}")
    return activations


def _positive(what: str, value: str) -> float:
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if not (number > 0 and 1e-6 <= number <= 1e6):
        raise UsageError(f"{what} must be a number from 1e-6 to 1e6, got {value!r}")
    return number
