"""Converted models: every spelling of ReLU found and replaced, everything else left alone."""

import copy
import importlib
import inspect
import io
import math
import pickle
import re
import sys
import textwrap
from contextlib import nullcontext
from functools import partial

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 -- the spelling that models use
from torch.nn.functional import relu as activate
from torch.overrides import TorchFunctionMode
from torch.utils.checkpoint import checkpoint

from architectures import BasicBlock, ResNet, UNet, UNetByHand, vgg
from references import same
from softplus import ShiftedSoftplus, Softplus, convert, find_sites, shifted_softplus, softplus

TEN = {"relu": Softplus(beta=10)}


def sample(*shape: int) -> Tensor:
    """Return positive and negative values, the same on every call."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def exactly(message: str) -> str:
    """Return the pattern of a message that starts so."""
    return "^" + re.escape(message)


def names(model: nn.Module, *inputs) -> list[str]:
    """Return the names of the sites of a model."""
    return [site.name for site in find_sites(model, *inputs)]


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


# The spellings


class Spellings(Linears):
    """One method for each spelling of a call; `forward` names the one to run."""

    def forward(self, x: Tensor, method: str) -> Tensor:
        x = self.first(x)
        return self.second(getattr(self, method)(x))

    def f_relu(self, x):
        return F.relu(x)

    def f_relu_by_its_full_name(self, x):
        return torch.nn.functional.relu(input=x)

    def f_relu_by_another_name(self, x):
        return activate(x)

    def f_relu_in_place(self, x):
        F.relu(x, inplace=True)
        return x

    def f_relu_in_place_by_position(self, x):
        F.relu(x, True)
        return x

    def f_relu_not_in_place(self, x):
        return F.relu(x, inplace=False) + x

    def f_relu_imported_here(self, x):
        import torch.nn.functional as nnf  # noqa: PLC0415 -- what is tested
        from torch import relu  # noqa: PLC0415 -- what is tested

        return nnf.relu(x) + relu(-x)

    def f_relu_underscore(self, x):
        F.relu_(x)
        return x

    def torch_relu(self, x):
        return torch.relu(x)

    def torch_relu_underscore(self, x):
        torch.relu_(x)
        return x

    def method(self, x):
        return x.relu()

    def method_underscore(self, x):
        x.relu_()
        return x

    def unbound_method(self, x):
        return torch.Tensor.relu(x)

    def clamp_by_keyword(self, x):
        return x.clamp(min=0)

    def clamp_by_position(self, x):
        return x.clamp(0.0)

    def clamp_with_open_end(self, x):
        return torch.clamp(x, 0, None)

    def clamp_underscore(self, x):
        x.clamp_(min=0)
        return x

    def torch_clamp(self, x):
        return torch.clamp(x, min=0.0)

    def clamp_min(self, x):
        return x.clamp_min(0)

    def clamp_min_underscore(self, x):
        x.clamp_min_(0)
        return x

    def torch_clamp_min(self, x):
        return torch.clamp_min(x, 0.0)

    def clip(self, x):
        return x.clip(min=0)

    def nested(self, x):
        return F.relu(F.relu(x - 1).relu() - 0.1)

    def chained_over_lines(self, x):
        return (
            (x - 1)
            .relu()
            .sub(0.1)
            .clamp(
                min=0,
            )
        )

    def passed_on(self, x):
        return sum(map(F.relu, x.unbind()))

    def given_a_name(self, x):
        function = torch.relu if x.dim() == 2 else torch.tanh
        return function(x)

    def in_a_comprehension(self, x):
        return torch.stack([row.relu() for row in x])

    def in_a_function_inside(self, x):
        def inside(y):
            return F.relu(y)

        return inside(x) + (lambda y: y.relu())(x)  # noqa: PLC3002 -- it is what is tested

    def in_a_branch(self, x):
        if x.sum() > 0:
            return F.relu(x)
        return x.clamp(min=0)

    def in_a_loop(self, x):
        while x.sum() < 3:
            x = F.relu(x) + 0.1
        return x


SPELLINGS = {
    "f_relu": ["F.relu"],
    "f_relu_by_its_full_name": ["F.relu"],
    "f_relu_by_another_name": ["F.relu"],
    "f_relu_in_place": ["F.relu"],
    "f_relu_in_place_by_position": ["F.relu"],
    "f_relu_not_in_place": ["F.relu"],
    "f_relu_imported_here": ["F.relu", "torch.relu"],
    "f_relu_underscore": ["torch.relu_"],
    "torch_relu": ["torch.relu"],
    "torch_relu_underscore": ["torch.relu_"],
    "method": ["x.relu()"],
    "method_underscore": ["x.relu_()"],
    "unbound_method": ["x.relu()"],
    "clamp_by_keyword": ["x.clamp(min=0)"],
    "clamp_by_position": ["x.clamp(min=0)"],
    "clamp_with_open_end": ["torch.clamp(x, min=0)"],
    "clamp_underscore": ["x.clamp_(min=0)"],
    "torch_clamp": ["torch.clamp(x, min=0)"],
    "clamp_min": ["x.clamp_min(0)"],
    "clamp_min_underscore": ["x.clamp_min_(0)"],
    "torch_clamp_min": ["torch.clamp_min(x, 0)"],
    "clip": ["x.clip(min=0)"],
    "nested": ["F.relu", "x.relu()", "F.relu"],
    "chained_over_lines": ["x.relu()", "x.clamp(min=0)"],
    "passed_on": ["F.relu"],
    "given_a_name": ["torch.relu"],
    "in_a_comprehension": ["x.relu()"],
    "in_a_function_inside": ["F.relu", "x.relu()"],
    "in_a_branch": ["F.relu", "x.clamp(min=0)"],
    "in_a_loop": ["F.relu"],
}
each_spelling = pytest.mark.parametrize("method", SPELLINGS)


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
        return x.copy_(softplus(x, 10)) if in_place else softplus(x, 10)


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


@each_spelling
@pytest.mark.parametrize("at_call_time", [False, True])
def test_each_spelling_is_replaced(method, at_call_time):
    cls = typed(inspect.getsource(Spellings)) if at_call_time else Spellings
    model = cls()
    converted = convert(model, TEN)
    for scale in (0.01, 0.1, 1):
        assert_replaced(converted, model, scale * sample(3, 4), method)


def test_the_sites_of_calls_by_spelling_and_line():
    lines, first = inspect.getsourcelines(Spellings)
    found = {}
    for site in find_sites(Spellings()):
        assert site.file == __file__
        assert site.family == "relu"
        assert site.obstacle is None
        function = site.spelling.removeprefix("x").split("(")[0].split(".")[-1]
        assert function in lines[site.line - first] or "activate" in lines[site.line - first]
        above = [
            line for line in lines[: site.line - first] if "    def " in line and "self" in line
        ]
        method = above[-1].split("def ")[1].split("(")[0]
        found.setdefault(method, []).append(site.spelling)
    assert found == SPELLINGS


@pytest.mark.parametrize("method", [name for name in SPELLINGS if re.search("in_pl|under", name)])
@pytest.mark.parametrize("at_call_time", [False, True])
def test_a_site_in_place_stays_in_place_whatever_goes_there(method, at_call_time):
    model = (typed(inspect.getsource(Spellings)) if at_call_time else Spellings)()
    x = sample(3, 4)
    y = model.first(x)
    expected = model.second(F.gelu(y) if "not" not in method else F.gelu(y) + y)
    assert same(convert(model, {"relu": nn.GELU()})(x, method), expected)


def test_a_module_in_place_stays_in_place_and_another_becomes_so_nowhere():
    class Model(Linears):
        def __init__(self, *, inplace):
            super().__init__()
            self.relu = nn.ReLU(inplace)

        def forward(self, x):
            y = self.first(x)
            self.relu(y)
            return y

    for replacement in (nn.GELU(), nn.SiLU(), Softplus(3), Softplus(3, inplace=True)):
        for inplace in (False, True):
            model, x = Model(inplace=inplace), sample(3, 4)
            y = model.first(x)
            expected = copy.deepcopy(replacement)(y.clone()) if inplace else y
            assert same(convert(model, {"relu": replacement})(x), expected)


def test_the_names_of_calls_are_free_and_become_submodules():
    class Model(Linears):
        def __init__(self):
            super().__init__()
            self.relu, self.relu_1 = nn.ReLU(), nn.Tanh()

        def forward(self, x):
            return self.relu_1(self.relu(F.relu(x)).relu())

    assert names(Model()) == ["relu", "relu_2", "relu_3"]
    converted = convert(nn.Sequential(Model()), TEN)
    for site in converted.conversion.sites:
        assert isinstance(converted.get_submodule(site.name), Softplus)
    assert isinstance(converted[0].relu_1, nn.Tanh)


class NoReLU(Linears):
    """What looks like a ReLU and is none."""

    def __init__(self) -> None:
        super().__init__()
        self.six, self.own, self.function = nn.ReLU6(), OwnReLU(), F.relu6

    def forward(self, x):
        x = self.function(self.own(self.six(self.first(x))))
        x = F.relu6(x).clamp(0, 6).clamp(min=1e-3).clamp_min(-1).clamp(max=0)
        x = torch.clamp(x, 0, max=1) + F.leaky_relu(x) + torch.threshold(x, 0, 0)
        return x + self.relu(x) + torch.clamp(x, min=0, out=x) if x.isnan().any() else x

    def relu(self, x):
        return x


class OwnReLU(nn.ReLU):
    """A module that computes something else, whatever it inherits."""

    def forward(self, x):
        return x + 1


def test_what_is_no_relu():
    assert find_sites(NoReLU()) == []


def test_the_clamp_of_an_index_stays():
    class Model(Linears):
        def forward(self, x):
            first = (torch.arange(4) - 2).clamp(min=0)
            second = torch.arange(4) - 2
            second.clamp_(min=0)
            return self.first(x)[:, first + second].clamp(min=0)

    model, x = Model(), sample(3, 4)
    converted = convert(model, TEN)
    assert len(converted.conversion.sites) == 3
    assert same(converted(x), softplus(model.first(x)[:, [0, 0, 0, 2]], 10))


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


def test_a_module_outside_of_the_model_is_no_site_that_can_be_replaced():
    class Model(Linears):
        def __init__(self):
            super().__init__()
            self.kept = [nn.ReLU()]

        def forward(self, x):
            x = self.first(x).relu()
            return self.kept[0](x - 0.1)

    x = sample(3, 4)
    assert names(Model()) == ["relu"]
    assert names(Model(), x) == ["relu", "relu_1"]
    with pytest.raises(ValueError, match=r"'relu_1'.*its module is none of the"):
        convert(Model(), TEN, sample=x)
    assert same(
        convert(Model(), TEN, sample=x, exclude="relu_1")(x),
        (softplus(Model().first(x), 10) - 0.1).relu(),
    )


# Functions kept as attributes


@pytest.mark.parametrize(
    ("function", "spelling", "in_place"),
    [
        (F.relu, "F.relu", False),
        (torch.relu, "torch.relu", False),
        (torch.relu_, "torch.relu_", True),
        (Tensor.relu, "x.relu()", False),
        (partial(F.relu, inplace=True), "F.relu", True),
        (partial(torch.clamp, min=0), "torch.clamp(x, min=0)", False),
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


def transformer(activation, *, nested: bool = True) -> nn.TransformerEncoder:
    """Return an encoder in eval mode, where its layers take the fast path if they can."""
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(8, 2, 16, activation=activation, batch_first=True)
    return nn.TransformerEncoder(layer, 2, enable_nested_tensor=nested).eval()


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


# Where the code of a model may be


class Parent(Linears):
    """A model with methods that other models inherit."""

    def forward(self, x):
        return self.encode(self.first(x))

    def encode(self, x):
        return F.relu(x)


class Child(Parent):
    """Calls the forward that it overrides, and inherits the rest."""

    def forward(self, x):
        return super().forward(x).relu()


class Grandchild(Child):
    """Overrides a method that its parents call, and calls that too."""

    def encode(self, x):
        return super().encode(x) - torch.relu(-x)


class Replaced(Parent):
    """Overrides a method and leaves it behind."""

    def encode(self, x):
        return x.relu()


class Mixin:
    """A further base."""

    def encode(self, x):
        return super().encode(x).clamp(min=0)


class Mixed(Mixin, Child):
    """Two bases, which super() goes through in turn."""


class Namesake(Parent):
    """Inherits from a class of its own name."""

    def forward(self, x):
        return torch.relu(super().forward(F.relu(x)))


Namesake.forward.__qualname__ = "Parent.forward"


class Private(Linears):
    """A name that its class mangles, and a closure."""

    def __init__(self) -> None:
        super().__init__()
        self.__hidden = nn.Linear(4, 4)

    def forward(self, x):
        return F.relu(self.__hidden(x))


def closed_over(shift: float) -> type[nn.Module]:
    """Return a class inside of a function, whose variables it uses."""

    class Closure(Linears):
        def forward(self, x):
            return F.relu(self.first(x) + shift)

    return Closure


class Decorated(Linears):
    """A method under two decorators."""

    @torch.no_grad()
    @torch.autocast("cpu", enabled=False)
    def encode(self, x):
        return F.relu(x)

    def forward(self, x):
        return self.second(self.encode(x) + self.first(x))


class Checkpointed(Linears):
    """Functions that backward computes once more."""

    def forward(self, x):
        x = checkpoint(lambda x: F.relu(self.first(x)), x, use_reentrant=False)
        return checkpoint(self.encode, x, use_reentrant=False)

    def encode(self, x):
        return self.second(x.relu())


class Property(Linears):
    """An activation that an attribute stands for."""

    @property
    def scale(self):
        return F.relu(self.first.bias)

    def forward(self, x):
        return self.second(x) * self.scale


class Container(nn.Sequential):
    """Runs its submodules in turn: a further one would run too."""

    def __init__(self) -> None:
        super().__init__(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 4))

    def forward(self, x):
        return F.relu(super().forward(x))


class Children(Linears):
    """Does so by hand."""

    def forward(self, x):
        for child in self.children():
            x = child(x).relu()
        return x


CLASSES = [
    Parent,
    Child,
    Grandchild,
    Replaced,
    Mixed,
    Namesake,
    Private,
    closed_over(0.5),
    Decorated,
    Property,
    Container,
    Children,
]
each_class = pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)


@each_class
def test_the_methods_of_a_class(cls):
    model = cls()
    converted = convert(model, TEN)
    assert_replaced(converted, model, sample(3, 4))
    assert isinstance(converted, cls)
    assert type(model) is cls


@pytest.mark.parametrize("cls", [Parent, Private, Decorated, Property, Container, Children])
def test_the_methods_of_a_class_typed_at_a_prompt(cls):
    model = typed(inspect.getsource(cls))()
    assert_replaced(convert(model, TEN), model, sample(3, 4))


def test_what_backward_computes_once_more_is_replaced_too():
    model, x = Checkpointed(), sample(3, 4)
    converted = convert(model, TEN)
    by_hand = model.second(softplus(softplus(model.first(x), 10), 10))
    assert same(converted(x), by_hand)
    expected = gradients(by_hand, model)
    assert all(map(same, gradients(converted(x), converted), expected))


def test_what_is_overridden_and_left_behind_is_no_site():
    assert [site.spelling for site in find_sites(Replaced())] == ["x.relu()"]
    assert [site.spelling for site in find_sites(Grandchild())] == [
        "torch.relu",
        "F.relu",
        "x.relu()",
    ]


def test_classes_of_one_name_are_told_apart():
    class Parent(Namesake):
        def encode(self, x):
            return F.relu(super().encode(x))

    Parent.encode.__qualname__ = "Parent.encode"
    assert names(Parent()) == ["relu", "relu_1", "relu_2", "relu_3"]


def test_every_method_is_converted_and_not_forward_alone():
    model, x = Parent(), sample(3, 4)
    assert same(convert(model, TEN).encode(x), softplus(x, 10))


def test_a_container_takes_no_replacement_with_parameters():
    for cls in (Container, Children):
        model = cls()
        before = state_of(model)
        with pytest.raises(ValueError, match="site 'relu' cannot take a module with parameters"):
            convert(model, {"relu": Softplus(learnable=True)}, inplace=True)
        assert state_of(model) == before


# Calls that are replaced while the model runs

each_mechanism = pytest.mark.parametrize("at_call_time", [False, True], ids=["source", "call time"])


def helper(x):
    """Return an activation from outside of every class."""
    y = F.relu(x)
    return y - x.clamp(min=0).mean()


class Helped(Linears):
    """Calls a function outside of it, a lambda that it keeps, and a static method."""

    def __init__(self) -> None:
        super().__init__()
        self.kept = lambda x: x.relu()

    @staticmethod
    def static(x):
        return torch.relu(x)

    def forward(self, x):
        return self.static(self.kept(helper(self.first(x)) - 0.1) - 0.1) + x.relu()


class Default(Linears):
    """Calls what it is passed, or one of its own choice."""

    def forward(self, x, first=F.relu, *, last=torch.relu):
        x = first(self.first(x)) - 0.1
        x = last(x)
        return self.second(x.relu())


class Hidden(Linears):
    """Takes a function from a list, and one by its name."""

    def __init__(self) -> None:
        super().__init__()
        self.functions, self.name = [F.relu, torch.tanh], "relu"

    def forward(self, x):
        x = self.functions[0](self.first(x))
        return getattr(torch, self.name)(x - 0.1) + x.relu()


def test_calls_outside_of_the_classes_are_replaced():
    model, x = Helped(), sample(3, 4)
    assert [site.spelling for site in find_sites(model)] == [
        "x.relu()",
        "relu",
        "F.relu",
        "x.clamp(min=0)",
        "torch.relu",
    ]
    assert_replaced(convert(model, TEN), model, x)


@each_mechanism
def test_the_default_of_a_parameter_is_replaced_and_what_is_passed_is_not(at_call_time):
    model = (typed(inspect.getsource(Default)) if at_call_time else Default)()
    x = sample(3, 4)
    converted = convert(model, TEN)
    assert_replaced(converted, model, x)
    y = torch.tanh(torch.tanh(model.first(x)) - 0.1)
    result = converted(x, torch.tanh, last=torch.tanh)
    assert same(result, model.second(softplus(y, 10)))


def test_calls_that_only_a_run_shows_are_replaced():
    model, x = Hidden(), sample(3, 4)
    assert [site.spelling for site in find_sites(model)] == ["x.relu()"]
    before = state_of(model)
    sites = find_sites(model, x)
    assert state_of(model) == before
    assert [site.spelling for site in sites] == ["x.relu()", "F.relu", "torch.relu"]
    assert sites[0].line == sites[2].line == sites[1].line + 1
    assert_replaced(convert(model, TEN, sample=x), model, x)


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
            x = self.second(x).clamp(min=0)
        for _ in range(x.shape[0]):
            x = (x - 0.1).relu()
        return self.second(x)


def branches(*, at_call_time: bool, data: bool) -> nn.Module:
    """Return the model above, from a file or typed at a prompt."""
    return (typed(inspect.getsource(Branches)) if at_call_time else Branches)(data=data)


INPUTS = [sample(3, 4), -sample(3, 4), sample(2, 4)]


@each_mechanism
@pytest.mark.parametrize("data", [False, True])
def test_every_branch_is_replaced(at_call_time, data):
    model = branches(at_call_time=at_call_time, data=data)
    assert len(find_sites(model)) == 3
    converted = convert(model, TEN)
    for x in INPUTS:
        assert_replaced(converted, model, x)


@each_mechanism
@pytest.mark.parametrize("data", [False, True])
@pytest.mark.filterwarnings(
    # The compiler asks for it where it resumes inside of a function mode.
    "ignore:The .grad attribute of a Tensor that is not a leaf:UserWarning"
)
def test_compiles_as_before(at_call_time, data):
    torch.compiler.reset()
    model = branches(at_call_time=at_call_time, data=data)
    converted = convert(model, TEN, exclude="clamp")
    # Where the control flow depends on the data, the compiler breaks the graph, and this backend
    # runs the parts with the torch functions that a mode sees once more.
    compiled = torch.compile(converted, fullgraph=not data, backend="eager")
    for x in INPUTS:
        results = []
        for module in (compiled, converted):
            y = module(x)
            results.append([y, *gradients(y, converted)])
        for result, expected in zip(*results, strict=True):
            torch.testing.assert_close(result, expected)
    torch.compiler.reset()


@each_mechanism
@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.filterwarnings(
    # The strict exporter takes a function mode for a side effect.
    "ignore:While compiling, we found certain side effects:UserWarning"
)
def test_exports_as_before(at_call_time, strict):
    converted = convert(branches(at_call_time=at_call_time, data=False), TEN)
    for x in (INPUTS[0], INPUTS[2]):
        exported = torch.export.export(converted, (x,), strict=strict)
        operators = {str(node.target) for node in exported.graph.nodes if node.op != "placeholder"}
        assert not any("relu" in operator or "clamp" in operator for operator in operators)
        assert "aten.softplus.default" in operators
        torch.testing.assert_close(exported.module()(x), converted(x))


class Straight(Linears):
    """A model that fx and TorchScript's tracer follow."""

    def forward(self, x):
        return self.second(F.relu(self.first(x)).relu())


