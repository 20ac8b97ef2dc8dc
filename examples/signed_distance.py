"""Learns a surface from points, with an eikonal loss: with this Softplus, PyTorch's, and ReLU.

A network f is to be the signed distance from a shape of which points and normals are known, as a
scanner gives them: f = 0 and grad f = n at the points, |grad f| = 1 everywhere (Gropp et al.,
Implicit Geometric Regularization for Learning Shapes, ICML 2020). The loss contains a gradient, so
a step runs forward, backward and double backward. With ReLU that gradient, the surface's normal, is
constant in pieces; Softplus with beta = 100 is nearly ReLU in value, and smooth in gradient.
The shape is a trefoil knot in a box of size 2, known exactly. Needs scikit-image.
"""

import argparse
import math
from functools import partial
from itertools import pairwise
from pathlib import Path
from statistics import fmean

import torch
from matplotlib.figure import Figure
from mpl_toolkits.mplot3d.art3d import Poly3DCollection
from skimage.measure import marching_cubes
from torch import Tensor, nn

from softplus import Softplus
from softplus.lab import judge, timing

ARMS = {"relu": nn.ReLU(), "nn.Softplus": nn.Softplus(beta=100), "softplus": Softplus(beta=100)}
DEPTH, WIDTH, SCANNED, BATCH, EIKONAL = 4, 128, 20_000, 400, 0.1
RATE = 1e-3  # of 1e-3, 3e-3 and 6e-3 the best for ReLU; for Softplus the worst
TUBE = 0.14  # the radius of the knot's tube; the knot fits into [-1, 1]


def trefoil(t: Tensor) -> Tensor:
    """Return the points of the curve inside the tube, for t from 0 to 2 pi."""
    around = 2 + torch.cos(3 * t)
    curve = torch.stack([around * torch.cos(2 * t), around * torch.sin(2 * t), torch.sin(3 * t)], 1)
    return curve / 3.6


def scan(count: int) -> tuple[Tensor, Tensor]:
    """Return random points of the knot's surface, and their outward normals."""
    t = 2 * math.pi * torch.rand(count)
    tangents = trefoil(t + 1e-3) - trefoil(t - 1e-3)
    normals = nn.functional.normalize(torch.linalg.cross(torch.randn(count, 3), tangents), dim=1)
    return trefoil(t) + TUBE * normals, normals


def network(activation: nn.Module) -> nn.Sequential:
    """Return a network that starts as the distance from a sphere (Atzmon and Lipman, SAL, 2020)."""
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise([3, *[WIDTH] * DEPTH, 1]):
        layers += [nn.Linear(inputs, outputs), activation]
        nn.init.normal_(layers[-2].weight, 0, math.sqrt(2 / outputs))
        nn.init.zeros_(layers[-2].bias)
    nn.init.normal_(layers[-2].weight, math.sqrt(math.pi / WIDTH), 1e-6)
    nn.init.constant_(layers[-2].bias, -0.5)
    return nn.Sequential(*layers[:-1])


def with_gradient(model: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
    """Return f(x) and its gradient in x, which can be differentiated again."""
    x = x.detach().requires_grad_()
    f = model(x).squeeze(1)
    return f, torch.autograd.grad(f.sum(), x, create_graph=True)[0]


def step(model: nn.Module, optimizer: torch.optim.Optimizer, x: Tensor, normals: Tensor) -> None:
    """Make one step of training, on points of the surface and as many anywhere."""
    f, gradient = with_gradient(model, x)
    _, elsewhere = with_gradient(model, 2 * torch.rand_like(x) - 1)
    eikonal = (torch.cat([gradient, elsewhere]).norm(dim=1) - 1).square().mean()
    loss = f.abs().mean() + (gradient - normals).norm(dim=1).mean() + EIKONAL * eikonal
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


def trained(activation: nn.Module, steps: int) -> nn.Module:
    """Return a network that has learned a scan."""
    model = network(activation)
    points, normals = scan(SCANNED)
    optimizer = torch.optim.Adam(model.parameters(), RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        rows = torch.randint(SCANNED, (BATCH,))
        step(model, optimizer, points[rows], normals[rows])
        schedule.step()
    return model


def surface(model: nn.Module, size: int) -> Tensor:
    """Return the triangles of f = 0, by marching cubes on a grid of size^3."""
    axis = torch.linspace(-1, 1, size)
    with torch.no_grad():
        values = model(torch.cartesian_prod(axis, axis, axis)).view(size, size, size)
    corners, faces, _, _ = marching_cubes(values.numpy(), 0.0, spacing=(2 / (size - 1),) * 3)
    return torch.from_numpy(corners[faces] - 1).float()


def draw(path: Path, models: dict[str, nn.Module], size: int) -> None:
    """Draw the surfaces, lit by the gradients of their networks."""
    figure = Figure(figsize=(9, 3.4), layout="constrained")
    axes = figure.subplots(1, 3, subplot_kw={"projection": "3d", "elev": 60, "azim": -60})
    for ax, (name, model) in zip(axes, models.items(), strict=True):
        mesh = surface(model, size)
        _, gradient = with_gradient(model, mesh.mean(dim=1))
        light = nn.functional.normalize(gradient.detach(), dim=1)[:, ::2].sum(dim=1)
        knot = Poly3DCollection(mesh.numpy(), array=light.numpy(), cmap="copper", antialiased=False)
        ax.add_collection3d(knot)
        ax.set(title=name, xlim=(-0.7, 0.7), ylim=(-0.7, 0.7), zlim=(-0.52, 0.52))
        ax.set_axis_off()
    figure.savefig(path, dpi=100)


def main() -> None:
    """Train, print the table and the verdict, and draw the last surfaces."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a smoke test: too short to conclude")
    parser.add_argument("--picture", type=Path, default=Path("signed_distance.png"))
    arguments = parser.parse_args()
    seeds, steps, size = (2, 40, 24) if arguments.quick else (3, 400, 72)
    models, calls, off, angles = {}, {}, {}, {}
    for seed in range(seeds):
        for name, activation in ARMS.items():
            torch.manual_seed(seed)  # the same start, scan and batches for all
            models[name] = model = trained(activation, steps)
            x, normals = scan(5_000)  # points that it has not seen
            f, gradient = (part.detach() for part in with_gradient(model, x))
            distance = f.abs() / gradient.norm(dim=1)  # from x to the surface f = 0
            off.setdefault(name, []).append(1000 * distance.mean().item())
            cosine = nn.functional.cosine_similarity(gradient, normals).clamp(-1, 1)
            angles.setdefault(name, []).append(cosine.acos().rad2deg().mean().item())
            calls[name] = partial(step, model, torch.optim.Adam(model.parameters()), x, normals)
    times = timing.interleaved(calls, rounds=7).medians("relu")
    print(f"mean of {seeds} trainings   surface off by  normals off by  step of {len(x):,} points")
    for name in ARMS:
        errors = f"{fmean(off[name]):13.2f}/1000{fmean(angles[name]):8.2f} degrees"
        print(f"{name:18}{errors}{1000 * times[name]:20.0f} ms")
    for other in judge(off, reference="softplus", margin=0.1, lower_is_better=True).verdicts:
        gap, winner = other.these_rows.interval, other.these_rows.winner
        interval = f"{gap.center:+.2f} ({gap.low:+.2f} to {gap.high:+.2f})"
        print(f"surface, {other.arm} less softplus: {interval}, so: {winner}")
    draw(arguments.picture, models, size)
    print(f"Picture: {arguments.picture}")


if __name__ == "__main__":
    main()
