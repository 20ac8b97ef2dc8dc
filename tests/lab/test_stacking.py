"""Networks trained as one by `softplus.lab.stacking`: the same as alone, and no others."""

import pytest
import torch
from torch import nn

from softplus.lab import stacking
from softplus.lab.stacking import Alone, Stack


def chain(seed, *layers):
    """Return a chain whose weights follow from a seed."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(*(layer() for layer in layers))


LAYERS = (
    lambda: nn.Linear(6, 16),
    nn.GELU,
    lambda: nn.Sequential(nn.Linear(16, 16, bias=False), nn.ReLU()),
    lambda: nn.Linear(16, 3),
)


def test_a_stack_computes_what_its_models_compute_alone():
    alone = [chain(seed, *LAYERS) for seed in range(3)]
    stack = Stack([chain(seed, *LAYERS) for seed in range(3)])
    x = torch.randn(3, 32, 6)
    expected = torch.stack([model(each) for model, each in zip(alone, x, strict=True)])
    torch.testing.assert_close(stack(x), expected)
    adopted = torch.stack([model(each) for model, each in zip(stack.models, x, strict=True)])
    torch.testing.assert_close(adopted, expected)

    stack.backward((stack(x) ** 2).sum())
    (expected**2).sum().backward()
    for model, gradients in zip(alone, stack.gradients, strict=True):
        theirs = [
            p.grad.t().flatten() for layer in model.modules() for p in layer.parameters(False)
        ]
        torch.testing.assert_close(gradients[: sum(map(len, theirs))], torch.cat(theirs))


def test_an_optimizer_of_the_rows_moves_the_models():
    stack = Stack([chain(seed, *LAYERS) for seed in range(3)])
    before = [model[0].weight.clone() for model in stack.models]
    first, second = stack.blocks([1, 2])
    x = torch.randn(3, 32, 6)
    stack.backward(stack(x).square().sum())
    torch.optim.SGD([second], lr=0.1).step()
    assert stack.models[0][0].weight.equal(before[0])
    assert not stack.models[1][0].weight.equal(before[1])
    assert len(first) == 1
    assert len(second) == 2


def test_a_network_is_kept_and_restored_apart_from_the_others():
    stack = Stack([chain(seed, *LAYERS) for seed in range(2)])
    stack.keep(1)
    kept = stack.models[1][0].weight.clone()
    stack.values.add_(1.0)
    stack.restore(1)
    assert stack.models[1][0].weight.equal(kept)
    alone = Alone(chain(0, *LAYERS))
    alone.keep(0)
    before = alone.module[0].weight.clone()
    with torch.no_grad():
        alone.module[0].weight.add_(1.0)
    alone.restore(0)
    assert alone.module[0].weight.equal(before)


def test_elementwise_modules_are_shared_so_that_one_beta_moves_for_all():
    models = [chain(seed, *LAYERS) for seed in range(2)]
    Stack(models)
    assert models[0][1] is models[1][1]
    assert models[0][2][1] is models[1][2][1]


@pytest.mark.parametrize(
    ("layers", "stacks"),
    [
        (LAYERS, True),
        ([nn.Flatten, lambda: nn.Linear(16, 16)], True),
        ([lambda: nn.Linear(16, 16), lambda: nn.BatchNorm1d(16)], False),  # it learns too
        ([lambda: nn.Linear(13, 10)], False),  # every second one would start off a cache line
        ([lambda: nn.Linear(1024, 1024)], False),  # nothing to gain
        ([nn.ReLU], False),
        ([lambda: nn.Linear(16, 16).double()], False),
        ([lambda: nn.Linear(16, 16).requires_grad_(False)], False),
        ([lambda: nn.utils.parametrizations.weight_norm(nn.Linear(16, 16))], False),
        ([lambda: nn.Conv1d(16, 16, 1)], False),
    ],
)
def test_only_chains_of_linear_layers_stack(layers, stacks):
    assert stacking.can_stack(chain(0, *layers)) is stacks


def test_a_layer_used_twice_or_hooked_does_not_stack():
    layer = nn.Linear(16, 16)
    assert not stacking.can_stack(nn.Sequential(layer, nn.ReLU(), layer))
    layer.register_forward_hook(lambda *_: None)
    assert not stacking.can_stack(nn.Sequential(layer))


class AddsTheMean(nn.Module):
    """A module without parameters that mixes examples."""

    def forward(self, input):
        return input + input.mean(dim=0)


@pytest.mark.parametrize(
    ("layer", "agrees"),
    [
        (nn.Identity, True),
        (nn.ReLU, True),
        (lambda: nn.Softmax(dim=-1), True),
        (nn.Dropout, False),
        (AddsTheMean, False),
        (lambda: nn.Softmax(dim=1), False),
        (lambda: nn.Unflatten(1, (4, 4)), False),
    ],
)
def test_a_stack_agrees_with_its_models_or_is_not_used(layer, agrees):
    models = [chain(seed, lambda: nn.Linear(6, 16), layer) for seed in range(2)]
    assert stacking.agrees(Stack(models), torch.randn(32, 6)) is agrees


def test_one_activation_in_two_places_runs_in_both():
    relu = nn.ReLU()
    models = [
        nn.Sequential(nn.Linear(16, 16), relu, nn.Linear(16, 16), relu, nn.Linear(16, 1))
        for _ in range(2)
    ]
    x = torch.randn(2, 32, 16)
    stack = Stack(models)
    torch.testing.assert_close(stack(x)[0], models[0](x[0]))
