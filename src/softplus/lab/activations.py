"""The activations that can be compared, and how the command line spells them."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn

from softplus.annealing import BetaAnnealing
from softplus.init import centering, looks_linear_
from softplus.lab.errors import UsageError, unknown
from softplus.modules import ShiftedSoftplus, Softplus

INITS = ("default", "he", "looks_linear")
# The first part of a training, in which an annealed arm moves its beta; the rest is at the last.
_ANNEALED_SHARE = 0.8
# What marks the modules of an arm in a model, which may have a Softplus of its own elsewhere.
_MARK = "softplus_lab_arm"


@dataclass(frozen=True)
class Activation:
    """One arm: a family of functions, the parameters of its module, in order, and the start.

    `init` is "default" (the model's own), "he" (the gain that keeps the scale of this function's
    signals, zero biases) or "looks_linear" (mirrored weights, where the network allows it).
    """

    family: str
    module: Callable[..., nn.Module]
    formula: str
    parameters: dict[str, float] = field(default_factory=dict)
    init: str = "default"

    @property
    def name(self) -> str:
        """The canonical spelling: `softplus`, `softplus:beta=5`, `softplus:beta=5:init=he`."""
        defaults = _FAMILIES[self.family].parameters
        changed = [
            f"{key}={value!r}".removesuffix(".0")
            for key, value in self.parameters.items()
            if value != defaults[key]
        ]
        if self.init != "default":
            changed.append(f"init={self.init}")
        return ":".join([self.family, *changed])

    def build(self) -> nn.Module:
        """Return a new module of this activation, marked as the arm's."""
        module = self.module(*self.parameters.values())
        setattr(module, _MARK, True)
        return module

    def initialise(self, model: nn.Module) -> None:
        """Give a new model of this arm the arm's start, from torch's global generator.

        Raises:
            UsageError: The model, or this function, cannot have a mirrored start.
        """
        if self.init == "he":
            _he(model, self.gain())
        elif self.init == "looks_linear":
            self._check_odd_part_is_linear()
            try:
                looks_linear_(model, beta=self.parameters.get("beta", 1.0))
            except ValueError as error:
                raise UsageError(f"init=looks_linear of {self.family}: {error}") from None

    def gain(self) -> float:
        """Return 1/sqrt(E[f(z)²]) for z ~ N(0, 1), which for ReLU is He's sqrt(2)."""
        z = torch.linspace(-10, 10, 4001, dtype=torch.float64)
        density = torch.exp(-(z**2) / 2)
        squares = self.build()(z).detach() ** 2
        return math.sqrt(float(density.sum() / (density * squares).sum()))

    def _check_odd_part_is_linear(self) -> None:
        x = torch.linspace(-5, 5, 101, dtype=torch.float64)
        function = self.build()
        if not torch.allclose(function(x) - function(-x), x):
            raise UsageError(
                f"init=looks_linear needs f(x) - f(-x) = x, as relu, softplus, gelu, silu and "
                f"squareplus have it, and {self.family} has not: use init=he"
            )

    @property
    def anneals(self) -> bool:
        """Whether the arm's function changes in training, so that only the last state counts."""
        return self.family == "annealed_softplus"

    def begin(self, model: nn.Module, steps: int) -> Callable[[], None]:
        """Prepare a model of this arm for so many steps; return what to call after each."""
        if not self.anneals:
            return lambda: None
        arm = sites(model)
        others = [
            name
            for name, module in model.named_modules()
            if name not in arm and isinstance(module, (nn.Softplus, ShiftedSoftplus))
        ]
        annealing = BetaAnnealing(
            model,
            self.parameters["start"],
            self.parameters["end"],
            max(1, int(steps * _ANNEALED_SHARE)),
            exclude=others or None,
        )
        return lambda: None if annealing.finished else annealing.step()

    def finish(self, model: nn.Module) -> nn.Module:
        """Return the trained model as it would be used: an annealed one with exact ReLUs.

        `softplus.harden` gives the same function, but may put a call where the site was a call,
        and nothing could be measured there.
        """
        if self.anneals:
            for name in sites(model):
                relu = nn.ReLU()
                setattr(relu, _MARK, True)
                model.set_submodule(name, relu)
        return model

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


class Squareplus(nn.Module):
    """(x + sqrt(x² + b)) / 2 (Barron, 2021): the shape of Softplus without an exponential."""

    def __init__(self, b: float) -> None:
        super().__init__()
        self.b = b

    def forward(self, input: Tensor) -> Tensor:
        return (input + torch.sqrt(input**2 + self.b)) / 2


class SquaredReLU(nn.Module):
    """max(x, 0)² (So et al., Primer, 2021)."""

    def forward(self, input: Tensor) -> Tensor:
        return input.clamp_min(0).square()  # no call of relu, which a script's run replaces


