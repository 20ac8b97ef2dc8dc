"""The ways of calling the function that roads.py compares with PyTorch's own, and how one is timed.

A road is a row of data: what is called of ours and of PyTorch's, and the bound of their ratio.
"""

import math
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import cache, partial
from statistics import median
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.autograd.graph import saved_tensors_hooks
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import DTensor, Shard, distribute_tensor
from torch.func import grad, hessian, jacfwd, jacrev, jvp, vjp, vmap
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.checkpoint import checkpoint

from softplus import Softplus, logsigmoid, shifted_softplus, softplus, softplus_
from softplus.lab import timing

MANY = 65_536  # from here on the time is the elements', below the call's
LARGEST = 1_048_576
SECONDS_A_VISIT = 1e-3  # shorter than the time slice of a machine that others use too

Function = Callable[..., Any]
# How a road is run; as it is where a transform says that itself.
AS_IT_IS, FORWARD, RECORDED, BOTH = "", "forward", "forward, with grad", "forward + backward"


@dataclass(frozen=True)
class Road:
    """A way of calling the function, PyTorch's own, and how many times that one's time it may take.

    The bounds are those of the project's plan. `arguments` makes of normal numbers what is passed;
    `context` is entered around everything.
    """

    name: str
    ours: Function
    theirs: Function
    bound: float  # from MANY elements on
    run: str = AS_IT_IS
    few: float = 3.0  # the bound below
    bare: float = 1.1  # the least bound without kernels: PyTorch's function, and a call around it
    arguments: Callable[[Tensor], tuple[Tensor, ...]] = lambda x: (x,)
    context: Callable[[], AbstractContextManager[Any]] = nullcontext

    def limit(self, size: int, *, kernels: bool) -> float:
        """Return the bound at a size, with kernels or without."""
        if size < MANY:
            return self.few
        if not kernels:
            return max(self.bound, self.bare)
        # Beyond the second-level cache memory has its share, as in the bounds over ReLU.
        return max(self.bound, 0.33) if size > MANY else self.bound


# What is called


def ours(x: Tensor) -> Tensor:
    """Call the function as a model does."""
    return softplus(x)


def theirs(x: Tensor) -> Tensor:
    """Call PyTorch's own as a model does: from Python, where torch.compile enters."""
    return functional.softplus(x)


def one_liner(x: Tensor, beta: Tensor) -> Tensor:
    """Return softplus with a tensor as beta, as it is written without this package."""
    return functional.softplus(x * beta) / beta


class OneLiner(nn.Module):
    """A learnable beta as it is written without this package."""

    def __init__(self) -> None:
        super().__init__()
        self.raw_beta = nn.Parameter(torch.tensor([0.5]))

    def forward(self, x: Tensor) -> Tensor:
        return one_liner(x, functional.softplus(self.raw_beta) + 2.0**-14)


class Plain(Tensor):
    """A tensor subclass that overrides nothing."""


