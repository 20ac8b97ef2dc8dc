"""The built-in sdf: the signed distance from a torus, learned with an eikonal loss."""

import math
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import torch
from torch import Tensor, nn

from softplus.lab.problems import scores
from softplus.lab.problems.networks import Data, Network
from softplus.lab.problems.problem import Metric
from softplus.lab.problems.torch_problem import Examples

_POINTS = 2_500
_RADIUS, _TUBE = 0.6, 0.25
# Points lie this near the surface: closer than the tube's middle, where there is no normal.
_BAND = 0.2
# The weight of |gradient| = 1, which makes a function a distance (Gropp et al., ICML 2020).
_EIKONAL = 0.1


@dataclass(frozen=True, kw_only=True)
class SignedDistance(Network):
    """A network that is differentiated in its inputs: its gradient is the surface's normal."""

    @property
    def data(self) -> Data:
        """The points, with distance and normal as targets."""
        return _torus()

    def losses(self, model: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
        """Return the squared error of the distance and of the gradient's length, point by point."""
        distances, gradients = _with_gradients(model, inputs, create_graph=True)
        errors = ((distances - targets[..., 0]) / _BAND) ** 2
        lengths: Tensor = torch.linalg.vector_norm(gradients, dim=-1)
        return errors + _EIKONAL * (lengths - 1) ** 2

    def score(self, model: nn.Module, examples: Examples, rows: Tensor) -> float:
        """Return the mean angle between gradient and normal, in degrees."""
        inputs, targets = examples.batch(rows)
        _, gradients = _with_gradients(model, inputs, create_graph=False)
        cosines = nn.functional.cosine_similarity(gradients.double(), targets[..., 1:].double(), -1)
        return float(cosines.clamp(-1, 1).acos().mean() * 180 / math.pi)


def _with_gradients(
    model: nn.Module, inputs: Tensor, *, create_graph: bool
) -> tuple[Tensor, Tensor]:
    """Return the outputs and their gradients in the inputs."""
    with torch.enable_grad():
        points = inputs.detach().requires_grad_()
        outputs = model(points).squeeze(-1)
        (gradients,) = torch.autograd.grad(outputs.sum(), points, create_graph=create_graph)
    return outputs, gradients


@cache
def _torus() -> Data:
    """Return points around a torus, with exact distances and normals."""
    generator = torch.Generator().manual_seed(0)
    draws = torch.rand(3, _POINTS, generator=generator, dtype=torch.float64)
    around, along = 2 * math.pi * draws[0], 2 * math.pi * draws[1]
    distance = _BAND * (2 * draws[2] - 1)
    outward = torch.stack([along.cos(), along.sin(), torch.zeros_like(along)])
    upward = torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64).unsqueeze(1)
    normal = around.cos() * outward + around.sin() * upward
    points = _RADIUS * outward + (_TUBE + distance) * normal
    return Data(
        inputs=points.T.float().contiguous(),
        targets=torch.cat([distance.unsqueeze(0), normal]).T.float().contiguous(),
        outputs=1,
        head=nn.Identity,
        losses=partial(scores.squared_errors, unit=_BAND),
        metric=scores.root_mean_square,
        standardise=False,  # it would change what a distance is
    )


def sdf(**changes: Any) -> SignedDistance:
    """Return the built-in signed distance."""
    return SignedDistance(
        **{
            "name": "sdf",
            "title": f"{_POINTS:,} points around a torus, the signed distance from its surface",
            "metric": Metric(
                "error of the normal", "degrees", higher_is_better=False, margin=0.2, goal=10.0
            ),
            "learning_rates": (3e-4, 1e-3, 3e-3, 1e-2, 3e-2),
            "test_ratio": 1 / 3,
            # In units of the torus's size, beta = 1 is almost a plane: it ends 40 degrees off.
            "arms": "relu,softplus:beta=10",
            "rows": _POINTS,
            "things": "points",
            "epochs": 25,
            "batch_size": 64,
            **changes,
        }
    )