@pytest.mark.filterwarnings("ignore:`torch.jit.trace:DeprecationWarning")
def test_traces_as_before():
    model, x = Straight(), sample(3, 4)
    for at_call_time in (False, True):
        converted = convert(typed(inspect.getsource(Straight))() if at_call_time else model, TEN)
        torch.testing.assert_close(torch.jit.trace(converted, (x,))(-x), converted(-x))
        if at_call_time:
            with pytest.raises(NotImplementedError, match=r"fx\.symbolic_trace cannot follow"):
                torch.fx.symbolic_trace(converted)
        else:
            traced = torch.fx.symbolic_trace(converted)
            assert same(traced(x), converted(x))


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
def test_torchscript_sees_the_source_that_runs():
    back = convert(convert(Straight(), TEN), {"softplus": nn.Tanh()})
    x = sample(3, 4)
    assert same(torch.jit.script(back)(x), back(x))


def test_a_module_inside_one_of_its_class_keeps_its_own_replacements():
    nested = typed(
        """
        class Nested(Linears):
            def __init__(self, inner=None):
                super().__init__()
                self.inner = inner

            def forward(self, x):
                x = F.relu(self.first(x))
                return x if self.inner is None else self.inner(x - 0.1)
        """
    )
    model, x = nested(nested()), sample(3, 4)
    assert names(model) == ["relu", "inner.relu"]
    middle = model.first(x)
    for chosen, outer, inner in (
        ("relu", partial(softplus, beta=10), torch.relu),
        ("inner.relu", torch.relu, partial(softplus, beta=10)),
    ):
        expected = inner(model.inner.first(outer(middle) - 0.1))
        assert same(convert(model, TEN, include=chosen)(x), expected)