class PassThrough(TorchDispatchMode):
    """A dispatch mode that sees every operation and changes none."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return func(*args, **(kwargs or {}))


@cache
def mesh() -> Any:
    """Return a mesh of this process alone."""
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    return init_device_mesh("cpu", (1,))


# The ways: from the function to what is called


def summed(f: Function) -> Function:
    """Return the sum of the results."""
    return lambda x: f(x).sum()


def four_sums(f: Function) -> Function:
    """Return four numbers: a Jacobian of four rows, whatever the size."""
    return lambda x: f(x).view(4, -1).sum(1)


def by_four_factors(f: Function) -> Function:
    """Return the derivatives by four factors of the input: a Jacobian of four columns."""
    return lambda x: jacfwd(lambda factors: f(x.view(4, -1) * factors))(torch.ones(4, 1))


def dual(f: Function) -> Function:
    """Return the derivative by a tangent outside functorch."""

    def call(x: Tensor) -> Tensor:
        with forward_ad.dual_level():
            return forward_ad.unpack_dual(f(forward_ad.make_dual(x, x))).tangent

    return call


def twice(f: Function) -> Function:
    """Return the second derivative: forward, backward and double backward."""

    def call(x: Tensor) -> Tensor:
        leaf = x.detach().requires_grad_()
        (first,) = torch.autograd.grad(f(leaf).sum(), leaf, create_graph=True)
        return torch.autograd.grad(first.sum(), leaf)[0]

    return call


def chain(f: Function) -> Function:
    """Return the function between pointwise operations."""
    return lambda x, *beta: f(x * 1.5 + 0.1, *beta) * 1.5


def after_layer_norm(f: Function) -> Function:
    """Return the function of normalised rows."""
    return lambda x: f(functional.layer_norm(x, x.shape[-1:]))


def training_step(activation: Callable[[], nn.Module]) -> Function:
    """Return a step of an MLP of two hidden layers of 64."""
    torch.manual_seed(0)
    layers = [nn.Linear(64, 64), activation(), nn.Linear(64, 64), activation(), nn.Linear(64, 64)]
    network = nn.Sequential(*layers)
    optimizer = torch.optim.SGD(network.parameters(), lr=1e-3)

    def call(x: Tensor) -> None:
        optimizer.zero_grad()
        network(x).square().mean().backward()
        optimizer.step()

    return call


# The roads


def runs(
    name: str, bounds: dict[str, float], mine: Function, other: Function, **more: Any
) -> list[Road]:
    """Return a road for each way of running the functions, with its bound."""
    return [Road(name, mine, other, bound, run, **more) for run, bound in bounds.items()]


def through(name: str, way: Callable[[Function], Function], **more: Any) -> Road:
    """Return the road of a transform."""
    return Road(name, way(ours), way(theirs), **{"bound": 1.5, "few": 4.0} | more)


def with_beta(name: str, shape: tuple[int, ...], beta: Callable[[Tensor], Tensor]) -> list[Road]:
    """Return the roads of a tensor as beta, for inputs of a shape."""

    def arguments(x: Tensor) -> tuple[Tensor, ...]:
        return x.view(shape), beta(x)

    return runs(name, NEVER_SLOWER, softplus, one_liner, arguments=arguments)


def betas(*shape: int) -> Callable[[Tensor], Tensor]:
    """Return what gives so many betas, whatever the input."""
    return lambda _: torch.linspace(0.5, 2.0, math.prod(shape)).view(shape)


def compiled(name: str, mine: Function, other: Function, bound: float, **more: Any) -> list[Road]:
    """Return the roads of a compiled program: over PyTorch's compiled, and over ours eager."""
    program = partial(torch.compile, dynamic=False, fullgraph=True)
    more = {"arguments": lambda x: (x.view(-1, 64),)} | more
    # Entering compiled code is most of it on few elements, and without kernels it is PyTorch's own.
    over_eager = {"few": math.inf, "bare": math.inf} | more
    return [
        *runs(name, {FORWARD: bound, BOTH: bound}, program(mine), program(other), **more),
        *runs(f"{name}, over eager", NEVER_SLOWER, program(mine), mine, **over_eager),
    ]


NEVER_SLOWER = {FORWARD: 1.0, BOTH: 1.0}
AS_PYTORCH = {FORWARD: 1.5, BOTH: 1.5}
# In place and `out=`: F.softplus has no `inplace`, but takes its input as `out`.
SCRATCH = torch.empty(LARGEST)

EAGER = [
    *runs("plain eager", {FORWARD: 0.25, RECORDED: 0.25, BOTH: 1.0}, ours, theirs),
    *runs("inference mode", {FORWARD: 0.25}, ours, theirs, context=torch.inference_mode),
    Road("in place", softplus_, lambda x: functional.softplus(x, out=x), 0.25, FORWARD),
    Road(
        "`out=`",
        lambda x: softplus(x, out=SCRATCH[: len(x)]),
        lambda x: functional.softplus(x, out=SCRATCH[: len(x)]),
        0.25,
        FORWARD,
    ),
    *runs(
        "a NumPy number, 2, as beta",
        {FORWARD: 0.5, BOTH: 1.0},  # any beta but 1 takes half as much again
        lambda x: softplus(x, np.float32(2)),
        lambda x: functional.softplus(x, 2.0),
    ),
    *runs("`logsigmoid`", {FORWARD: 0.25, BOTH: 1.0}, logsigmoid, functional.logsigmoid),
    *runs(
        "`shifted_softplus`",
        NEVER_SLOWER,
        shifted_softplus,
        lambda x: functional.softplus(x) - math.log(2),
        bare=1.5,  # exact at 0, as that is not
    ),
    through("double backward", twice, bound=1.0, few=3.0),
    *with_beta("one beta in a tensor", (-1,), betas()),
    *with_beta("a beta per channel, NCHW", (2, 16, 2, -1), betas(16, 1, 1)),
    *with_beta("a beta per channel, last", (-1, 64), betas(64)),
    *with_beta("a beta per element", (-1,), lambda x: x.sigmoid() + 0.5),
    *runs("learnable `Softplus`", NEVER_SLOWER, Softplus(learnable=True), OneLiner()),
    Road(
        "MLP step, learnable over `nn.Softplus`",
        training_step(partial(Softplus, learnable=True)),
        training_step(nn.Softplus),
        1.2,
        arguments=lambda x: (x.view(-1, 64),),
    ),
]
TRANSFORMS = [
    through("`vmap`", vmap),
    through("`vmap(vmap)`", lambda f: vmap(vmap(f)), arguments=lambda x: (x.view(-1, 64),)),
    through("`grad`", lambda f: grad(summed(f))),
    through("`vmap(grad)`", lambda f: vmap(grad(f))),
    through("`vjp`", lambda f: lambda x: vjp(f, x)[1](x)),
    through("`jvp`", lambda f: lambda x: jvp(f, (x,), (x,))),
    through("`jacrev`", lambda f: jacrev(four_sums(f))),
    through("`jacfwd`", by_four_factors),
    through("`hessian`", lambda f: vmap(hessian(summed(f))), arguments=lambda x: (x.view(-1, 4),)),
    through("`jvp(grad)`", lambda f: lambda x: jvp(grad(summed(f)), (x,), (x,))),
    through("forward-mode AD", dual),
    *runs("tensor subclass", AS_PYTORCH, ours, theirs, arguments=lambda x: (x.as_subclass(Plain),)),
    *runs("dispatch mode", AS_PYTORCH, ours, theirs, context=PassThrough),
    *runs("`torch.device`", AS_PYTORCH, ours, theirs, context=lambda: torch.device("cpu")),
    *runs(
        "saved-tensor hooks",
        {BOTH: 1.0},
        ours,
        theirs,
        context=lambda: saved_tensors_hooks(lambda x: x, lambda x: x),
    ),
    through(
        "activation checkpointing",
        lambda f: partial(checkpoint, f, use_reentrant=False),
        run=BOTH,
        few=3.0,
    ),
    *runs("autocast", AS_PYTORCH, ours, theirs, context=partial(torch.autocast, "cpu")),
    *runs(
        "DTensor",
        AS_PYTORCH,
        ours,
        theirs,
        arguments=lambda x: (distribute_tensor(x, mesh(), [Shard(0)]),),
    ),
]
COMPILED = [
    *compiled("`torch.compile`", chain(ours), chain(theirs), 0.6),
    *compiled("`torch.compile`, layer_norm", after_layer_norm(ours), after_layer_norm(theirs), 0.6),
    *compiled(
        "`torch.compile`, a beta per channel",
        chain(softplus),
        chain(one_liner),
        1.0,
        arguments=lambda x: (x.view(-1, 64), betas(64)(x)),
    ),
]
ROADS = [*EAGER, *TRANSFORMS, *COMPILED]


