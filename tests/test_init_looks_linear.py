"""The start of a Softplus network: mirrored orthogonal weights, an exact linear isometry."""

import copy
import itertools
import math

import pytest
import torch
from torch import nn

import references
from softplus import (
    ShiftedSoftplus,
    Softplus,
    centering,
    looks_linear_,
)

ctx = references.ctx
F64 = torch.float64


ACTIVATIONS = {
    "Softplus": Softplus,
    "Softplus(0.1)": lambda: Softplus(0.1),
    "Softplus(10)": lambda: Softplus(10),
    "Softplus(learnable)": lambda: Softplus(2, learnable=True),
    "centred": lambda: ShiftedSoftplus(1, centering(1, 25)),
    "ShiftedSoftplus": ShiftedSoftplus,
    "ReLU": nn.ReLU,
    "SiLU": nn.SiLU,
    "GELU": nn.GELU,
}


def network(*widths, activation=Softplus, dtype=F64):
    """Return linear layers of these widths with activations between them."""
    layers = []
    for before, after in itertools.pairwise(widths):
        layers += [nn.Linear(before, after, dtype=dtype), activation()]
    return nn.Sequential(*layers[:-1])


def linear_layers(model):
    """Return the layers with weights, in order."""
    return [module for module in model.modules() if hasattr(module, "weight")]


def jacobian(function, inputs):
    """Return the matrix of a linear function, from its values at the unit vectors."""
    with torch.no_grad():
        return (
            function(torch.eye(inputs, dtype=F64)) - function(torch.zeros(1, inputs).double())
        ).T


def singular_values(model, inputs):
    """Return the singular values of a linear model, largest first."""
    return torch.linalg.svdvals(jacobian(model, inputs))


def assert_linear(model, *shape):
    """Hold that a model is linear, without an offset, far from zero too."""
    x, y = torch.randn(2, 5, *shape, dtype=F64) * 10
    with torch.no_grad():
        torch.testing.assert_close(model(2 * x - 3 * y), 2 * model(x) - 3 * model(y))
        assert model(torch.zeros(1, *shape, dtype=F64)).abs().max() < 1e-10


@pytest.mark.parametrize("name", ACTIVATIONS)
@pytest.mark.parametrize("depth", [2, 64])
def test_the_network_is_a_linear_isometry(name, depth):
    torch.manual_seed(0)
    model = network(16, *[32] * (depth - 1), 16, activation=ACTIVATIONS[name])
    assert looks_linear_(model) is model
    assert_linear(model, 16)
    torch.testing.assert_close(singular_values(model, 16), torch.ones(16, dtype=F64))


@pytest.mark.parametrize("beta", [0.5, 1.0, 10.0, -2.0])
def test_the_weights_are_those_of_the_issue(beta):
    """V orthogonal: [V; -V] scaled to variance q, [[V, -V], [-V, V]], [v, -v]/sqrt(q)."""
    torch.manual_seed(0)
    model = network(8, 16, 16, 16, 3)
    looks_linear_(model, beta)
    q = 25 / beta**2
    first, *hidden, last = [layer.weight.detach() for layer in linear_layers(model)]
    identity = torch.eye(8, dtype=F64)
    torch.testing.assert_close(first[:8], -first[8:])
    torch.testing.assert_close(first[:8].T @ first[:8], q * identity)
    for weight in hidden:
        v = weight[:8, :8]
        torch.testing.assert_close(v @ v.T, identity)
        assert torch.equal(weight, torch.cat([torch.cat([v, -v], 1), torch.cat([-v, v], 1)]))
        assert weight.square().mean().item() == pytest.approx(2 / 16)
    torch.testing.assert_close(last[:, :8], -last[:, 8:])
    torch.testing.assert_close(q * last[:, :8] @ last[:, :8].T, torch.eye(3, dtype=F64))
    assert all(layer.bias.count_nonzero() == 0 for layer in linear_layers(model))


