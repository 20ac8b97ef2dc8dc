"""The sites that a model holds: modules, functions kept as attributes, and their places."""

import copy
import inspect
import pickle
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 -- the spelling that models use
from torch.nn.utils import parametrize

from architectures import BasicBlock, ResNet
from conversion_models import TEN, Linears, assert_replaced, names, sample, state_of, transformer
from messages import exactly
from references import same
from softplus import Softplus, convert, find_sites, softplus

# Modules, and one module at several places


def test_a_module_is_found_where_source_calls_it():
    model = nn.Sequential(ResNet(nn.ReLU), nn.ReLU())
    sites = {site.name: site for site in find_sites(model)}
    assert list(sites) == ["1", "0.relu", *(f"0.layers.{i}.relu" for i in range(3))]
    lines, first = inspect.getsourcelines(BasicBlock)
    site = sites["0.layers.1.relu"]
    assert (site.spelling, site.file) == ("nn.ReLU", inspect.getfile(BasicBlock))
    assert "self.relu(self.bn1" in lines[site.line - first]
    assert (sites["1"].file, sites["1"].line) == (None, None)


def test_one_module_under_several_names():
    relu = nn.ReLU()
    block = nn.Sequential(nn.Linear(4, 4), relu)
    model = nn.Sequential(block, relu, nn.Linear(4, 4), block)
    assert names(model) == ["1", "0.1"]
    assert isinstance(convert(model, TEN)[1], Softplus)
    converted = convert(model, TEN, include="1")
    assert isinstance(converted[1], Softplus)
    assert isinstance(converted[0][1], nn.ReLU)
    assert converted[3] is converted[0]
    learned = convert(model, {"relu": Softplus(learnable=True)})
    assert learned[1].raw_beta is not learned[0][1].raw_beta


def test_one_module_called_at_several_places_stays_one():
    converted = convert(ResNet(nn.ReLU), {"relu": Softplus(learnable=True)})
    block = converted.layers[0]
    converted(sample(2, 3, 4, 4)).sum().backward()
    assert [name for name, _ in block.named_parameters() if "beta" in name] == ["relu.raw_beta"]
    assert block.relu.raw_beta.grad is not None


@dataclass
class Settings:
    """What a model is built with: a plain object that holds an activation."""

    activation: nn.Module | None = None
    function: Callable[[Tensor], Tensor] = F.relu


@dataclass(slots=True)
class Slotted:
    """The same without a dictionary of attributes."""

    function: Callable[[Tensor], Tensor] = F.relu


class Named(NamedTuple):
    """The same as a tuple."""

    function: Callable[[Tensor], Tensor] = F.relu


class Odd:
    """Refuses what a table of things does."""

    def __hash__(self):
        raise RuntimeError

    def __eq__(self, other):
        return torch.tensor([True, False])


@pytest.mark.parametrize("settings", [Settings, Slotted, Named], ids=lambda each: each.__name__)
def test_settings_of_every_kind_beside_what_refuses_to_be_looked_at(settings):
    class Model(Linears):
        def __init__(self) -> None:
            super().__init__()
            self.settings, self.odd = settings(function=F.relu), [Odd()]

        def forward(self, x):
            return self.settings.function(self.first(x)) * len(self.odd)

    model = Model()
    assert_replaced(convert(model, TEN), model, sample(3, 4))


class Holding(Linears):
    """Activations in a list, a dict, a dataclass and attributes of the class."""

    of_class = nn.ReLU()
    builtin = torch.relu

    def __init__(self) -> None:
        super().__init__()
        self.kept, self.settings = [nn.ReLU(), nn.Tanh()], Settings(nn.ReLU())
        self.by_name = {"act": F.relu}

    def forward(self, x):
        x = self.kept[0](self.first(x)) - 0.1
        x = self.settings.activation(x) - 0.1
        x = self.settings.function(x) - 0.1
        x = self.by_name["act"](x) - 0.1
        x = self.of_class(x) - 0.1
        return self.kept[1](self.builtin(x))


