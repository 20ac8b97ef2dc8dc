"""Small models that compute activations in every way, and what tests of their conversion share."""

import re
import textwrap
from contextlib import nullcontext

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 -- the spelling that models use
from torch.overrides import TorchFunctionMode

from references import same
from softplus import Softplus, find_sites, softplus

TEN = {"relu": Softplus(beta=10)}


def sample(*shape: int) -> Tensor:
    """Return positive and negative values, the same on every call."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def names(model: nn.Module) -> list[str]:
    """Return the names of the sites of a model."""
    return [site.name for site in find_sites(model)]


def typed(source: str) -> type[nn.Module]:
    """Return the class that code defines which was typed at a prompt: its source is nowhere."""
    source = textwrap.dedent(source)
    scope = {**globals()}
    exec(compile(source, "<stdin>", "exec"), scope)  # noqa: S102 -- our own code
    return scope[re.search(r"^class (\w+)", source, re.MULTILINE)[1]]


def state_of(model: nn.Module) -> list[object]:
    """Return everything that a conversion may change in a model."""
    return [
        (name, type(module), {key: id(value) for key, value in vars(module).items()}, {**parts})
        for name, module in model.named_modules(remove_duplicate=False)
        for parts in [vars(module)["_modules"]]
    ]


class Linears(nn.Module):
    """What the models below share."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second = nn.Linear(4, 4), nn.Linear(4, 4)


class Everywhere(TorchFunctionMode):
    """The reference: whatever of these functions runs is a Softplus of beta 10."""

    RELUS = (F.relu, torch.relu, torch.relu_, Tensor.relu, Tensor.relu_)
    CLAMPS = ("clamp", "clip", "clamp_min", "clamp_", "clip_", "clamp_min_")

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if func not in self.RELUS and getattr(func, "__name__", "") not in self.CLAMPS:
            return func(*args, **kwargs)
        (x, *others) = (*args, *kwargs.values())
        in_place = func.__name__.endswith("_") or (func is F.relu and others == [True])
        # Of a copy, for without kernels PyTorch's softplus keeps its input.
        return x.copy_(softplus(x.clone(), 10)) if in_place else softplus(x, 10)


def gradients(y: Tensor, model: nn.Module) -> tuple[Tensor, ...]:
    """Return the gradients of all parameters."""
    parameters = tuple(model.parameters())
    return torch.autograd.grad(y.square().sum(), parameters, materialize_grads=True)


def assert_replaced(converted: nn.Module, model: nn.Module, *inputs) -> None:
    """Assert the values and gradients of a model in which whatever runs is a Softplus."""
    results = []
    for module, mode in ((converted, nullcontext()), (model, Everywhere())):
        with mode:
            y = module(*inputs)
            results.append([y, *gradients(y, module)])
    assert all(map(same, *results))
    assert not same(results[0][0], model(*inputs))


class Straight(Linears):
    """A model that fx and TorchScript's tracer follow."""

    def forward(self, x):
        return self.second(F.relu(self.first(x)).relu())


class Parent(Linears):
    """A model with methods that other models inherit."""

    def forward(self, x):
        return self.encode(self.first(x))

    def encode(self, x):
        return F.relu(x)


def transformer(activation, *, nested: bool = True) -> nn.TransformerEncoder:
    """Return an encoder in eval mode, where its layers take the fast path if they can."""
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(8, 2, 16, activation=activation, batch_first=True)
    return nn.TransformerEncoder(layer, 2, enable_nested_tensor=nested).eval()


class Branches(Linears):
    """Control flow that depends on the shape, which tracers follow, and on request on the data."""

    def __init__(self, *, data: bool = False) -> None:
        super().__init__()
        self.data = data

    def forward(self, x):
        large = x.sum() > 0 if self.data else x.shape[0] > 2
        if large:  # noqa: SIM108 -- two statements, each with a call
            x = F.relu(self.first(x))
        else:
            x = torch.relu(self.second(x))
        for _ in range(x.shape[0]):
            x = (x - 0.1).relu()
        return self.second(x)
