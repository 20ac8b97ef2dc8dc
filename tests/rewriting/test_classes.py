"""The class of a converted module: compiled, exported, traced, copied and pickled as before."""

import copy
import importlib
import io
import pickle
import sys
import textwrap
from typing import ClassVar

import pytest
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 -- the spelling that models use

from conversion_models import (
    TEN,
    Branches,
    Linears,
    Straight,
    assert_replaced,
    gradients,
    sample,
)
from messages import exactly
from references import same
from softplus import convert, find_sites

INPUTS = [sample(3, 4), -sample(3, 4), sample(2, 4)]


@pytest.mark.parametrize("data", [False, True])
def test_every_branch_is_replaced(data):
    model = Branches(data=data)
    assert len(find_sites(model)) == 3
    converted = convert(model, TEN)
    for x in INPUTS:
        assert_replaced(converted, model, x)


@pytest.mark.parametrize("data", [False, True])
def test_compiles_as_before(data):
    torch.compiler.reset()
    converted = convert(Branches(data=data), TEN, exclude="relu_1")
    # Where the control flow depends on the data, the compiler breaks the graph.
    compiled = torch.compile(converted, fullgraph=not data, backend="eager")
    for x in INPUTS:
        results = []
        for module in (compiled, converted):
            y = module(x)
            results.append([y, *gradients(y, converted)])
        for result, expected in zip(*results, strict=True):
            torch.testing.assert_close(result, expected)
    torch.compiler.reset()


@pytest.mark.parametrize("strict", [False, True])
def test_exports_as_before(strict):
    converted = convert(Branches(), TEN)
    for x in (INPUTS[0], INPUTS[2]):
        exported = torch.export.export(converted, (x,), strict=strict)
        operators = {str(node.target) for node in exported.graph.nodes if node.op != "placeholder"}
        assert not any("relu" in operator or "clamp" in operator for operator in operators)
        assert "aten.softplus.default" in operators
        torch.testing.assert_close(exported.module()(x), converted(x))


@pytest.mark.filterwarnings("ignore:`torch.jit.trace:DeprecationWarning")
def test_traces_as_before():
    model, x = Straight(), sample(3, 4)
    converted = convert(model, TEN)
    torch.testing.assert_close(torch.jit.trace(converted, (x,))(-x), converted(-x))
    assert same(torch.fx.symbolic_trace(converted)(x), converted(x))


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
def test_torchscript_sees_the_source_that_runs():
    back = convert(convert(Straight(), TEN), {"softplus": nn.Tanh()})
    x = sample(3, 4)
    assert same(torch.jit.script(back)(x), back(x))


def test_copies_and_pickles_of_a_converted_model():
    x = sample(3, 4)
    in_place = convert(nn.Sequential(Straight(), nn.ReLU()), TEN, inplace=True)
    for converted in (convert(nn.Sequential(Straight(), nn.ReLU()), TEN), in_place):
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
                assert type(other[0]) is Straight
                assert not same(other(x), converted(x))


class Registered(Linears):
    """Keeps a list of the classes that inherit from it, and asks each for a key."""

    classes: ClassVar[dict[str, type]] = {}

    def __init_subclass__(cls, *, key: str) -> None:
        cls.classes[key] = cls


class Listed(Registered, key="listed"):
    """One of them."""

    def forward(self, x):
        return F.relu(self.first(x))


def test_a_converted_class_is_no_further_subclass_to_a_registry():
    model = Listed()
    converted = convert(model, TEN)
    assert_replaced(converted, model, sample(3, 4))
    assert Registered.classes == {"listed": Listed}
    assert type(copy.deepcopy(converted)) is type(converted)


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


def test_a_pickle_follows_its_class_to_other_lines(tmp_path, monkeypatch):
    """What counts is the method, not where it stands in its file."""
    file = tmp_path / "moving.py"
    monkeypatch.syspath_prepend(tmp_path)
    text = "import torch\nclass Model(torch.nn.Module):\n  def forward(self, x): return x.relu()\n"
    file.write_text(text)
    module = importlib.import_module("moving")
    converted = convert(module.Model(), TEN)
    pickled = pickle.dumps(converted)
    file.write_text("# a comment\n" + text)
    importlib.invalidate_caches()
    del sys.modules["moving"]
    loaded = pickle.loads(pickled)  # noqa: S301 -- our own bytes
    assert same(loaded(sample(3)), converted(sample(3)))
