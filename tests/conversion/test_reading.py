"""What reading does not reach: outside of the class, unreachable from forward, without source."""

import ast
import inspect
import linecache
import textwrap

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 -- the spelling that models use

from conversion_models import (
    TEN,
    Linears,
    Parent,
    Straight,
    sample,
    typed,
)
from references import same
from softplus import Softplus, convert, find_sites, softplus


def helper(x):
    """Return an activation from outside of every class."""
    y = F.relu(x)
    return y - x.clamp(min=0).mean()


class Helped(Linears):
    """Calls a function outside of it, a lambda that it keeps, a static and a class method."""

    def __init__(self) -> None:
        super().__init__()
        self.kept = lambda x: x.relu()

    @staticmethod
    def static(x):
        return torch.relu(x)

    @classmethod
    def of_class(cls, x):
        return torch.relu_(x)

    def forward(self, x):
        x = self.of_class(x)
        return self.static(self.kept(helper(self.first(x)) - 0.1) - 0.1) + x.relu()


class Default(Linears):
    """Calls what it is passed, or one of its own choice."""

    def forward(self, x, first=F.relu, *, last=torch.relu):
        x = first(self.first(x)) - 0.1
        x = last(x)
        return self.second(x.relu())


def test_a_call_outside_of_the_classes_has_an_obstacle_and_its_line():
    sites = find_sites(Helped())
    assert sites[0].spelling == "x.relu()"
    others = {"relu", "F.relu", "torch.relu", "torch.relu_"}
    assert {site.spelling for site in sites[1:]} == others
    assert [site.obstacle is None for site in sites] == [True, False, False, False, False]
    lines, first = inspect.getsourcelines(helper)
    (site,) = (site for site in sites if site.spelling == "F.relu")
    assert lines[site.line - first].strip() == "y = F.relu(x)"
    with pytest.raises(ValueError, match=r"site 'relu_\d' \(.*test_reading.py:\d+\) cannot be rep"):
        convert(Helped(), TEN)
    converted = convert(Helped(), TEN, exclude="relu_[1234]")
    assert [site.spelling for site in converted.conversion.sites] == ["x.relu()"]
    assert {site.left for site in converted.conversion.left} == {"exclude names it"}


def test_the_default_of_a_parameter_has_an_obstacle():
    sites = find_sites(Default())
    obstacle = "it is the default of a parameter: pass a module there"
    assert [site.obstacle for site in sites] == [obstacle, obstacle, None]
    model, x = Default(), sample(3, 4)
    converted = convert(model, TEN, include="relu_2")
    first, last = Softplus(10), Softplus(10)
    y = last(first(model.first(x)) - 0.1)
    assert same(converted(x, first, last=last), model.second(softplus(y, 10)))


def test_a_call_whose_place_is_not_fixed_has_an_obstacle():
    class Model(Linears):
        def forward(self, x, flag=False):
            F.relu(x, inplace=flag)
            return self.second(F.relu(x, inplace=self.training))

    unknown, known = find_sites(Model())
    assert unknown.obstacle == "whether it works in place is not fixed: write True or False"
    assert known.obstacle is None
    with pytest.raises(
        ValueError, match=r"site 'relu' \(F.relu, .*\) cannot be replaced: whether it"
    ):
        convert(Model(), TEN)


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
def test_a_scripted_function_has_an_obstacle():
    scripted = torch.jit.script(scriptable)

    class Scripted(Linears):
        def forward(self, x):
            return scripted(self.first(x))

    (site,) = find_sites(Scripted())
    assert site.spelling == "TorchScript"
    assert "is compiled by TorchScript: call it uncompiled" in site.obstacle
    with pytest.raises(ValueError, match="cannot be replaced: scriptable is compiled by Torch"):
        convert(Scripted(), TEN)


def scriptable(x: Tensor) -> Tensor:
    """Return an activation of what a model has computed."""
    return torch.relu(x)


