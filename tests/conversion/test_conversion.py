"""`convert`: which sites, by which replacement, and what it refuses."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 -- the spelling that models use

from architectures import UNet
from conversion_models import TEN, Linears, Straight, names, sample, state_of
from messages import exactly
from references import same
from softplus import ShiftedSoftplus, Softplus, convert, find_sites, softplus

# Working in place, or not


def test_without_in_place_full_backward_hooks_run():
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU(inplace=True), nn.Linear(4, 4))
    model[0].register_full_backward_hook(lambda *_: None)
    x = sample(3, 4).requires_grad_()
    with pytest.raises(RuntimeError, match="is a view and is being modified inplace"):
        convert(model, TEN)(x).sum().backward()
    converted = convert(model, TEN, keep_inplace=False)
    converted(x).sum().backward()
    assert not converted[1].inplace


# Softplus for Softplus, and the way back


@pytest.mark.parametrize("form", ["module", "function"])
def test_a_model_that_changes_the_result_in_place_trains_as_before(form):
    class Model(Linears):
        def __init__(self):
            super().__init__()
            self.act = nn.Softplus(3) if form == "module" else F.softplus

        def forward(self, x):
            scale = self.act(self.first(x))
            scale += 1e-6
            rate = F.softplus(scale - 1)
            return rate.mul_(2).square()

    torch.manual_seed(0)
    model = Model()
    converted = convert(model, {nn.Softplus: Softplus})
    assert sum(type(module) is Softplus for module in converted.modules()) == 2
    x = sample(3, 4)
    results = []
    for each in (converted, model):
        y = each(x)
        parameters = list(each.first.parameters())
        results.append([y, *torch.autograd.grad(y.sum(), parameters)])
    for result, wanted in zip(*results, strict=True):
        torch.testing.assert_close(result, wanted)


def test_a_model_that_uses_softplus_gets_this_packages():
    class Model(Linears):
        def __init__(self):
            super().__init__()
            self.beta, self.function = 3, F.softplus

        def forward(self, x):
            x = F.softplus(self.first(x), self.beta, threshold=10)
            return self.function(F.softplus(x, beta=0.5)) - softplus(x, 7)

    model = nn.Sequential(Model(), nn.Softplus(2, 15), Softplus(4, learnable=True))
    converted = convert(model, {nn.Softplus: Softplus})
    options = {
        site.name: (converted.get_submodule(site.name).beta, site.spelling)
        for site in converted.conversion.sites
    }
    assert options == {
        "1": (2, "nn.Softplus"),
        "0.function": (1.0, "F.softplus"),
        "0.softplus": (3, "F.softplus"),
        "0.softplus_1": (0.5, "F.softplus"),
    }
    assert (converted[1].threshold, converted[0].softplus.threshold) == (15, 10)
    assert converted[2].raw_beta is not None
    x = sample(3, 4).double()
    torch.testing.assert_close(converted.double()(x), model.double()(x), rtol=1e-12, atol=0)
    assert (converted[0].function.threshold, converted[0].softplus_1.threshold) == (math.inf,) * 2
    model[0].beta = torch.tensor(3.0)
    with pytest.raises(ValueError, match=r"'0\.softplus'.*has a beta that is no"):
        convert(model, {"softplus": Softplus})
    assert isinstance(convert(model, {"softplus": nn.GELU})[0].softplus, nn.GELU)


def test_back_to_relu():
    x = sample(2, 3, 8, 8)
    for replacement, key in ((Softplus(10), "softplus"), (ShiftedSoftplus(), ShiftedSoftplus)):
        model = UNet()
        back = convert(convert(model, {nn.ReLU: replacement}), {key: nn.ReLU()})
        assert torch.equal(back.eval()(x), model.eval()(x))
        kinds = {type(module) for module in back.modules()}
        assert nn.ReLU in kinds
        assert not kinds & {Softplus, ShiftedSoftplus}
        assert back.up.relu.inplace


def test_both_ways_at_once():
    model, x = nn.Sequential(nn.ReLU(), nn.Softplus()), sample(3, 4)
    swapped = convert(model, {"relu": Softplus, "softplus": nn.ReLU})
    assert same(swapped(x), softplus(x).relu())


# What is refused, and how


def assert_refused(error, message, model, replacements, **options) -> None:
    """Assert an error of a conversion in place that leaves the model as it was."""
    before = state_of(model)
    with pytest.raises(error, match=message):
        convert(model, replacements, inplace=True, **options)
    assert state_of(model) == before


def test_no_site():
    message = (
        "no relu to replace was found in Linear; looked for nn.ReLU, F.relu, torch.relu, x.relu(), "
        "as modules, as function attributes and in the source of its classes. With sample=, a run "
        "shows what reading does not"
    )
    assert_refused(ValueError, exactly(message), nn.Linear(2, 2), TEN)
    message = "no softplus to replace was found in Straight; looked for nn.Softplus, softplus."
    assert_refused(ValueError, exactly(message), Straight(), {**TEN, "softplus": nn.ReLU()})
    message = "no softplus to replace was found in Softplus"
    assert_refused(ValueError, exactly(message), Softplus(), {"softplus": Softplus})


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (nn.ReLU, "site '' (nn.ReLU) cannot be replaced: it is the model itself: use the"),
        (
            lambda: nn.Sequential(nn.RNN(2, 2, nonlinearity="relu")),
            "site '0' (nn.RNN(nonlinearity=\"relu\")) cannot be replaced: it is a part of one ope",
        ),
        (
            lambda: nn.Sequential(nn.RNNCell(2, 2, nonlinearity="relu")),
            "site '0' (nn.RNNCell(nonlinearity=\"relu\")) cannot be replaced",
        ),
        (
            lambda: torch.fx.symbolic_trace(Straight()),
            "site 'relu' (F.relu) cannot be replaced: fx writes this code from its graph",
        ),
    ],
    ids=["model", "RNN", "RNNCell", "fx"],
)
def test_sites_that_cannot_be_replaced(build, message):
    model = build()
    obstacles = [site.obstacle for site in find_sites(model)]
    assert all(obstacles)
    assert_refused(ValueError, exactly(message), model, TEN)


def test_a_site_that_cannot_be_replaced_may_be_left():
    model = nn.Sequential(nn.ReLU(), nn.RNN(2, 2, nonlinearity="relu"), nn.RNN(2, 2))
    assert names(model) == ["0", "1"]
    assert isinstance(convert(model, TEN, exclude="1")[0], Softplus)


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
def test_torchscript_is_no_site_that_can_be_replaced():
    model = nn.Sequential(torch.jit.script(nn.Sequential(nn.ReLU(), nn.Linear(2, 2))), nn.ReLU())
    assert [(site.name, site.spelling) for site in find_sites(model)] == [
        ("1", "nn.ReLU"),
        ("0", "TorchScript"),
    ]
    assert_refused(ValueError, exactly("site '0' (TorchScript) cannot be replaced"), model, TEN)


class Own(nn.ReLU):
    """A class of the user's, which as a key would mean every ReLU."""