@pytest.mark.parametrize(
    ("widths", "values"),
    [
        ((6, 12, 6), 6),
        ((6, 40, 14, 30, 6), 6),  # non-square, every half no less than the inputs
        ((6, 30, 13, 15, 6), 6),  # odd
        ((6, 13, 13, 13, 9), 6),  # more outputs than inputs
        ((6, 20, 20, 4), 4),  # fewer
        ((12, 8, 30, 12), 4),  # a half width below the inputs
        ((12, 7, 5, 12), 2),
        ((3, 2, 3), 1),
    ],
)
def test_every_singular_value_is_1_whatever_the_widths(widths, values):
    torch.manual_seed(0)
    model = looks_linear_(network(*widths), q=3.0)
    assert_linear(model, widths[0])
    found = singular_values(model, widths[0])
    torch.testing.assert_close(found[:values], torch.ones(values, dtype=F64))
    assert found[values:].abs().sum() < 1e-10


def test_no_input_is_ignored_where_a_half_width_is_below_the_inputs():
    torch.manual_seed(0)
    assert looks_linear_(network(12, 8, 12))[0].weight.abs().amin() > 0


@pytest.mark.parametrize("widths", [(6, 12, 6), (6, 40, 14, 30, 6), (12, 8, 30, 12)])
def test_pre_activations_have_variance_q(widths):
    """For inputs of covariance 1 the variances are the squares of the Jacobian's rows."""
    torch.manual_seed(0)
    model = looks_linear_(network(*widths), q=3.0)
    for end in range(1, len(model), 2):
        variance = jacobian(model[:end], widths[0]).square().sum(dim=1)
        assert variance.mean().item() == pytest.approx(3.0)


def test_the_unit_left_over_by_an_odd_width_is_unread_and_learns():
    torch.manual_seed(0)
    model = looks_linear_(network(6, 13, 13, 6, activation=nn.ReLU), q=3.0)
    first, second, last = linear_layers(model)
    assert first.weight[-1].norm().item() == pytest.approx(math.sqrt(3))
    assert second.weight[-1, :6].norm().item() == pytest.approx(1)
    assert second.weight[:, -1].count_nonzero() == 0
    assert last.weight[:, -1].count_nonzero() == 0
    model(torch.randn(50, 6, dtype=F64)).square().sum().backward()
    assert last.weight.grad[:, -1].abs().min() > 0


