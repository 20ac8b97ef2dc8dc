"""Where the code of a model may be: inherited, mixed in, closed over, decorated, in a property."""

import functools

import pytest
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 -- the spelling that models use
from torch.utils.checkpoint import checkpoint

from conversion_models import (
    TEN,
    Linears,
    Parent,
    assert_replaced,
    gradients,
    names,
    sample,
    state_of,
)
from references import same
from softplus import Softplus, convert, find_sites, softplus


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
        return super().encode(x).relu()


class Mixed(Mixin, Child):
    """Two bases, which super() goes through in turn."""


class Namesake(Parent):
    """Inherits from a class of its own name."""

    def forward(self, x):
        return torch.relu(super().forward(F.relu(x)))


Namesake.forward.__qualname__ = "Parent.forward"


class Named(Child):
    """Speaks of its own class by name, as older code does."""

    def forward(self, x):
        return torch.relu(super(Named, self).forward(x)) + isinstance(self, Named)  # noqa: UP008


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
    Named,
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


def counted(method):
    """Count the calls of a method, in an attribute of what takes its place."""

    @functools.wraps(method)
    def counting(*args):
        counting.calls += 1
        return method(*args)

    counting.calls = 0
    return counting


class Counted(Linears):
    """A decorator that keeps an attribute."""

    @counted
    def forward(self, x):
        return F.relu(self.first(x))


def test_the_attributes_of_a_decorator_stay():
    assert convert(Counted(), TEN).forward.calls == 0


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
        with pytest.raises(ValueError, match=r"site 'relu' \(.*\) cannot take a module with"):
            convert(model, {"relu": Softplus(learnable=True)}, inplace=True)
        assert state_of(model) == before