def test_a_module_outside_of_the_models_modules():
    """No path leads to it; where the source calls it, a submodule takes its place."""
    model, x = Holding(), sample(3, 4)
    assert [site.spelling for site in find_sites(model)] == [
        *("nn.ReLU", "nn.ReLU", "F.relu", "F.relu", "nn.ReLU", "torch.relu")
    ]
    before = state_of(model)
    converted = convert(model, {"relu": Softplus(10, learnable=True)}, sample=x)
    assert (
        len({parameter for name, parameter in converted.named_parameters() if "beta" in name}) == 6
    )
    assert converted.conversion.left == ()
    assert state_of(model) == before
    assert type(model.kept[0]) is nn.ReLU
    y = model.first(x)
    for _ in range(5):
        y = softplus(y, 10) - 0.1
    torch.testing.assert_close(converted(x), softplus(y, 10).tanh())


def test_a_parametrization_is_no_activation_unless_include_names_it():
    class Floor(nn.Module):
        def __init__(self):
            super().__init__()
            self.act = nn.ReLU()

        def forward(self, weight):
            return self.act(weight)

    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU())
    parametrize.register_parametrization(model[0], "weight", Floor())
    name = "0.parametrizations.weight.0.act"
    left = {site.name: site.left for site in find_sites(model)}
    assert left == {"1": None, name: "it is part of a parametrization, which is no activation"}
    assert [site.name for site in convert(model, TEN).conversion.sites] == ["1"]
    assert [site.name for site in convert(model, TEN, include=name).conversion.sites] == [name]


def test_the_relu_of_a_float_functional_is_a_site_where_it_is_called():
    class Block(Linears):
        def __init__(self):
            super().__init__()
            self.skip = torch.ao.nn.quantized.FloatFunctional()
            self.plain = torch.ao.nn.quantized.FloatFunctional()

        def forward(self, x):
            return self.skip.add_relu(self.first(x), x)

    class Plain(Block):
        def forward(self, x):
            return self.plain.add(self.first(x), x)

    model, x = Block(), sample(3, 4)
    assert names(model) == ["skip.relu", "plain.relu"]
    assert same(convert(model, TEN)(x), softplus(model.first(x) + x, 10))
    assert find_sites(Plain()) == []


def test_no_module_has_no_sites():
    with pytest.raises(TypeError, match=exactly("model must be a torch.nn.Module, got function")):
        find_sites(F.relu)


# Functions kept as attributes


@pytest.mark.parametrize(
    ("function", "spelling", "in_place"),
    [
        (F.relu, "F.relu", False),
        (torch.relu, "torch.relu", False),
        (torch.relu_, "torch.relu_", True),
        (Tensor.relu, "x.relu()", False),
        (partial(F.relu, inplace=True), "F.relu", True),
    ],
)
def test_function_attributes(function, spelling, in_place):
    class Model(Linears):
        def __init__(self):
            super().__init__()
            self.activation = function

        def forward(self, x):
            return self.second(self.activation(self.first(x)))

    model = Model()
    assert [(site.name, site.spelling) for site in find_sites(model)] == [("activation", spelling)]
    converted = convert(model, TEN)
    assert_replaced(converted, model, sample(3, 4))
    assert isinstance(converted.activation, Softplus)
    assert converted.activation.inplace is in_place
    assert model.activation is function


def test_a_function_attribute_of_the_class():
    class Model(Linears):
        activation = staticmethod(F.relu)

        def forward(self, x):
            return self.activation(self.first(x))

    x = sample(3, 4)
    assert same(convert(Model(), TEN)(x), softplus(Model().first(x), 10))


@pytest.mark.parametrize("activation", ["relu", F.relu, nn.ReLU()], ids=["name", "F", "module"])
@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("train", [False, True])
@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors:UserWarning")
def test_the_fast_path_of_a_transformer_does_not_bypass_the_replacement(activation, padded, train):
    model = transformer(activation)
    by_hand = transformer(lambda x: softplus(x, 10), nested=False).train(train)
    converted = convert(model.train(train), TEN)
    assert names(model) == ["layers.0.activation", "layers.1.activation"]
    x, mask = sample(3, 5, 8), None
    if padded:
        mask = torch.arange(5) >= torch.tensor([[5], [3], [2]])
    results = []
    for module in (converted, by_hand, model):
        torch.manual_seed(1)
        with torch.no_grad():
            results.append(module(x, src_key_padding_mask=mask))
    # The fast path cuts a padded batch off where its longest sequence ends: none does here.
    torch.testing.assert_close(results[0], results[1])
    assert not torch.allclose(results[0], results[2], atol=1e-3)