def test_a_call_at_call_time_leaves_other_modules_alone():
    model = typed(
        """
        class Around(Linears):
            def __init__(self):
                super().__init__()
                self.kept, self.inner = nn.ReLU(), Parent()

            def forward(self, x):
                return F.relu(self.kept(self.inner(x)) - 0.1)
        """
    )()
    x = sample(3, 4)
    converted = convert(model, TEN, include="relu")
    assert same(converted(x), softplus(model.inner(x) - 0.1, 10))
    torch.compiler.reset()
    compiled = torch.compile(converted, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(x), converted(x))


def test_what_backward_computes_once_more_is_not_replaced_at_call_time():
    model = typed(inspect.getsource(Checkpointed))()
    with pytest.raises(ValueError, match="cannot be replaced: its source cannot be rewritten, and"):
        convert(model, TEN)


def test_a_forward_of_the_instance_is_past_its_class():
    model = Parent()
    model.forward = model.encode
    with pytest.raises(ValueError, match=r"site 'relu'.*a forward of its own"):
        convert(model, TEN)


def test_two_calls_on_a_line_that_only_lines_tell_apart():
    class Model(Linears):
        def __init__(self):
            super().__init__()
            self.functions = [F.relu]

        def forward(self, x):
            return F.relu(self.functions[0](self.first(x)) - 0.1)

    model, x = Model(), sample(3, 4)
    model.functions = [lambda x: x]
    assert names(model, x) == ["relu"]
    model.functions = [torch.relu]
    assert names(model, x) == ["relu", "relu_1"]
    assert_replaced(convert(model, TEN, sample=x), model, x)
    with pytest.raises(ValueError, match="site 'relu' cannot stay: on line"):
        convert(model, TEN, sample=x, exclude="relu")


