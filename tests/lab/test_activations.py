"""The activations of `softplus.lab.activations`: what a spelling builds and what is refused."""

import pickle

import pytest
import torch
from torch import nn

from softplus import ShiftedSoftplus, Softplus, calculate_gain, centering
from softplus.lab import activations
from softplus.lab.errors import UsageError

RELU, SOFTPLUS = activations.parse_list("relu,softplus")


@pytest.mark.parametrize(
    ("spelling", "module"),
    [
        ("relu", nn.ReLU()),
        ("softplus", Softplus()),
        ("softplus:beta=5", Softplus(5)),
        ("shifted_softplus:beta=0.5", ShiftedSoftplus(0.5)),
        ("gelu", nn.GELU()),
        ("silu", nn.SiLU()),
        ("elu:alpha=2", nn.ELU(2)),
        ("leaky_relu:slope=0.2", nn.LeakyReLU(0.2)),
        ("centred_softplus:q=4", ShiftedSoftplus(1, centering(1, 4))),
        ("annealed_softplus:start=2", Softplus(2)),
        ("mish", nn.Mish()),
        ("squareplus:b=1", activations.Squareplus(1)),
        ("relu2", activations.SquaredReLU()),
    ],
)
def test_a_spelling_builds_its_module(spelling, module):
    activation = activations.parse(spelling)
    x = torch.linspace(-4, 4, 33)
    assert type(activation.build()) is type(module)
    assert torch.equal(activation.build()(x), module(x))
    again = pickle.loads(pickle.dumps(activations.parse(activation.name)))  # noqa: S301
    assert (again.name, again.parameters) == (activation.name, activation.parameters)


@pytest.mark.parametrize(
    ("spelling", "name"),
    [
        ("softplus:beta=1", "softplus"),
        ("softplus:beta=5.0", "softplus:beta=5"),
        ("softplus:beta=1.0000001", "softplus:beta=1.0000001"),
        ("leaky_relu:slope=0.01", "leaky_relu"),
        ("softplus:init=he:beta=5", "softplus:beta=5:init=he"),
        ("softplus:init=default", "softplus"),
    ],
)
def test_a_name_spells_exactly_what_differs_from_the_defaults(spelling, name):
    activation = activations.parse(spelling)
    assert activation.name == name
    assert activations.parse(name).parameters == activation.parameters


@pytest.mark.parametrize(
    ("spellings", "words"),
    [
        ("relu", "two or more"),
        ("", "two or more"),
        ("relu,softplus,relu", "names relu twice"),
        ("relu,softplus:beta=5,softplus:beta=5.0", "names softplus:beta=5 twice"),
    ],
)
def test_a_list_needs_two_different_activations(spellings, words):
    with pytest.raises(UsageError, match=words):
        activations.parse_list(spellings)


@pytest.mark.parametrize(
    ("spelling", "words"),
    [
        ("sofplus", ["did you mean softplus?", "leaky_relu"]),
        ("softplus:bta=1", ["did you mean beta?"]),
        ("softplus:beta=0", ["beta of softplus", "'0'"]),
        ("softplus:beta=-1", ["'-1'"]),
        ("softplus:beta=nan", ["'nan'"]),
        ("softplus:beta=", ["beta of softplus"]),
        ("softplus:beta=5:beta=7", ["beta of softplus", "twice"]),
        ("relu:beta=1", ["takes no parameter"]),
        ("relu:init=hee", ["unknown init 'hee'", "did you mean he?"]),
        ("relu:init=he:init=he", ["init of relu", "twice"]),
    ],
)
def test_a_wrong_spelling_is_told_what_is_right(spelling, words):
    with pytest.raises(UsageError) as error:
        activations.parse(spelling)
    assert all(word in str(error.value) for word in words)


def test_shapes_are_seen_by_autograd():
    assert RELU.shape() == "kink at 0 (slope jumps by 1), convex, monotone"
    assert SOFTPLUS.shape() == "smooth, convex, monotone"
    assert activations.parse("gelu").shape() == "smooth, not convex, not monotone"
    assert activations.parse("elu:alpha=2").shape().startswith("kink at 0 (slope jumps by -1)")


