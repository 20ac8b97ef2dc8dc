"""What is measured on a network: its pre-activations, its units, its gradients."""

import math
from dataclasses import dataclass
from statistics import fmean, median
from typing import Any

import torch
from torch import Tensor, nn

from softplus.lab.activations import derivatives, sites

# A unit is dead if its derivative stays below this on every example: one rule for every activation.
DEAD_BELOW = 1e-3
# A unit is dormant if its mean absolute output is at most this share of its layer's mean
# (Sokar et al., The Dormant Neuron Phenomenon in Deep Reinforcement Learning, ICML 2023).
DORMANT_AT = 0.025
# The histogram of pre-activations: the range that plots show, values outside it in the end bins.
HISTOGRAM_RANGE = (-10.0, 10.0)
HISTOGRAM_BINS = 80


@dataclass(frozen=True)
class LayerMeasures:
    """One hidden activation: how many units it has, and the shares that are told of all of them."""

    units: int
    dead: float
    dormant: float
    sparsity: float


@dataclass(frozen=True)
class Measures:
    """What was measured on one trained network.

    Shares are of all units or of all (example, unit) pairs, over all hidden layers; negative and
    positive are the pairs whose pre-activation is so. The last two come from the training, and are
    NaN where it was not followed.
    """

    share_negative: float
    output_negative: float
    recovered_negative: float
    share_positive: float
    output_positive: float
    recovered_positive: float
    smallest_gradient: float
    underflow: float
    dead: float
    dormant: float
    sparsity: float
    histogram: tuple[float, ...]
    layers: tuple[LayerMeasures, ...] = ()
    smoothness: float = math.nan
    first_layer_gradient: float = math.nan


def entering(model: nn.Module, inputs: Any) -> list[tuple[nn.Module, Tensor]]:
    """Return each activation of the arm with what enters it, examples by units.

    An image counts as as many examples as it has places, and its channels are the units.
    """
    found: list[tuple[nn.Module, Tensor]] = []

    def note(module: nn.Module, arguments: tuple[Any, ...]) -> None:
        z = arguments[0].detach()
        z = z.movedim(1, -1) if z.dim() > 3 else z
        found.append((module, z.flatten(0, -2).clone()))  # a module in place overwrites it

    hooks = [site.register_forward_pre_hook(note) for site in sites(model).values()]
    try:
        with torch.no_grad():
            model(inputs)
    finally:
        for hook in hooks:
            hook.remove()
    return found


def measure(model: nn.Module, inputs: Any) -> Measures | None:
    """Measure the activations of the arm over a whole data set; None where none is a module."""
    found = entering(model, inputs)
    if not found:
        return None
    before = [z for _, z in found]
    slopes = [derivatives(module, z, orders=1)[1].abs() for module, z in found]
    with torch.no_grad():
        after = [module(z.clone()) for module, z in found]
    layers = tuple(
        LayerMeasures(
            units=z.shape[1],
            dead=_share((slope < DEAD_BELOW).all(dim=0)),
            dormant=_share(_dormant(h)),
            sparsity=_share(h == 0),
        )
        for z, h, slope in zip(before, after, slopes, strict=True)
    )
    units = sum(layer.units for layer in layers)
    z, slope = (torch.cat([part.flatten() for part in of]) for of in (before, slopes))
    histogram = torch.histc(z.clamp(*HISTOGRAM_RANGE), HISTOGRAM_BINS, *HISTOGRAM_RANGE)
    return Measures(
        *_side(before, after, sign=-1),
        *_side(before, after, sign=1),
        smallest_gradient=float(slope.min()),
        underflow=_share(slope < torch.finfo(slope.dtype).tiny),
        dead=sum(layer.dead * layer.units for layer in layers) / units,
        dormant=sum(layer.dormant * layer.units for layer in layers) / units,
        sparsity=_share(torch.cat([h.flatten() for h in after]) == 0),
        histogram=tuple((histogram / z.numel()).tolist()),
        layers=layers,
    )


def _side(entering: list[Tensor], leaving: list[Tensor], sign: int) -> tuple[float, float, float]:
    """Return the share, the mean output and what is recovered of the pairs of this sign.

    What a linear probe recovers is R² of the best line from output back to pre-activation, the
    squared correlation, within each layer; layers count by their number of pairs.
    """
    pairs = [(z[z * sign > 0], h[z * sign > 0]) for z, h in zip(entering, leaving, strict=True)]
    count = sum(z.numel() for z, _ in pairs)
    everything = sum(z.numel() for z in entering)
    if count == 0:
        return 0.0, 0.0, 0.0
    return (
        count / everything,
        float(sum(h.double().sum() for _, h in pairs)) / count,
        sum(_r_squared(h, z) * z.numel() for z, h in pairs) / count,
    )


def _r_squared(x: Tensor, y: Tensor) -> float:
    """Return the squared correlation, 0 where either is constant."""
    if x.numel() < 2:
        return 0.0
    x, y = (value.double() - value.double().mean() for value in (x, y))
    variances = x.square().sum() * y.square().sum()
    return float((x * y).sum() ** 2 / variances) if variances > 0 else 0.0


def _dormant(h: Tensor) -> Tensor:
    activity = h.abs().mean(dim=0)
    return activity <= DORMANT_AT * activity.mean()


def _share(mask: Tensor) -> float:
    return float(mask.double().mean())


class UpdatePath:
    """Follows the gradients of networks in training: how alike successive ones are, how large.

    `first_layer` is how many numbers the gradient of the first parameter has: it stands in front.
    """

    def __init__(self, first_layer: int) -> None:
        self._count = first_layer
        self._previous: tuple[Tensor, Tensor] | None = None
        self._cosines: list[Tensor] = []
        self._first_layer: list[Tensor] = []

    def follow(self, gradients: Tensor) -> None:
        """Take in the gradients of one step, a row for each network."""
        norms = gradients.norm(dim=1)
        if self._previous is not None:
            previous, norms_then = self._previous
            lengths = (norms * norms_then).clamp_min(torch.finfo(norms.dtype).tiny)
            self._cosines.append((gradients * previous).sum(dim=1) / lengths)
        self._previous = gradients.clone(), norms
        self._first_layer.append(gradients[:, : self._count].norm(dim=1))

    def summary(self, row: int, steps: int) -> tuple[float, float]:
        """Return the mean cosine and the first layer's median norm over a network's first steps."""
        cosines = [float(cosine[row]) for cosine in self._cosines[: max(0, steps - 1)]]
        norms = [float(norm[row]) for norm in self._first_layer[:steps]]
        return fmean(cosines) if cosines else 0.0, median(norms) if norms else math.nan