# Functions, for a lambda cannot be pickled.
def _centred(beta: float, q: float) -> nn.Module:
    return ShiftedSoftplus(beta, centering(beta, q))


def _annealed(start: float, end: float) -> nn.Module:
    del end  # BetaAnnealing takes it
    return Softplus(start)


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
        Activation(
            "centred_softplus",
            _centred,
            "ln(1 + e^(beta·x)) / beta - its mean for x ~ N(0, q)",
            {"beta": 1.0, "q": 1.0},
        ),
        Activation(
            "annealed_softplus",
            _annealed,
            "ln(1 + e^(beta·x)) / beta, beta from start to end in training, then max(x, 0)",
            {"start": 1.0, "end": 100.0},
        ),
        Activation("gelu", nn.GELU, "x·Phi(x)"),
        Activation("silu", nn.SiLU, "x·sigmoid(x)"),
        Activation("elu", nn.ELU, "x; alpha·(e^x - 1) where x < 0", {"alpha": 1.0}),
        Activation("leaky_relu", nn.LeakyReLU, "x; slope·x where x < 0", {"slope": 0.01}),
        Activation("mish", nn.Mish, "x·tanh(ln(1 + e^x))"),
        Activation("squareplus", Squareplus, "(x + sqrt(x² + b)) / 2", {"b": 4.0}),
        Activation("relu2", SquaredReLU, "max(x, 0)²"),
    )
}
NAMES = tuple(_FAMILIES)


def derivatives(function: Callable[[Tensor], Tensor], x: Tensor, orders: int = 2) -> list[Tensor]:
    """Return an elementwise function and its derivatives up to an order, by autograd.

    >>> derivatives(torch.sin, torch.zeros(1))
    [tensor([0.]), tensor([1.]), tensor([-0.])]
    """
    x = x.detach().requires_grad_()
    found = [function(x.clone())]  # a module in place overwrites what it gets
    for _ in range(orders):
        (gradient,) = torch.autograd.grad(found[-1].sum(), x, create_graph=True)
        found.append(gradient)
    return [y.detach() for y in found]


def sites(model: nn.Module) -> dict[str, nn.Module]:
    """Return the modules of the arm in a model, by name."""
    return {name: module for name, module in model.named_modules() if hasattr(module, _MARK)}


def _he(model: nn.Module, gain: float) -> None:
    """Draw every linear and convolution layer anew; the first one reads no activation."""
    kinds = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
    for index, layer in enumerate(m for m in model.modules() if isinstance(m, kinds)):
        nn.init.kaiming_normal_(layer.weight, nonlinearity="linear")
        with torch.no_grad():
            layer.weight *= gain if index else 1.0
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)


def parse(spelling: str, init: str = "default") -> Activation:
    """Return the activation that `name` or `name:parameter=value` spells.

    >>> parse("softplus:beta=5").name
    'softplus:beta=5'
    >>> parse("softplus:beta=1").name
    'softplus'

    Args:
        spelling: A family, then any of its parameters, and `init=` one of the starts.
        init: The start where the spelling names none.

    Raises:
        UsageError: An unknown name, parameter or start, or a value that is not a positive finite
            number.
    """
    family, _, options = spelling.strip().partition(":")
    if family not in _FAMILIES:
        raise unknown("activation", family, _FAMILIES)
    defaults = _FAMILIES[family].parameters
    said: dict[str, str] = {}
    for option in filter(None, options.split(":")):
        key, _, value = option.partition("=")
        if key not in {*defaults, "init"}:
            if not defaults:
                raise UsageError(f"activation {family} takes no parameter but init, got {option!r}")
            raise unknown(f"parameter of {family}", key, [*defaults, "init"])
        if key in said:
            raise UsageError(f"{key} of {family} is given twice in {spelling!r}")
        said[key] = value
    init = said.pop("init", init)
    if init not in INITS:
        raise unknown("init", init, INITS)
    chosen = {key: _positive(f"{key} of {family}", value) for key, value in said.items()}
    return replace(_FAMILIES[family], parameters={**defaults, **chosen}, init=init)


def parse_list(spellings: str, inits: str = "default") -> list[Activation]:
    """Return the activations of a comma-separated list, of which each must be named once.

    `inits` is one start for all of them, or as many as there are activations.
    """
    said = [spelling for spelling in spellings.split(",") if spelling.strip()]
    starts = [init.strip() for init in inits.split(",")]
    if len(starts) == 1:
        starts *= len(said)
    if len(starts) != len(said):
        raise UsageError(
            f"--init must name one start, or one for each of the {len(said)} activations, "
            f"got {inits!r}"
        )
    activations = [parse(spelling, init) for spelling, init in zip(said, starts, strict=True)]
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