# Measuring


def prepared(road: Road, function: Function, size: int) -> Callable[[], Any]:
    """Return the call that is timed."""
    x = torch.randn(size, generator=torch.Generator().manual_seed(0))
    arguments = road.arguments(x)
    if road.run in {AS_IT_IS, FORWARD}:
        return partial(function, *arguments)
    leaves = tuple(argument.detach().requires_grad_() for argument in arguments)
    if road.run == RECORDED:
        return partial(function, *leaves)
    parameters = function.parameters() if isinstance(function, nn.Module) else ()
    wanted = (*leaves, *parameters)
    ones = torch.ones_like(arguments[0])
    return lambda: torch.autograd.grad(function(*leaves), wanted, ones)


def bytes_kept(call: Callable[[], Any]) -> int:
    """Return the bytes of all memory that a call keeps for backward, each counted once."""
    kept: dict[int, int] = {}
    alive = []  # a freed address could be taken again, and be counted once

    def note(tensor: Tensor) -> Tensor:
        local = tensor.to_local() if isinstance(tensor, DTensor) else tensor
        storage = local.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        alive.append(tensor)
        return tensor

    with saved_tensors_hooks(note, lambda tensor: tensor):
        call()
    return sum(kept.values())


def measure(road: Road, size: int, seconds: float) -> dict[str, float | None]:
    """Return what a road costs and keeps over PyTorch's, timed in turn for so many seconds.

    A ratio of None is a call that raised; nothing is kept where PyTorch's keeps nothing.
    """
    try:
        calls = {
            "ours": prepared(road, road.ours, size),
            "theirs": prepared(road, road.theirs, size),
        }
        with road.context():
            # Below, it is single numbers that count.
            counted = road.run == BOTH and size >= MANY
            kept = {name: bytes_kept(call) if counted else 0 for name, call in calls.items()}
            once = timing.interleaved(calls, 1)
            a_round = sum(max(SECONDS_A_VISIT, *times) for times in once.values())
            rounds = min(101, max(5, round(seconds / a_round)))
            times = timing.interleaved(calls, rounds, SECONDS_A_VISIT)
    except Exception as error:  # noqa: BLE001 -- whatever it is, the other roads are measured
        print(f"{road.name}, {road.run}: {repr(error)[:200]}", file=sys.stderr)
        return {"ratio": None, "microseconds": None, "kept": None}
    pairs = zip(times["ours"], times["theirs"], strict=True)
    return {
        "ratio": round(median(a / b for a, b in pairs), 3),
        "microseconds": round(median(times["ours"]) * 1e6, 2),
        "kept": round(kept["ours"] / kept["theirs"], 3) if kept["theirs"] else None,
    }