def test_squareplus_and_the_squared_relu_are_what_their_papers_say():
    x = torch.tensor([-3.0, 0.0, 2.0])
    assert torch.allclose(activations.Squareplus(4)(x), (x + (x**2 + 4).sqrt()) / 2)
    assert activations.SquaredReLU()(x).tolist() == [0, 0, 4]


def network(activation, depth=8):
    """Return a deep network of an arm with a Softplus of its own at the end, initialised."""
    hidden = [part for _ in range(depth) for part in (nn.Linear(64, 64), activation.build())]
    model = nn.Sequential(*hidden, nn.Linear(64, 1), nn.Softplus())
    activation.initialise(model)
    return model


@pytest.mark.parametrize("name", ["relu", "softplus", "softplus:beta=5", "gelu", "relu2"])
def test_the_gain_keeps_the_second_moment_and_is_that_of_calculate_gain(name):
    activation = activations.parse(name)
    z = torch.randn(10**6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    squares = (activation.gain() * activation.build()(z)).square().mean().item()
    assert squares == pytest.approx(1, rel=0.02)
    if activation.family == "softplus":
        known = calculate_gain("softplus", **activation.parameters)
        assert activation.gain() == pytest.approx(known, rel=1e-6)


def test_he_keeps_the_scale_of_a_deep_network_and_default_leaves_it_alone():
    x = torch.randn(500, 64, generator=torch.Generator().manual_seed(0))
    scales = {}
    for init in activations.INITS[:2]:
        torch.manual_seed(0)
        model = network(activations.parse("relu", init))
        scales[init] = model[:15](x).std().item()
        torch.manual_seed(0)
        assert torch.equal(model[0].weight, nn.Linear(64, 64).weight) == (init == "default")
    assert 0.3 < scales["he"] < 3
    assert scales["default"] < 0.1
    assert not model[0].bias.any()


def test_looks_linear_starts_as_an_isometry_and_refuses_what_cannot():
    activation = activations.parse("softplus:beta=5:init=looks_linear")
    x = torch.randn(20, 64)
    model = network(activation)[:-1]
    assert torch.allclose(model(2 * x), 2 * model(x), atol=1e-4)
    with pytest.raises(UsageError, match=r"needs f.x. - f.-x. = x.*elu has not"):
        network(activations.parse("elu:init=looks_linear"))
    shared = nn.Linear(4, 4)
    with pytest.raises(UsageError, match=r"init=looks_linear of relu: .* used twice"):
        activations.parse("relu:init=looks_linear").initialise(
            nn.Sequential(shared, nn.ReLU(), shared)
        )


def test_an_annealed_arm_ends_as_an_exact_relu_network_and_spares_the_models_own_softplus():
    activation = activations.parse("annealed_softplus:end=1000")
    assert activation.anneals
    model = network(activation, depth=2)
    after_step = activation.begin(model, steps=10)
    betas = [model[1].beta]
    for _ in range(10):
        after_step()
        betas.append(model[1].beta)
    assert betas[0] == 1
    assert betas[8:] == [1000, 1000, 1000]
    assert betas == sorted(betas)
    assert model[-1].beta == 1
    x = torch.randn(30, 64)
    annealed = model(x)
    finished = activation.finish(model)
    assert [type(part) for part in finished[1::2]] == [nn.ReLU, nn.ReLU, nn.Softplus]
    assert list(activations.sites(finished)) == ["1", "3"]
    assert torch.allclose(finished(x), annealed, atol=1e-3)


def test_an_arm_that_does_not_anneal_is_left_alone():
    model = network(activations.parse("softplus"), depth=1)
    activations.parse("softplus").begin(model, steps=1)()
    assert activations.parse("softplus").finish(model) is model
    assert model[1].beta == 1


def test_the_starts_of_a_list_are_one_for_all_or_one_for_each():
    def names(*arguments):
        return [activation.name for activation in activations.parse_list(*arguments)]

    assert names("relu,softplus", "he") == ["relu:init=he", "softplus:init=he"]
    assert names("relu,softplus", "he,default") == ["relu:init=he", "softplus"]
    assert names("relu:init=default,softplus", "he") == ["relu", "softplus:init=he"]
    with pytest.raises(UsageError, match="--init must name one start, or one for each of the 2"):
        names("relu,softplus", "he,he,he")
