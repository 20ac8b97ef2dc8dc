"""Programs on other people's libraries, as their users write them.

Each function prepares one in a dtype and returns the call that runs it, from the same start every
time, and gives what it computed.
"""

import math
from collections.abc import Callable
from functools import partial

import gpytorch
import pyro
import torch
from ase.build import molecule
from gpytorch.constraints import Positive
from pyro.distributions import transforms as pyro_transforms
from pyro.infer import SVI, Trace_ELBO
from pyro.infer.autoguide import AutoNormal
from torch import Tensor, distributions
from torch.utils.data import dataloader

# SchNetPack 2.1.1 imports a type variable under the name that it had in older versions of PyTorch.
if not hasattr(dataloader, "T_co"):
    dataloader.T_co = dataloader._T_co

import schnetpack
from schnetpack import properties
from schnetpack.nn import activations

Run = Callable[[], list[Tensor]]


class Regression(gpytorch.models.ExactGP):
    """Exact Gaussian process regression, every hyperparameter under GPyTorch's Positive."""

    def __init__(self, x: Tensor, y: Tensor, likelihood: gpytorch.likelihoods.GaussianLikelihood):
        super().__init__(x, y, likelihood)
        self.mean = gpytorch.means.ConstantMean()
        self.covariance = gpytorch.kernels.ScaleKernel(
            gpytorch.kernels.RBFKernel(lengthscale_constraint=Positive()),
            outputscale_constraint=Positive(),
        )

    def forward(self, x: Tensor) -> gpytorch.distributions.MultivariateNormal:
        return gpytorch.distributions.MultivariateNormal(self.mean(x), self.covariance(x))


def gpytorch_fit(dtype: torch.dtype) -> Run:
    """Fit the hyperparameters of a Gaussian process to 100 points in 30 steps of Adam."""
    x = torch.linspace(0, 1, 100, dtype=dtype)
    y = torch.sin(2 * math.pi * x) + 0.1 * torch.cos(40 * x)

    def run() -> list[Tensor]:
        likelihood = gpytorch.likelihoods.GaussianLikelihood(noise_constraint=Positive())
        model = Regression(x, y, likelihood).to(dtype)
        objective = gpytorch.mlls.ExactMarginalLogLikelihood(likelihood, model)
        optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
        for _ in range(30):
            optimizer.zero_grad()
            loss = -objective(model(x), y)
            loss.backward()
            optimizer.step()
        kernel = model.covariance
        found = [kernel.base_kernel.lengthscale, kernel.outputscale, likelihood.noise]
        return [loss.detach(), *(value.detach() for value in found)]

    return run


def transformed_density(transform: distributions.Transform, dtype: torch.dtype) -> Run:
    """Differentiate the likelihood of 20,000 values, and transform as many."""
    values = torch.linspace(0.01, 12, 20_000, dtype=dtype)
    draws = torch.linspace(-40, 40, 20_000, dtype=dtype)
    location = torch.tensor(0.3, dtype=dtype).requires_grad_()
    scale = torch.tensor(2.0, dtype=dtype).requires_grad_()

    def run() -> list[Tensor]:
        normal = distributions.Normal(location, scale)
        positive = distributions.TransformedDistribution(normal, [transform])
        likelihood = positive.log_prob(values).mean()
        gradients = torch.autograd.grad(likelihood, [location, scale])
        return [likelihood.detach(), *gradients, transform(draws)]

    return run


def pyro_guide(dtype: torch.dtype) -> Run:
    """Fit Pyro's AutoNormal guide, whose scales are softplus-positive, in 20 steps of SVI."""
    features = torch.cos(torch.arange(200 * 2000, dtype=dtype).reshape(200, 2000) * 0.7)
    labels = (features[:, 0] > 0).to(dtype)
    zeros, ones = torch.zeros(2000, dtype=dtype), torch.ones(2000, dtype=dtype)

    def model() -> None:
        weights = pyro.sample("weights", pyro.distributions.Normal(zeros, ones).to_event(1))
        logits = features @ weights / 2000**0.5
        pyro.sample("labels", pyro.distributions.Bernoulli(logits=logits).to_event(1), obs=labels)

    def run() -> list[Tensor]:
        pyro.set_rng_seed(0)
        pyro.clear_param_store()
        guide = AutoNormal(model)
        inference = SVI(model, guide, pyro.optim.Adam({"lr": 0.01}), Trace_ELBO())
        losses = [inference.step() for _ in range(20)]
        return [torch.tensor(losses), guide.median()["weights"].detach()]

    return run


def schnet(*, training: bool, dtype: torch.dtype) -> Run:
    """Compute energies and forces of 32 molecules by SchNet; in training, the loss's gradient.

    The forces are a derivative, so that gradient differentiates twice.
    """
    molecules, ethanol = 32, molecule("CH3CH2OH")
    atoms = len(ethanol)
    first, second = (~torch.eye(atoms, dtype=torch.bool)).nonzero(as_tuple=True)
    start = torch.arange(molecules)[:, None] * atoms
    torch.manual_seed(0)
    displacements = 0.05 * torch.randn(molecules, atoms, 3, dtype=torch.float64)
    positions = (torch.tensor(ethanol.positions) + displacements).reshape(-1, 3)
    batch = {
        properties.Z: torch.tensor(ethanol.numbers).repeat(molecules),
        properties.R: positions.to(dtype),
        properties.idx_i: (start + first).flatten(),
        properties.idx_j: (start + second).flatten(),
        properties.idx_m: torch.arange(molecules).repeat_interleave(atoms),
        properties.offsets: torch.zeros(molecules * len(first), 3, dtype=dtype),
        properties.n_atoms: torch.full((molecules,), atoms),
    }
    potential = schnetpack.model.NeuralNetworkPotential(
        schnetpack.representation.SchNet(
            n_atom_basis=64,
            n_interactions=3,
            radial_basis=schnetpack.nn.GaussianRBF(n_rbf=20, cutoff=5.0),
            cutoff_fn=schnetpack.nn.CosineCutoff(5.0),
        ),
        input_modules=[schnetpack.atomistic.PairwiseDistances()],
        output_modules=[
            schnetpack.atomistic.Atomwise(
                n_in=64, activation=activations.shifted_softplus, output_key="energy"
            ),
            schnetpack.atomistic.Forces(energy_key="energy", force_key="forces"),
        ],
    )
    potential.to(dtype).train(training)
    parameters = list(potential.parameters())

    def run() -> list[Tensor]:
        result = potential({**batch, properties.R: batch[properties.R].clone()})
        energy, forces = result["energy"], result["forces"]
        if not training:
            return [energy.detach(), forces]
        loss = energy.square().mean() + forces.square().mean()
        return [loss.detach(), *torch.autograd.grad(loss, parameters)]

    return run


PROGRAMS = {
    "GPyTorch, fit with Positive": gpytorch_fit,
    "torch.distributions, SoftplusTransform": partial(
        transformed_density, distributions.SoftplusTransform()
    ),
    "Pyro, SoftplusTransform": partial(transformed_density, pyro_transforms.SoftplusTransform()),
    "Pyro, AutoNormal": pyro_guide,
    "SchNetPack, energies and forces": partial(schnet, training=False),
    "SchNetPack, training on forces": partial(schnet, training=True),
}
