"""What a converted model still computes on a sample: counted, with module, file and line."""

import inspect

import pytest
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 -- the spelling that models use

from conversion_models import TEN, Linears, sample, transformer
from softplus import Softplus, convert


class Hidden(Linears):
    """Takes its functions from where no reader follows: a table by a computed name."""

    def __init__(self) -> None:
        super().__init__()
        self.functions, self.key = {"r": F.relu, "t": torch.tanh}, "r"

    def forward(self, x):
        x = self.functions[self.key](self.first(x))
        x = self.second(x - 0.1).relu()
        return torch.threshold(x - 0.1, 0, 0.0) + (x - 0.2).clamp(min=0)


def clamped(x):
    """Return a bound, from outside of every class."""
    return x.clamp_min(0)


def test_what_still_computes_a_relu_is_left_with_its_line():
    model = nn.Sequential(nn.Linear(4, 4), Hidden())
    conversion = convert(model, TEN, sample=sample(3, 4)).conversion
    assert [site.name for site in conversion.sites] == ["1.relu"]
    known, counted = conversion.left[:2], conversion.left[2:]
    assert [site.spelling for site in known] == ["torch.threshold", "x.clamp(min=0)"]
    (site,) = counted
    lines, first = inspect.getsourcelines(Hidden)
    assert (site.name, site.family, site.spelling) == ("1", "relu", "aten.relu.default")
    assert site.file == __file__
    assert "self.functions[self.key]" in lines[site.line - first]
    assert site.left.startswith("reading does not find it: keep it as an attribute")


def test_a_clamp_is_reported_apart_and_an_index_is_none():
    class Model(Linears):
        def forward(self, x):
            index = clamped(torch.arange(4) - 2)
            return clamped(self.first(x)[:, index].relu() - 0.5) + self.table()[0](x)

        def table(self):
            return [F.relu]

    left = convert(Model(), TEN, sample=sample(3, 4), include="relu").conversion.left
    operators = [site.spelling for site in left if "aten" in site.spelling]
    assert operators == ["aten.relu.default", "aten.clamp_min.default"]
    assert left[-1].left.startswith("a clamp at zero, seldom an activation")


def test_a_replacement_may_compute_a_relu_itself():
    class Own(nn.Module):
        def forward(self, x):
            return F.relu(x) + 1

    converted = convert(
        nn.Sequential(nn.Linear(4, 4), nn.ReLU()), {"relu": Own()}, sample=sample(4)
    )
    assert converted.conversion.left == ()


def test_the_softplus_of_a_helper_is_left_for_patch():
    class Model(Linears):
        def __init__(self):
            super().__init__()
            self.act, self.functions = nn.Softplus(), {"s": F.softplus}

        def forward(self, x):
            return self.functions["softplus"[0]](self.act(self.first(x)))

    (site,) = convert(Model(), {nn.Softplus: Softplus}, sample=sample(3, 4)).conversion.left
    assert (site.family, site.spelling) == ("softplus", "aten.softplus.default")
    assert "run the model under softplus.patch()" in site.left


def test_the_fused_relu_of_an_excluded_layer_is_explained():
    model = transformer("relu")
    with torch.no_grad():
        left = convert(model, TEN, sample=sample(3, 5, 8), exclude="layers.1").conversion.left
    assert [(site.name, site.left) for site in left] == [
        ("layers.1.activation", "exclude names it")
    ]


def test_where_nothing_is_found_the_sample_shows_what_there_is():
    class Model(Linears):
        def forward(self, x):
            return self.table()["r"[0]](self.first(x))

        def table(self):
            return {name: getattr(F, "re" + "lu") for name in "r"}

    with pytest.raises(
        ValueError, match=r"On the sample it computes: '' \(aten.relu.default, "
    ) as no:
        convert(Model(), TEN, sample=sample(3, 4))
    assert "pass sample" not in str(no.value)
    with pytest.raises(ValueError, match="With sample=, a run shows what reading does not"):
        convert(Model(), TEN)


def test_a_compiled_submodule_runs_uncompiled_on_the_sample():
    class Counting(nn.Module):
        def forward(self, x):
            return F.relu(x)

    model = nn.Sequential(nn.Linear(4, 4), torch.compile(Counting(), backend="eager"))
    conversion = convert(model, TEN, sample=sample(3, 4), tolerance=0.1).conversion
    assert conversion.left == ()
    assert conversion.differences["1._orig_mod.relu"] <= 0.1
    torch.compiler.reset()


class Chosen(Linears):
    """An activation held, one chosen, one in a property: each is one site, sample or not."""

    def __init__(self) -> None:
        super().__init__()
        self.act, self.choice = F.relu, "relu"

    @property
    def scale(self):
        return F.relu(self.first.bias)

    def choose(self):
        return torch.relu if self.choice == "relu" else torch.tanh

    def forward(self, x):
        return self.second(self.choose()(self.act(self.first(x)) - 0.1)) * self.scale


def test_a_sample_adds_no_site_that_nothing_uses():
    model, x = nn.Sequential(Chosen(), nn.Linear(4, 4)), sample(3, 4)
    learnable = {"relu": Softplus(learnable=True)}
    plain, sampled = convert(model, learnable), convert(model, learnable, sample=x)
    assert sampled.conversion.sites == plain.conversion.sites
    assert [site.name for site in plain.conversion.sites] == ["0.act", "0.relu", "0.relu_1"]
    assert sampled.conversion.left == ()
    sampled(x).sum().backward()
    assert all(parameter.grad is not None for parameter in sampled.parameters())
    assert not dict(sampled[1].named_modules(prefix="")).keys() - {""}
