"""What is measured on a network: its pre-activations, its units, its gradients."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from softplus.lab.activations import Activation

# A unit is dead if its derivative stays below this on every example: one rule for every activation.
DEAD_BELOW = 1e-3
# A unit is dormant if its mean absolute output is at most this share of its layer's mean
# (Sokar et al., The Dormant Neuron Phenomenon in Deep Reinforcement Learning, ICML 2023).
DORMANT_AT = 0.025
# The histogram of pre-activations: the range that plots show, values outside it in the end bins.
HISTOGRAM_RANGE = (-10.0, 10.0)
HISTOGRAM_BINS = 80


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
    smoothness: float = math.nan
    first_layer_gradient: float = math.nan


def pre_activations(model: nn.Module, activation: Activation, inputs: Tensor) -> list[Tensor]:
    """Return what enters each hidden activation, examples by units, for the given inputs."""
    kind = type(activation.build())
    entering = []
    x = inputs
    with torch.no_grad():
        # The last is the head, no hidden activation.
        for layer in list(model.children())[:-1]:
            if type(layer) is kind:
                entering.append(x)
            x = layer(x)
    return entering


def measure(
    model: nn.Module, activation: Activation, inputs: Tensor, path: "UpdatePath | None" = None
) -> Measures:
    """Measure the hidden activations over a whole data set, and how the training went."""
    entering = pre_activations(model, activation, inputs)
    module = activation.build()
    slopes = [activation.derivative(z).abs() for z in entering]
    with torch.no_grad():
        leaving = [module(z) for z in entering]
    dead = torch.cat([(slope < DEAD_BELOW).all(dim=0) for slope in slopes])
    dormant = torch.cat([_dormant(h) for h in leaving])
    z, h, slope = (torch.cat([part.flatten() for part in of]) for of in (entering, leaving, slopes))
    histogram = torch.histc(z.clamp(*HISTOGRAM_RANGE), HISTOGRAM_BINS, *HISTOGRAM_RANGE)
    return Measures(
        *_side(entering, leaving, sign=-1),
        *_side(entering, leaving, sign=1),
        smallest_gradient=float(slope.min()),
        underflow=_share(slope < torch.finfo(slope.dtype).tiny),
        dead=_share(dead),
        dormant=_share(dormant),
        sparsity=_share(h == 0),
        histogram=tuple((histogram / z.numel()).tolist()),
        **(path.summary() if path else {}),
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
    """Follows the gradients through a training: how alike successive ones are, how large."""

    def __init__(self, model: nn.Module) -> None:
        self._parameters = list(model.parameters())
        self._previous: Tensor | None = None
        self._cosines: list[Tensor] = []
        self._first_layer: list[Tensor] = []

    def follow(self) -> None:
        """Take in the gradients of one step, after backward."""
        gradients = [parameter.grad for parameter in self._parameters]
        gradient = torch.cat([g.flatten() for g in gradients if g is not None])
        if self._previous is not None:
            self._cosines.append(torch.cosine_similarity(gradient, self._previous, dim=0))
        self._previous = gradient
        self._first_layer.append(gradient[: self._parameters[0].numel()].norm())

    def summary(self) -> dict[str, float]:
        """Return the mean cosine of successive gradients and the first layer's median norm."""
        return {
            "smoothness": float(torch.stack(self._cosines).mean()) if self._cosines else 0.0,
            "first_layer_gradient": float(torch.stack(self._first_layer).median()),
        }