class Unreached(Linears):
    """What forward does not lead to: of Speculative's kind in a library that generates text."""

    def forward(self, x):
        return self.inner(self.first(x).relu())

    def inner(self, x):
        return self.second(x)

    def speculate(self, x, function=F.relu):
        return helper(function(x))

    def choose(self, name):
        return {"relu": F.relu, "tanh": torch.tanh}[name]

    def encode(self, x):
        return F.relu(x)


def test_what_forward_does_not_reach_is_no_reason_to_refuse():
    model = Unreached()
    converted = convert(model, TEN)
    assert [site.spelling for site in converted.conversion.sites] == ["x.relu()", "F.relu"]
    assert {site.left for site in converted.conversion.left} == {
        "it cannot be replaced, and forward does not reach it"
    }
    assert len(converted.conversion.left) == 2
    assert same(converted.encode(sample(3, 4)), softplus(sample(3, 4), 10))
    assert converted.choose("relu") is F.relu


def test_a_method_that_is_called_by_its_name_counts_as_reached():
    class Named(Unreached):
        def forward(self, x):
            return getattr(self, "speculate")(x)  # noqa: B009 -- what is tested

    with pytest.raises(ValueError, match="cannot be replaced: it is the default of a parameter"):
        convert(Named(), TEN)


def test_a_class_without_source_is_refused_where_it_names_an_activation():
    model = typed(inspect.getsource(Straight))()
    (site,) = find_sites(model)
    assert (site.spelling, site.file, site.line) == ("relu", "<stdin>", 4)
    message = r"site 'relu' \(relu, <stdin>:4\) cannot be replaced: its source cannot be read"
    with pytest.raises(ValueError, match=message):
        convert(model, TEN)


def test_a_class_of_a_notebook_is_converted(monkeypatch):
    cell = """
        import torch.nn.functional as F
        from torch import nn
        class Model(nn.Module):
            def forward(self, x):
                return F.relu(x)
    """
    cell, name, scope = textwrap.dedent(cell), "<cell 1>", {"__name__": "__main__"}
    lines = cell.splitlines(keepends=True)
    monkeypatch.setitem(linecache.cache, name, (len(cell), None, lines, name))
    for statement in ast.parse(cell).body:  # one by one, as IPython has it
        exec(compile(ast.Module([statement], []), name, "exec"), scope)  # noqa: S102 -- our own
    model = scope["Model"]()
    assert same(convert(model, TEN)(sample(3, 4)), softplus(sample(3, 4), 10))


def test_a_class_without_source_that_calls_its_own_modules_is_converted():
    cls = typed(
        """
        class Typed(Linears):
            def __init__(self):
                super().__init__()
                self.relu = nn.ReLU()

            def forward(self, x):
                return self.relu(self.first(x))
        """
    )
    model, x = cls(), sample(3, 4)
    assert same(convert(model, TEN)(x), softplus(model.first(x), 10))


def test_what_a_library_hangs_on_every_module_is_no_code_of_a_class(monkeypatch):
    def helper_of_a_library(self, x):
        return F.relu(x) + sum(p.sum() for child in self.children() for p in child.parameters())

    monkeypatch.setattr(nn.Module, "helper_of_a_library", helper_of_a_library, raising=False)
    converted = convert(Parent(), {"relu": Softplus(10, learnable=True)})
    assert [site.name for site in converted.conversion.sites] == ["relu"]
    assert isinstance(dict(converted.named_modules())["relu"], Softplus)


def test_a_forward_of_the_instance_is_past_its_class():
    model = Parent()
    model.forward = model.encode
    with pytest.raises(ValueError, match=r"site 'relu'.*a forward of its own"):
        convert(model, TEN)


def test_a_source_that_is_not_what_runs_is_not_rewritten(tmp_path):
    file = tmp_path / "edited.py"
    text = "def forward(self, x):\n    return self.second(self.first(x).relu())\n"
    scope = {}
    exec(compile(text, str(file), "exec"), scope)  # noqa: S102 -- our own code
    file.write_text(text.replace("second", "third"))
    model = type("Edited", (Linears,), {"forward": scope["forward"]})()
    with pytest.raises(ValueError, match="its source cannot be read"):
        convert(model, TEN)
