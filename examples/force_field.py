"""Learns the forces in a metal cluster with ReLU and with shifted Softplus, and runs dynamics.

The energy of a cluster is a network of the distances between its atoms, SchNet (Schuett et al.,
NeurIPS 2017), and the forces are its negative gradient: training on forces differentiates twice.
SchNet has shifted Softplus because forces must not jump. With ReLU they do, and in molecular
dynamics, which should conserve energy, a jump makes energy out of nothing. Both are measured, and
the errors on other structures. The truth is EMT, an effective medium theory, from ASE. Needs ase.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from ase import units
from ase.calculators.emt import EMT
from ase.cluster import Icosahedron
from matplotlib.figure import Figure
from torch import Tensor, nn

from softplus import ShiftedSoftplus
from softplus.lab import judge

ARMS = {"relu": nn.ReLU, "softplus": ShiftedSoftplus}  # ln(1 + e^x) - ln 2, as in SchNet
COLOURS = {"EMT": "#E69F00", "relu": "black", "softplus": "#0072B2"}
MEASURES = ("force error, meV/Å", "energy error, meV", "force jump, meV/Å", "energy made, meV")
CLUSTER = Icosahedron("Cu", 2)  # 13 atoms ...
CLUSTER.symbols[1::3] = "Au"  # ... of which four are gold
CLUSTER.calc = EMT()
NUMBERS, MASSES = torch.tensor(CLUSTER.numbers), torch.tensor(CLUSTER.get_masses())[:, None]
PAIRS = torch.triu_indices(len(CLUSTER), len(CLUSTER), offset=1)
HERE, THERE = torch.cat([PAIRS, PAIRS.flip(0)], dim=1)  # both ways
WIDTH, CENTRES, KELVIN, STEP = 32, torch.linspace(1.5, 6.0, 30), 600, 5 * units.fs
PULLED = torch.tensor(CLUSTER.positions).repeat(251, 1, 1)
PULLED[:, -1] *= torch.linspace(1, 1.2, 251)[:, None]  # half an Angstrom outwards


def mlp(activation: type[nn.Module], inputs: int, outputs: int = WIDTH) -> nn.Sequential:
    """Return two layers."""
    return nn.Sequential(nn.Linear(inputs, WIDTH), activation(), nn.Linear(WIDTH, outputs))


class SchNet(nn.Module):
    """The energy: atoms with features, which they exchange by filters of their distance."""

    def __init__(self, activation: type[nn.Module]) -> None:
        super().__init__()
        self.embedding = nn.Embedding(100, WIDTH)
        self.filters = nn.ModuleList(mlp(activation, len(CENTRES)) for _ in range(2))
        self.updates = nn.ModuleList(mlp(activation, WIDTH) for _ in range(2))
        self.energy = mlp(activation, WIDTH, 1)

    def forward(self, positions: Tensor) -> Tensor:
        distance = (positions[:, PAIRS[0]] - positions[:, PAIRS[1]]).norm(dim=2, keepdim=True)
        basis = torch.exp(-10 * (distance - CENTRES) ** 2)
        x = self.embedding(NUMBERS).expand(len(positions), -1, -1)
        for filters, update in zip(self.filters, self.updates, strict=True):
            messages = x[:, THERE] * filters(basis).repeat(1, 2, 1)
            x = x + update(torch.zeros_like(x).index_add(1, HERE, messages))
        return self.energy(x).sum(dim=(1, 2))

    def with_forces(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Return energies and forces; while it trains, these can be differentiated again."""
        positions = positions.detach().requires_grad_()
        energies = self(positions)
        (slope,) = torch.autograd.grad(energies.sum(), positions, create_graph=self.training)
        return energies.detach(), -slope


def emt(positions: Tensor) -> tuple[Tensor, Tensor]:
    """Return the true energies (eV) and forces (eV/Angstrom)."""
    found = []
    for CLUSTER.positions in positions.numpy():
        found.append((CLUSTER.get_potential_energy(), CLUSTER.get_forces()))
    return tuple(torch.tensor(np.array(part)) for part in zip(*found, strict=True))