@pytest.mark.parametrize(
    ("replacements", "error", "message"),
    [
        ({}, TypeError, "replacements must be a mapping such as {'relu': Softplus()} or {nn.ReLU"),
        (Softplus(), TypeError, "replacements must be a mapping such as"),
        (
            {"gelu": Softplus()},
            ValueError,
            "a key of replacements must be 'relu' (or nn.ReLU), 'sof",
        ),
        ({nn.ReLU6: Softplus()}, ValueError, "a key of replacements must be 'relu' (or nn.R"),
        ({Own: Softplus()}, ValueError, "a key of replacements must be 'relu' (or nn.ReLU), 'so"),
        ({"ReLU": Softplus()}, ValueError, "a key of replacements must be 'relu' (or nn.R"),
        (
            {"relu": Softplus(), nn.ReLU: Softplus()},
            ValueError,
            "replacements have 'relu' twice, under",
        ),
        ({"relu": F.softplus}, TypeError, "the replacement of 'relu' must be a torch.nn.Module"),
        ({"relu": "softplus"}, TypeError, "the replacement of 'relu' must be a torch.nn.Module"),
        ({"relu": nn.Linear}, TypeError, "the replacement of 'relu' is a class that needs"),
    ],
)
def test_refused_replacements(replacements, error, message):
    assert_refused(error, exactly(message), Straight(), replacements)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"include": "layers.*"},
            "include pattern 'layers.*' matches none of the sites relu, relu",
        ),
        ({"exclude": ["relu", "x"]}, "exclude pattern 'x' matches none of the sites relu, relu_1"),
        ({"exclude": "*"}, "include and exclude leave none of the sites relu, relu_1"),
        ({"tolerance": 0.1}, "tolerance needs a sample to measure on: pass sample=, or take the b"),
        ({"tolerance": 0, "sample": 1}, "tolerance must be a positive finite number, got 0"),
        ({"tolerance": math.nan, "sample": 1}, "tolerance must be a positive finite number"),
    ],
)
def test_refused_options(options, message):
    assert_refused(ValueError, exactly(message), Straight(), TEN, **options)


@pytest.mark.parametrize(
    "replacements",
    [{"relu": nn.GELU()}, {"relu": ShiftedSoftplus(shift=0.5)}, {"softplus": nn.ReLU()}],
)
def test_a_tolerance_is_for_softplus_in_place_of_relu(replacements):
    message = exactly("tolerance is how far Softplus may be from ReLU: it goes with")
    model = nn.Sequential(Straight(), nn.Softplus())
    assert_refused(ValueError, message, model, replacements, tolerance=0.1, sample=sample(3, 4))


@pytest.mark.parametrize("argument", ["include", "exclude"])
@pytest.mark.parametrize("patterns", [nn.ReLU, [nn.ReLU], 5, nn.Sequential(nn.ReLU())])
def test_patterns_are_strings(argument, patterns):
    message = exactly(f"{argument} must be a pattern of names or several, got ")
    assert_refused(TypeError, message, Straight(), TEN, **{argument: patterns})


def test_a_tolerance_is_a_number():
    message = exactly("tolerance must be a number, got str '0.1'")
    assert_refused(TypeError, message, Straight(), TEN, tolerance="0.1", sample=sample(3, 4))


def test_arguments_without_their_names_are_answered_with_the_form():
    message = exactly("convert takes a model and a mapping, such as convert(model, {nn.ReLU: Sof")
    with pytest.raises(TypeError, match=message):
        convert(Straight(), nn.ReLU, Softplus)


def test_refused_models():
    with pytest.raises(TypeError, match=exactly("model must be a torch.nn.Module, got function")):
        convert(F.relu, TEN)
    model = Straight()
    model.conversion = nn.Linear(2, 2)
    assert_refused(
        ValueError, exactly("model has an attribute `conversion` of its own"), model, TEN
    )


def test_a_sample_that_the_model_does_not_take_leaves_the_model_alone():
    assert_refused(
        RuntimeError, "shapes cannot be multiplied", Straight(), TEN, sample=sample(3, 5)
    )
