"""The force problems of the atlas: the energies of small clusters, learned from their forces."""

from dataclasses import dataclass
from functools import cache
from itertools import combinations
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from softplus.lab.activations import Activation
from softplus.lab.problems import scores
from softplus.lab.problems.networks import Data, Network
from softplus.lab.problems.problem import Metric
from softplus.lab.problems.torch_problem import Examples, usual_training

CONFIGURATIONS = 1_000
# Every coordinate is moved by a normal deviate of this share of the bond length.
MOVED = 0.06
# The weight of the energy's squared error, in eV², beside that of the forces, in (eV/Å)².
ENERGY = 0.1
RATES = (3e-4, 1e-3, 3e-3, 1e-2, 3e-2)

# Bond lengths in ångström near the minimum of EMT, and compact shapes with bonds of length 1.
TETRAHEDRON = np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]]) / 8**0.5
OCTAHEDRON = np.array([s * row for row in np.eye(3) for s in (1, -1)]) / 2**0.5
RING = [[np.cos(a), np.sin(a), 0] for a in 2 * np.pi * np.arange(5) / 5]
BIPYRAMID = np.array([*RING, [0, 0, 0.62], [0, 0, -0.62]]) / (2 * np.sin(np.pi / 5))
CLUSTERS = {
    "Cu4 forces": ("Cu", 2.4, TETRAHEDRON),
    "Ag6 forces": ("Ag", 2.7, OCTAHEDRON),
    "Al7 forces": ("Al", 2.7, BIPYRAMID),
}


class Distances(nn.Module):
    """All distances between atoms, of mean about 0 and variance about 1, from their coordinates."""

    def __init__(self, bond: float, atoms: int) -> None:
        super().__init__()
        self.bond = bond
        self.first, self.second = zip(*combinations(range(atoms), 2), strict=True)

    def forward(self, coordinates: Tensor) -> Tensor:
        places = coordinates.unflatten(-1, (-1, 3))
        between = places[..., self.first, :] - places[..., self.second, :]
        return (torch.linalg.vector_norm(between, dim=-1) / self.bond - 1.1) / 0.2


@dataclass(frozen=True)
class Clusters(Data):
    """Coordinates of atoms; the network proper is given their distances."""

    @property
    def columns(self) -> int:
        """How many distances there are."""
        atoms = self.inputs.shape[1] // 3
        return atoms * (atoms - 1) // 2


@dataclass(frozen=True, kw_only=True)
class Forces(Network):
    """A network whose output is an energy and whose negative gradient is the forces."""

    @property
    def data(self) -> Data:
        """The configurations, with the forces as targets."""
        return clusters(self.name)

    def model(self, activation: Activation) -> nn.Sequential:
        """Return a network on the distances between the atoms."""
        _, bond, shape = CLUSTERS[self.name]
        return nn.Sequential(Distances(bond, len(shape)), *super().model(activation))

    def losses(self, model: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
        """Return the squared error of each configuration's forces and energy."""
        energies, forces = differentiated(model, inputs, create_graph=True)
        of_forces = (forces - targets[..., 1:]).square().mean(dim=-1)
        return of_forces + ENERGY * (energies - targets[..., 0]).square()

    def score(self, model: nn.Module, examples: Examples, rows: Tensor) -> float:
        """Return the root mean square error of a component of a force."""
        inputs, targets = examples.batch(rows)
        _, forces = differentiated(model, inputs, create_graph=False)
        errors = forces.double() - targets[..., 1:].double()
        return float(errors.square().mean().sqrt())


def differentiated(
    model: nn.Module, inputs: Tensor, *, create_graph: bool
) -> tuple[Tensor, Tensor]:
    """Return the energies and the forces, their negative gradients in the coordinates."""
    with torch.enable_grad():
        places = inputs.detach().requires_grad_()
        energies = model(places).squeeze(-1)
        (gradient,) = torch.autograd.grad(energies.sum(), places, create_graph=create_graph)
    return energies, -gradient


@cache
def clusters(name: str) -> Data:
    """Return configurations of a cluster, with the energies (eV) and forces (eV/Å) of EMT.

    The energy of the unmoved cluster is 0.
    """
    from ase import Atoms  # noqa: PLC0415  # only these problems need it
    from ase.calculators.emt import EMT  # noqa: PLC0415

    element, bond, shape = CLUSTERS[name]
    draw = np.random.default_rng(0)
    places = bond * (shape + MOVED * draw.standard_normal((CONFIGURATIONS, *shape.shape)))
    atoms = Atoms(element * len(shape), bond * shape, calculator=EMT())
    unmoved = atoms.get_potential_energy()
    targets = []
    for each in places:
        atoms.set_positions(each)
        targets.append([atoms.get_potential_energy() - unmoved, *atoms.get_forces().flatten()])
    return Clusters(
        inputs=torch.tensor(places, dtype=torch.float32).flatten(1),
        targets=torch.tensor(targets, dtype=torch.float32),
        outputs=1,
        head=nn.Identity,
        losses=scores.squared_errors,
        metric=scores.root_mean_square,
        standardise=False,  # a distance is one between places as they are
    )


def load(name: str, **changes: Any) -> Forces:
    """Return the problem of this cluster; the margin is 2% of the spread of the forces."""
    data = clusters(name)
    fifth = CONFIGURATIONS // 5
    train = CONFIGURATIONS - 2 * fifth
    batch_size, epochs = usual_training(train)
    margin = float(f"{0.02 * float(data.targets[:, 1:].std()):.2g}")
    said = {
        "name": name,
        "title": f"{CONFIGURATIONS:,} configurations of a cluster, the forces on its atoms",
        "metric": Metric("error of a force", "eV/Å", higher_is_better=False, margin=margin),
        "learning_rates": RATES,
        "test_ratio": fifth / train,
        "rows": CONFIGURATIONS,
        "things": "configurations",
        "epochs": epochs,
        "batch_size": batch_size,
    }
    return Forces(**{**said, **changes})
