"""Every spelling of ReLU: found, replaced, in place where it was; and what is nearly ReLU."""

import copy
import inspect
import re

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 -- the spelling that models use
from torch.nn.functional import relu as activate

from conversion_models import TEN, Linears, assert_replaced, names, sample
from references import same
from softplus import Softplus, convert, find_sites, softplus

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

    def built_here(self, x):
        return nn.ReLU()(x) + nn.ReLU(inplace=False)(-x)

    def built_here_in_place(self, x):
        nn.ReLU(inplace=True)(x)
        return x

    def built_here_and_kept(self, x):
        function = nn.ReLU()
        return function(x)

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
    "built_here": ["nn.ReLU", "nn.ReLU"],
    "built_here_in_place": ["nn.ReLU"],
    "built_here_and_kept": ["nn.ReLU"],
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


@each_spelling
def test_each_spelling_is_replaced(method):
    """Clamps too, which is asked for here."""
    model = Spellings()
    converted = convert(model, TEN, include="*")
    for scale in (0.01, 0.1, 1):
        assert_replaced(converted, model, scale * sample(3, 4), method)


def test_the_sites_of_calls_by_spelling_and_line():
    lines, first = inspect.getsourcelines(Spellings)
    found = {}
    for site in find_sites(Spellings()):
        assert site.file == __file__
        assert site.family == "relu"
        assert site.obstacle is None
        assert (site.left is None) is not bool(re.search("clamp|clip", site.spelling))
        function = site.spelling.removeprefix("x").split("(")[0].split(".")[-1]
        assert function in lines[site.line - first] or "activate" in lines[site.line - first]
        above = [
            line for line in lines[: site.line - first] if "    def " in line and "self" in line
        ]
        method = above[-1].split("def ")[1].split("(")[0]
        found.setdefault(method, []).append(site.spelling)
    assert found == SPELLINGS


@pytest.mark.parametrize("method", [name for name in SPELLINGS if re.search("in_pl|under", name)])
def test_a_site_in_place_stays_in_place_whatever_goes_there(method):
    model = Spellings()
    x = sample(3, 4)
    y = model.first(x)
    expected = model.second(F.gelu(y) if "not" not in method else F.gelu(y) + y)
    converted = convert(model, {"relu": nn.GELU()}, include="*")
    assert same(converted(x, method), expected)


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
        self.own, self.tanh, self.settings = OwnReLU(), nn.Hardtanh(), ("relu", {"inplace": True})

    def forward(self, x):
        x = self.tanh(self.own(self.first(x)))
        x = x.clamp(0, 6).clamp(min=1e-3).clamp_min(-1).clamp(max=0)
        x = torch.clamp(x, 0, max=1) + F.leaky_relu(x) + torch.threshold(x, 0, 1)
        x = x + nn.LeakyReLU()(x)
        return x + self.relu(x) + torch.clamp(x, min=0, out=x) if x.isnan().any() else x

    def relu(self, x):
        return x


class OwnReLU(nn.ReLU):
    """A module that computes something else, whatever it inherits."""

    def forward(self, x):
        return x + 1


def test_what_is_no_relu():
    model = NoReLU()
    model.given = nn.ReLU()
    model.given.forward = torch.tanh
    assert find_sites(model) == []


class Near(Linears):
    """What is nearly ReLU, and ReLU under other names."""

    def __init__(self) -> None:
        super().__init__()
        self.six, self.hard = nn.ReLU6(inplace=True), nn.Hardswish()
        self.leaky, self.threshold, self.function = nn.LeakyReLU(0.0), nn.Threshold(0, 0), F.relu6

    def forward(self, x):
        x = self.function(self.threshold(self.leaky(self.hard(self.six(self.first(x))))))
        x = F.relu6(x) + F.hardswish(x) + F.leaky_relu(x, negative_slope=0)
        return F.threshold(x, 0, 0.0) + torch.threshold(x, 0, 0) + F.leaky_relu(x, 0)


def test_what_is_nearly_relu_is_named_and_left():
    found = {site.name: (site.spelling, site.left) for site in find_sites(Near())}
    assert {name: spelling for name, (spelling, _) in found.items()} == {
        "six": "nn.ReLU6",
        "hard": "nn.Hardswish",
        "leaky": "nn.LeakyReLU",
        "threshold": "nn.Threshold",
        "function": "F.relu6",
        "relu6": "F.relu6",
        "hardswish": "F.hardswish",
        "leaky_relu": "F.leaky_relu",
        "leaky_relu_1": "F.leaky_relu",
        "threshold_1": "F.threshold",
        "threshold_2": "torch.threshold",
    }
    assert all(" is no ReLU: it" in left for _, left in found.values())
    with pytest.raises(ValueError, match="no relu to replace was found in Near") as caught:
        convert(Near(), TEN)
    assert "'six' (nn.ReLU6" in str(caught.value)
    assert "for include to name" in str(caught.value)


def test_what_is_nearly_relu_is_replaced_where_include_names_it():
    model, x = Near(), sample(3, 4)
    converted = convert(model, TEN, include="*", sample=x)
    assert converted.six.inplace
    x = model.first(x)
    for _ in range(5):
        x = softplus(x, 10)
    y = softplus(x, 10)
    y = softplus(y + y + y, 10)
    assert same(converted(sample(3, 4)), y + y + y)