def test_a_transformer_of_which_one_layer_is_replaced():
    converted = convert(transformer("relu"), TEN, include="layers.1.*")
    assert converted.layers[0].activation is F.relu
    mask = torch.arange(5) >= torch.tensor([[5], [3], [2]])
    with torch.no_grad():
        result = converted(sample(3, 5, 8), src_key_padding_mask=mask)
    by_hand = transformer("relu", nested=False)
    by_hand.layers[1].activation = lambda x: softplus(x, 10)
    by_hand.layers[1].activation_relu_or_gelu = 0
    with torch.no_grad():
        expected = by_hand(sample(3, 5, 8), src_key_padding_mask=mask)
    torch.testing.assert_close(result[~mask], expected[~mask])


class Decoder(nn.Module):
    """The two kinds of a transformer's layers, which put F.relu back when they are unpickled."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.encoder = nn.TransformerEncoderLayer(8, 2, 16, dropout=0, batch_first=True)
        self.decoder = nn.TransformerDecoderLayer(8, 2, 16, dropout=0, batch_first=True)

    def forward(self, x):
        return self.decoder(x, self.encoder(x))


@pytest.mark.parametrize("inplace", [False, True])
def test_the_layers_of_a_transformer_stay_converted_in_copies(inplace):
    model, x = Decoder(), sample(3, 5, 8)
    before = state_of(model)
    converted = convert(model, {"relu": Softplus(10, learnable=True)}, inplace=inplace)
    expected = converted(x)
    averaged = torch.optim.swa_utils.AveragedModel(converted)
    averaged.update_parameters(converted)
    for other in (
        copy.deepcopy(converted),
        pickle.loads(pickle.dumps(converted)),  # noqa: S301 -- our own bytes
        averaged.module,
    ):
        assert same(other(x), expected)
        assert isinstance(other.decoder.activation, Softplus)
        assert len([name for name, _ in other.named_parameters() if "beta" in name]) == 2
    if inplace:
        model.conversion.revert()
        assert state_of(model) == before
        assert copy.deepcopy(model).decoder.activation is F.relu


def test_an_attribute_hides_a_submodule_of_its_name():
    # What PyTorch's copy of a decoder layer with an nn.ReLU has: F.relu before that module.
    layer = nn.TransformerDecoderLayer(8, 2, 16, activation=nn.ReLU(), batch_first=True)
    model = nn.TransformerDecoder(layer, 1)
    (site,) = find_sites(model)
    assert (site.name, site.spelling) == ("layers.0.activation", "F.relu")
    before, x = state_of(model), sample(3, 5, 8)
    converted = convert(model, {"relu": Softplus(10)}, inplace=True)
    expected = converted.eval()(x, x)
    assert isinstance(converted.layers[0].activation, Softplus)
    assert same(copy.deepcopy(converted)(x, x), expected)
    model.train().conversion.revert()
    assert state_of(model) == before


def test_no_code_of_what_a_model_holds_is_run():
    class Shy:
        """A configuration that answers no question, as one of transformers does for some."""

        __slots__ = ("unset",)
        relu = property(lambda _: 1 / 0)

        def __getattribute__(self, name):
            if name.startswith("__"):
                return super().__getattribute__(name)
            raise RuntimeError(name)

    class Model(Linears):
        def __init__(self):
            super().__init__()
            self.settings = Shy()

        @property
        def relu(self):
            raise RuntimeError

        def forward(self, x):
            return self.settings.relu(F.relu(self.first(x)))

    (site,) = find_sites(Model())
    assert (site.name, site.spelling) == ("relu_1", "F.relu")