def trained(activation: type[nn.Module], x: Tensor, forces: Tensor, steps: int) -> Callable:
    """Return what a network has learned from forces; its energies are right up to a constant."""
    model, x, forces = SchNet(activation), x.float(), forces.float()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)  # better than 1e-3, for both
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        rows = torch.randint(len(x), (10,))
        optimizer.zero_grad()
        nn.functional.mse_loss(model.with_forces(x[rows])[1], forces[rows]).backward()
        optimizer.step()
        schedule.step()
    return model.eval().double().with_forces


def dynamics(field: Callable, x: Tensor, kelvin: float, steps: int) -> tuple[Tensor, Tensor]:
    """Return positions and total energies (meV, less the first) by velocity Verlet."""
    torch.manual_seed(0)  # the same velocities for all
    v = (units.kB * kelvin / MASSES).sqrt() * torch.randn_like(x)
    a, found = field(x)[1] / MASSES, []
    for _ in range(steps):
        x = x + STEP * v + STEP**2 / 2 * a
        energies, forces = field(x)
        v, a = v + STEP / 2 * (a + forces / MASSES), forces / MASSES
        found.append((x, 1000 * (energies + (MASSES * v**2).sum(dim=(1, 2)) / 2)))
    positions, totals = map(torch.stack, zip(*found, strict=True))
    return positions, totals - totals[0]


def main() -> None:
    """Sample, train, run; print the table and the verdicts, and draw the last networks."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a smoke test: too short to conclude")
    parser.add_argument("--picture", type=Path, default=Path("force_field.png"))
    arguments = parser.parse_args()
    seeds, frames, steps = (2, 5, 20) if arguments.quick else (4, 100, 700)
    # At rest to begin with, the bonds take half of the energy of motion, and KELVIN are left.
    x = dynamics(emt, PULLED[:1].repeat(4, 1, 1), 2 * KELVIN, 10 * frames)[0][9::10].flatten(0, 1)
    energies, forces = emt(x)
    table: dict[str, list[list[float]]] = {name: [] for name in COLOURS}
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    for seed in range(seeds):
        for name, rows in table.items():
            torch.manual_seed(seed)  # the same split, start and batches for all
            train, test = torch.randperm(len(x)).split([3 * frames, frames])
            field = trained(ARMS[name], x[train], forces[train], steps) if name in ARMS else emt
            energy, force = field(x[test])
            pull = 1000 * field(PULLED)[1][:, -1, 2]
            made = dynamics(field, x[test[:4]], KELVIN, 2 * frames)[1]
            off = (force - forces[test]).abs().mean(), (energy - energies[test]).std()
            found = 1000 * off[0], 1000 * off[1], pull.diff().abs().max(), made.abs().amax(0).mean()
            rows.append([value.item() for value in found])
            if seed == 0:
                left.plot(pull, label=name, color=COLOURS[name])
                right.plot(made[:, 0], color=COLOURS[name])
    print(f"{'means of ' + str(seeds):12}", *(f"{name:>20}" for name in MEASURES))
    for name, rows in table.items():
        print(f"{name:12}", *(f"{value:20.1f}" for value in np.mean(rows, axis=0)))
    for place in (0, 3):
        scores = {name: [row[place] for row in table[name]] for name in ARMS}
        print(f"\n{MEASURES[place]}:")
        print(judge(scores, margin=1, test_ratio=1 / 3, lower_is_better=True))
    left.set(xlabel="an atom moved outwards, step of 0.002 Å", ylabel="force on it, meV/Å")
    right.set(xlabel="step of dynamics, 5 fs", ylabel="change of the total energy, meV")
    left.legend(frameon=False)
    figure.savefig(arguments.picture, dpi=130)
    print(f"Picture: {arguments.picture}")


if __name__ == "__main__":
    main()