def test_the_default_of_q_follows_beta():
    default, given = network(4, 8, 4), network(4, 8, 4)
    torch.manual_seed(0)
    looks_linear_(default, beta=5.0)
    torch.manual_seed(0)
    looks_linear_(given, q=1.0)
    for one, other in zip(default.parameters(), given.parameters(), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_other_dtypes_take_the_same_weights_rounded(dtype):
    exact, rounded = network(4, 9, 8, 4), network(4, 9, 8, 4, dtype=dtype)
    for model in (exact, rounded):
        torch.manual_seed(0)
        looks_linear_(model)
    for one, other in zip(exact.parameters(), rounded.parameters(), strict=True):
        assert other.dtype == dtype
        assert torch.equal(one.to(dtype), other)


def test_trains_from_there():
    """One step of gradient descent breaks the mirror, so the network does not stay linear."""
    torch.manual_seed(0)
    model = looks_linear_(network(6, 12, 12, 1, activation=lambda: ShiftedSoftplus(1, 2.1205)))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    x = torch.randn(200, 6, dtype=F64)
    y = x[:, :1] * x[:, 1:2]
    losses = []
    for _ in range(100):
        optimizer.zero_grad()
        loss = (model(x) - y).square().mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.3 * losses[0]


# Convolutions

CONVOLUTIONS = {
    1: (nn.Conv1d, (7,)),
    2: (nn.Conv2d, (5, 6)),
    3: (nn.Conv3d, (3, 4, 3)),
}


@pytest.mark.parametrize("dimensions", CONVOLUTIONS)
def test_a_convolution_network_is_an_isometry(dimensions):
    torch.manual_seed(0)
    conv, size = CONVOLUTIONS[dimensions]
    model = nn.Sequential(
        conv(3, 8, 3, padding=1, dtype=F64),
        Softplus(),
        conv(8, 9, 5, padding=2, dtype=F64),
        nn.ReLU(),
        conv(9, 4, 1, dtype=F64),
    )
    looks_linear_(model)
    assert_linear(model, 3, *size)
    x = torch.randn(4, 3, *size, dtype=F64)
    with torch.no_grad():
        torch.testing.assert_close(model(x).flatten(1).norm(dim=1), x.flatten(1).norm(dim=1))
    centre = (1,) * dimensions
    outside = model[0].weight.detach().clone()
    outside[(..., *centre)] = 0
    assert outside.count_nonzero() == 0
    assert model[0].weight[(..., *centre)].count_nonzero() == 24


@pytest.mark.parametrize("channels", [6, 7, 20])
@pytest.mark.parametrize("width", [10, 64, 101])
def test_a_linear_layer_may_follow_a_flattened_convolution(channels, width):
    torch.manual_seed(0)
    pixels = 3 * 4
    model = nn.Sequential(
        nn.Unflatten(1, (2, 3, 4)),
        nn.Conv2d(2, channels, 3, padding=1, dtype=F64),
        Softplus(),
        nn.Flatten(),
        nn.Linear(channels * pixels, width, dtype=F64),
        Softplus(),
        nn.Linear(width, 2 * pixels, dtype=F64),
    )
    looks_linear_(model, q=2.0)
    assert_linear(model, 2 * pixels)
    found = singular_values(model, 2 * pixels)
    values = min(2 * pixels, width // 2)
    torch.testing.assert_close(found[:values], torch.ones(values, dtype=F64))
    assert found[values:].abs().sum() < 1e-10
    assert (
        model[4].weight[: width // 2].abs().amax(dim=0)[:-pixels].min() > 0
    )  # every pixel is read
    variance = jacobian(model[:5], 2 * pixels).square().sum(dim=1)[: width // 2 * 2]
    assert variance.mean().item() == pytest.approx(2.0)


# What is found, and what is refused


class OtherOrder(nn.Module):
    """Registers its layers in another order than it uses them, and reads the size of its input."""

    def __init__(self):
        super().__init__()
        self.last = nn.Linear(8, 8, dtype=F64)
        self.hidden = nn.ModuleList([nn.Linear(8, 8, dtype=F64), nn.Linear(8, 8, dtype=F64)])
        self.first = nn.Linear(4, 8, dtype=F64)

    def forward(self, x):
        batch = x.size(0)
        x = nn.functional.softplus(self.first(x))
        for layer in reversed(self.hidden):
            x = torch.relu(layer(x))
        return self.last(x).view(batch, x.shape[1])


def test_layers_are_taken_in_their_order_of_use():
    torch.manual_seed(0)
    model = looks_linear_(OtherOrder())
    assert_linear(model, 4)
    torch.testing.assert_close(singular_values(model, 4), torch.ones(4, dtype=F64))


class Residual(nn.Module):
    """Has one skip connection."""

    def __init__(self):
        super().__init__()
        self.first, self.second, self.last = nn.Linear(4, 8), nn.Linear(8, 8), nn.Linear(8, 4)

    def forward(self, x):
        x = torch.relu(self.first(x))
        x = x + torch.relu(self.second(x))
        return self.last(x)


class Fork(nn.Module):
    """Has two last layers."""

    def __init__(self):
        super().__init__()
        self.first, self.one, self.two = nn.Linear(4, 8), nn.Linear(8, 4), nn.Linear(8, 4)

    def forward(self, x):
        x = torch.relu(self.first(x))
        return self.one(x), self.two(x)


class DataDependent(nn.Module):
    """Branches on a value."""

    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(4, 8), nn.Linear(8, 4)

    def forward(self, x):
        return self.last(torch.relu(self.first(x))) if x.sum() > 0 else x


class Twice(nn.Module):
    """Uses one layer twice."""

    def __init__(self):
        super().__init__()
        self.first, self.hidden, self.last = nn.Linear(4, 8), nn.Linear(8, 8), nn.Linear(8, 4)

    def forward(self, x):
        x = torch.relu(self.first(x))
        x = torch.relu(self.hidden(x))
        x = torch.relu(self.hidden(x))
        return self.last(x)


class Factor(nn.Module):
    """Has a parameter of its own."""

    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(4, 8), nn.Linear(8, 4)
        self.factor = nn.Parameter(torch.tensor(2.0))

    def forward(self, x):
        return self.last(torch.relu(self.first(x)) * self.factor)


def tied():
    """Return a network of which two layers share a weight."""
    model = network(4, 8, 8, 8, 4)
    model[2].weight = model[4].weight
    return model


def normed():
    """Return a network with weight normalisation."""
    model = network(4, 8, 4)
    nn.utils.parametrizations.weight_norm(model[2])
    return model


REFUSED = {
    "a width of 1": (lambda: network(4, 8, 1, 4), "'2' has width 1"),
    "one layer": (lambda: nn.Sequential(nn.Linear(4, 4)), "has 1 linear"),
    "no layer": (lambda: nn.Sequential(nn.ReLU()), "has 0 linear"),
    "no activation": (
        lambda: nn.Sequential(nn.Linear(4, 8), nn.Linear(8, 4)),
        "no activation stands between '0' and '1'",
    ),
    "a skip connection": (Residual, "'last' depends on .'first', 'second'."),
    "two ends": (Fork, "'two' depends on .'first'., and not on 'one' alone"),
    "control flow": (DataDependent, "the calls of DataDependent cannot be traced: pass a part"),
    "a layer used twice": (Twice, "'hidden' is used twice"),
    "another parameter": (Factor, "parameter 'factor' belongs to no"),
    "a tied weight": (tied, "share a weight"),
    "weight normalisation": (normed, "parameter '2.parametrizations.weight.original0'"),
    "BatchNorm": (
        lambda: nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 4)),
        "parameter '1.weight'",
    ),
    "PReLU": (
        lambda: nn.Sequential(nn.Linear(4, 8), nn.PReLU(), nn.Linear(8, 4)),
        "parameter '1.weight'",
    ),
    "a recurrent layer": (lambda: nn.LSTM(4, 4), "cannot be traced"),
    "groups": (
        lambda: nn.Sequential(nn.Conv1d(4, 8, 3), nn.ReLU(), nn.Conv1d(8, 8, 3, groups=8)),
        "'2' has 8 groups",
    ),
    "unequal widths": (
        lambda: nn.Sequential(nn.Linear(4, 8), nn.GLU(), nn.Linear(4, 4)),
        "'2' reads 4 inputs, which are not the 8 outputs of '0'",
    ),
    "a reshaped linear layer": (
        lambda: nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Flatten(), nn.Linear(24, 4)),
        "'3' reads 24 inputs",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_mirrored_is_refused_and_left_unchanged(case):
    build, message = REFUSED[case]
    model = build()
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(ValueError, match=message):
        looks_linear_(model)
    after = model.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[key], after[key]) for key in before)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"beta": 0.0}, ValueError, "beta must be"),
        ({"beta": math.nan}, ValueError, "beta must be"),
        ({"beta": "1"}, TypeError, "beta must be"),
        ({"q": 0.0}, ValueError, "got 0.0"),
        ({"q": math.inf}, ValueError, "got inf"),
        ({"q": "25"}, TypeError, "q must be"),
        ({"model": torch.relu}, TypeError, "model must be a torch.nn.Module"),
    ],
)
def test_a_bad_argument_is_named_and_the_model_unchanged(arguments, error, message):
    model = network(4, 8, 4)
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(error, match=message):
        looks_linear_(**{"model": model, **arguments})
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())