# Against the same networks built by hand


def assert_built_alike(converted: nn.Module, by_hand: nn.Module, *inputs: Tensor) -> None:
    """Assert equal outputs and gradients in training mode, and then equal outputs in eval mode."""
    results = []
    for module in (converted, by_hand):
        y = module.train()(*inputs)
        results.append([y, *gradients(y, module), module.eval()(*inputs)])
    for result, expected in zip(*results, strict=True):
        assert torch.equal(result, expected)


ARCHITECTURES = {
    "ResNet": (lambda: ResNet(lambda: nn.ReLU(inplace=True)), ResNet, 4),
    "VGG": (lambda: vgg(nn.ReLU), vgg, 4),
    "U-Net": (UNet, UNetByHand, 8),
}
REPLACEMENTS = {
    "Softplus": lambda: Softplus(beta=10),
    "ShiftedSoftplus": lambda: ShiftedSoftplus(beta=2),
    "GELU": nn.GELU,
}


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("replacement", REPLACEMENTS)
@pytest.mark.parametrize("inplace", [False, True])
def test_a_converted_network_is_the_one_built_by_hand(architecture, replacement, inplace):
    build, by_hand, sites = ARCHITECTURES[architecture]
    torch.manual_seed(0)
    model = build()
    expected = by_hand(REPLACEMENTS[replacement])
    expected.load_state_dict(model.state_dict())
    assert len(find_sites(model)) == sites
    converted = convert(model, {"relu": REPLACEMENTS[replacement]()}, inplace=inplace)
    assert (converted is model) is inplace
    assert_built_alike(converted, expected, sample(4, 3, 8, 8))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:`torch.jit.script:DeprecationWarning")
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_inductor_compiles_a_converted_network(architecture):
    torch.compiler.reset()
    torch.manual_seed(0)
    converted = convert(ARCHITECTURES[architecture][0](), TEN)
    x = sample(4, 3, 8, 8)
    compiled = torch.compile(converted, fullgraph=True)
    torch.testing.assert_close(compiled(x), converted(x), rtol=1e-4, atol=1e-5)


# What stays


@pytest.mark.parametrize("replacement", REPLACEMENTS.values(), ids=REPLACEMENTS)
def test_in_place_everything_else_stays_and_revert_restores_the_rest(replacement):
    for model in (ResNet(lambda: nn.ReLU(inplace=True)), UNet(), transformer("relu"), Branches()):
        parameters, keys = list(model.parameters()), list(model.state_dict())
        before, kind, text = state_of(model), type(model), repr(model)
        assert convert(model, {"relu": replacement()}, inplace=True) is model
        assert list(map(id, model.parameters())) == list(map(id, parameters))
        assert list(model.state_dict()) == keys
        assert isinstance(model, kind)
        assert type(model).__name__ == kind.__name__
        assert not any(isinstance(module, nn.ReLU) for module in model.modules())
        model.conversion.revert()
        assert state_of(model) == before
        assert repr(model) == text


def test_the_original_of_a_copy_stays():
    for model in (ResNet(nn.ReLU), UNet(), transformer("relu")):
        before = state_of(model)
        converted = convert(model, TEN, sample=None)
        assert state_of(model) == before
        ours = {parameter.data_ptr() for parameter in converted.parameters()}
        assert not ours & {parameter.data_ptr() for parameter in model.parameters()}


def test_an_optimizer_goes_on_training_a_model_converted_in_place():
    model, x = UNet(), sample(2, 3, 8, 8)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    convert(model, TEN, inplace=True)
    expected = UNetByHand(lambda: Softplus(beta=10))
    expected.load_state_dict(model.state_dict())
    for module, steps in (
        (model, optimizer),
        (expected, torch.optim.SGD(expected.parameters(), lr=0.1)),
    ):
        for _ in range(3):
            steps.zero_grad()
            module(x).square().mean().backward()
            steps.step()
    assert all(map(torch.equal, model.state_dict().values(), expected.state_dict().values()))


def test_hooks_stay_and_their_handles_remove_them():
    calls = []
    model = nn.Sequential(Parent(), nn.ReLU())
    handles = [
        module.register_forward_hook(lambda module, *_: calls.append(type(module)))
        for module in (model, model[0], model[0].first, model[1])
    ]
    handles.append(model[1].register_full_backward_hook(lambda *_: calls.append("backward")))
    expected = [nn.Linear, Parent, Softplus, nn.Sequential, "backward"]
    for converted in (convert(model, TEN), convert(model, TEN, inplace=True)):
        calls.clear()
        converted(sample(3, 4)).sum().backward()
        assert [call if isinstance(call, str) else call.__name__ for call in calls] == [
            call if isinstance(call, str) else call.__name__ for call in expected
        ]
    calls.clear()
    for handle in handles:
        handle.remove()
    model(sample(3, 4)).sum().backward()
    model.conversion.revert()
    model(sample(3, 4)).sum().backward()
    assert calls == []


def test_each_site_gets_its_own_replacement():
    template = Softplus(2, learnable=True)
    model = nn.Sequential(Straight(), nn.ReLU())
    converted = convert(model, {"relu": template})
    assert list(converted.state_dict()) == [
        *(key for key in model.state_dict()),
        "0.relu.raw_beta",
        "0.relu_1.raw_beta",
        "1.raw_beta",
    ]
    raw = [module.raw_beta for module in converted.modules() if isinstance(module, Softplus)]
    assert len({id(parameter) for parameter in [*raw, template.raw_beta]}) == 4
    converted(sample(3, 4)).sum().backward()
    assert all(parameter.grad is not None for parameter in raw)


def test_a_replacement_lies_where_the_model_does_and_moves_with_it():
    model = nn.Sequential(Straight(), nn.ReLU())
    converted = convert(model.to("meta"), {"relu": Softplus(learnable=True)})
    assert {parameter.device.type for parameter in converted.parameters()} == {"meta"}
    converted = convert(Straight(), {"relu": Softplus(learnable=True)}).double()
    assert converted(sample(3, 4).double()).dtype == torch.float64
    assert converted.relu.raw_beta.dtype == torch.float64


def test_a_replacement_has_the_mode_of_its_place():
    for train in (False, True):
        converted = convert(nn.Sequential(Straight(), nn.ReLU()).train(train), {"relu": nn.RReLU()})
        assert {module.training for module in converted.modules()} == {train}
        modules = list(converted.train(not train).modules())
        assert {module.training for module in modules} == {not train}


@each_mechanism
def test_copies_and_pickles_of_a_converted_model(at_call_time, monkeypatch):
    cls = Straight
    if at_call_time:
        cls = typed(inspect.getsource(Straight))
        monkeypatch.setitem(globals(), "Straight", cls)  # where pickle looks for the class
    x = sample(3, 4)
    in_place = convert(nn.Sequential(cls(), nn.ReLU()), TEN, inplace=True)
    for converted in (convert(nn.Sequential(cls(), nn.ReLU()), TEN), in_place):
        saved = io.BytesIO()
        torch.save(converted, saved)
        saved.seek(0)
        for other in (
            copy.deepcopy(converted),
            pickle.loads(pickle.dumps(converted)),  # noqa: S301 -- our own bytes
            torch.load(saved, weights_only=False),
        ):
            assert type(other[0]) is type(converted[0])
            assert same(other(x), converted(x))
            assert other.conversion.sites == converted.conversion.sites
            if converted is in_place:
                other.conversion.revert()
                assert type(other[0]) is cls
                assert not same(other(x), converted(x))


def test_a_pickle_whose_source_has_changed(tmp_path, monkeypatch):
    file = tmp_path / "changing.py"
    monkeypatch.syspath_prepend(tmp_path)
    text = """
        from torch import nn

        class Model(nn.Module):
            def forward(self, x):
                return x.relu()
        """
    file.write_text(textwrap.dedent(text))
    module = importlib.import_module("changing")
    pickled = pickle.dumps(convert(module.Model(), TEN))
    file.write_text(textwrap.dedent(text).replace("x.relu()", "x.clamp(min=0)"))
    importlib.invalidate_caches()
    del sys.modules["changing"]
    with pytest.raises(RuntimeError, match=exactly("the source of Model has changed since")):
        pickle.loads(pickled)  # noqa: S301 -- our own bytes


def test_a_source_that_is_not_what_runs_is_not_rewritten(tmp_path):
    file = tmp_path / "edited.py"
    text = "def forward(self, x):\n    return self.second(self.first(x).relu())\n"
    scope = {}
    exec(compile(text, str(file), "exec"), scope)  # noqa: S102 -- our own code
    file.write_text(text.replace("second", "third"))
    model = type("Edited", (Linears,), {"forward": scope["forward"]})()
    assert_replaced(convert(model, TEN), model, sample(3, 4))


def test_converted_twice_and_reverted_twice():
    model, x = Straight(), sample(3, 4)
    before = state_of(model)
    first = convert(model, TEN, include="relu", inplace=True).conversion
    assert names(model) == ["relu", "relu_1"]
    assert [site.family for site in find_sites(model)] == ["softplus", "relu"]
    convert(model, {"relu": Softplus(beta=3)}, inplace=True)
    expected = softplus(softplus(model.first(x), 10), 3)
    assert same(model(x), model.second(expected))
    with pytest.raises(RuntimeError, match=exactly("the model was converted again since: call")):
        first.revert()
    model.conversion.revert()
    assert model.conversion is first
    first.revert()
    assert state_of(model) == before
    with pytest.raises(RuntimeError, match=exactly("there is nothing to revert")):
        first.revert()


def test_a_copy_has_nothing_to_revert():
    with pytest.raises(RuntimeError, match=exactly("there is nothing to revert: the model is a")):
        convert(Straight(), TEN).conversion.revert()


def test_patterns():
    model = ResNet(nn.ReLU)
    for options, expected in (
        ({"include": "layers.*"}, ["layers.0.relu", "layers.1.relu", "layers.2.relu"]),
        ({"exclude": "layers.*"}, ["relu"]),
        ({"include": ["relu", "layers.[01].*"], "exclude": ["*.0.*"]}, ["relu", "layers.1.relu"]),
    ):
        converted = convert(model, TEN, **options)
        assert [site.name for site in converted.conversion.sites] == expected
        for site in find_sites(model):
            module = converted.get_submodule(site.name)
            assert isinstance(module, Softplus if site.name in expected else nn.ReLU)


# Softplus for Softplus, and the way back


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


# The smallest beta within a tolerance


class Reused(Linears):
    """An activation called three times, one called once, and one that the sample does not reach."""

    def __init__(self) -> None:
        super().__init__()
        self.relu, self.dropout, self.norm = nn.ReLU(), nn.Dropout(), nn.BatchNorm1d(4)

    def forward(self, x):
        x = self.dropout(F.relu(self.norm(self.first(x))))
        for _ in range(3):
            x = self.relu(self.second(x))
        return {"out": (x, x.argmax())}

    def unreached(self, x):
        return x.relu()


@pytest.mark.parametrize("tolerance", [1.0, 0.1, 1e-3])
@pytest.mark.parametrize(
    ("replacement", "function"),
    [
        (Softplus(), softplus),
        (Softplus(99, learnable=True), softplus),
        (ShiftedSoftplus(99), shifted_softplus),
    ],
    ids=["Softplus", "learnable", "ShiftedSoftplus"],
)
def test_the_smallest_beta_within_a_tolerance(tolerance, replacement, function):
    model, x = Reused(), sample(20, 4)
    before = state_of(model), {key: value.clone() for key, value in model.state_dict().items()}
    converted = convert(model, {"relu": replacement}, tolerance=tolerance, sample=x)
    assert state_of(model) == before[0]
    assert all(map(torch.equal, model.state_dict().values(), before[1].values()))
    conversion = converted.conversion
    assert conversion.betas["relu_2"] == pytest.approx(math.log(2) / tolerance, rel=2e-3)
    assert conversion.differences.keys() == {"relu", "relu_1"}
    seen = {"relu": [], "relu_1": []}
    for name, inputs in seen.items():
        module = converted.get_submodule(name)
        assert torch.as_tensor(module.beta).item() == pytest.approx(conversion.betas[name])
        module.register_forward_pre_hook(lambda _, args, inputs=inputs: inputs.append(args[0]))
    with torch.no_grad():
        after = converted.eval()(x)["out"][0]
        expected = (after - model.eval()(x)["out"][0]).abs().max()
    assert conversion.difference == pytest.approx(float(expected))
    for name, inputs in seen.items():
        x = torch.cat(inputs)
        beta, sure = conversion.betas[name], math.log(2) / tolerance
        largest = float((function(x, beta) - x.relu()).abs().max())
        assert largest == pytest.approx(conversion.differences[name], rel=1e-5)
        assert largest <= tolerance
        smaller = float((function(x, beta * 0.997) - x.relu()).abs().max())
        assert smaller > tolerance * 0.999 or beta == pytest.approx(sure / 1000, rel=2e-3)


@torch.no_grad()
def test_a_sample_without_a_tolerance_measures_only():
    model, x = Straight(), sample(3, 4)
    conversion = convert(model, TEN, sample=(x,)).conversion
    assert conversion.betas == {"relu": 10, "relu_1": 10}
    y = model.first(x)
    first = (softplus(y, 10) - y.relu()).abs().max()
    assert conversion.differences["relu"] == pytest.approx(float(first))
    whole = (convert(model, TEN)(x) - model(x)).abs().max()
    assert conversion.difference == pytest.approx(float(whole))
    assert convert(model, TEN, sample={"x": x}).conversion == conversion
    assert convert(model, TEN).conversion.difference is None


def test_a_sample_is_not_written_into():
    x = sample(3, 4)
    before = x.clone()
    convert(nn.Sequential(nn.ReLU(inplace=True)), TEN, sample=x)
    assert torch.equal(x, before)


def test_extreme_samples():
    for x in (torch.zeros(0, 4), torch.full((2, 4), math.inf), torch.full((2, 4), math.nan)):
        conversion = convert(
            nn.Sequential(nn.ReLU()), {"relu": Softplus}, sample=x, tolerance=0.1
        ).conversion
        assert conversion.betas["0"] == pytest.approx(math.log(2) / 0.1, rel=2e-3)
        assert conversion.difference == 0
    x = torch.zeros(2, 4)
    conversion = convert(
        nn.Sequential(nn.ReLU()).half(), {"relu": Softplus}, sample=x.half(), tolerance=0.1
    ).conversion
    assert 0.099 < conversion.difference <= 0.1


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
        "torch.clamp(x, min=0), x.clamp(min=0), torch.clip(x, min=0), x.clip(min=0), "
        "torch.clamp_min(x, 0), x.clamp_min(0), as modules, as function attributes and in the "
        "source of its classes. Calls that reading does not show are found by a run: pass sample="
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


@pytest.mark.parametrize(
    ("replacements", "error", "message"),
    [
        ({}, TypeError, "replacements must be a mapping such as {'relu': Softplus()}, got {}"),
        (Softplus(), TypeError, "replacements must be a mapping such as"),
        ({"gelu": Softplus()}, ValueError, "replacements must have each of the keys 'relu' (or"),
        ({nn.ReLU6: Softplus()}, ValueError, "replacements must have each of the keys"),
        ({"relu": Softplus(), nn.ReLU: Softplus()}, ValueError, "replacements must have each"),
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
