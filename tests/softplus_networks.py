"""Small Softplus networks, and everything of a model that a failed call might change."""

import math

import torch
from torch import Tensor, nn

LN2 = math.log(2)


def network(*activations: nn.Module, width: int = 8) -> nn.Sequential:
    """Return Linear layers with these activations between them, the same weights on every call."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        layers = [module for act in activations for module in (nn.Linear(width, width), act)]
        return nn.Sequential(*layers, nn.Linear(width, 3))


def sample(*shape: int) -> Tensor:
    """Return normal values, the same on every call."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def state_of(model: nn.Module) -> tuple:
    """Return everything of a model that a failed call might have changed."""
    parts = {name: (module, repr(module)) for name, module in model.named_modules()}
    return parts, {name: (id(p), p.clone()) for name, p in model.state_dict(keep_vars=True).items()}


def assert_unchanged(model: nn.Module, before: tuple) -> None:
    """Hold that the model is as it was: the same modules, betas, parameters and values."""
    parts, values = state_of(model)
    assert parts == before[0]
    assert values.keys() == before[1].keys()
    for name, (identity, value) in values.items():
        assert identity == before[1][name][0]
        assert torch.equal(value, before[1][name][1])
