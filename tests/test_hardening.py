"""Hardening: an exact ReLU at the end, nothing of this package left, and clear refusals."""

import copy
import itertools
import pickle
import subprocess
import sys
from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrize

from messages import exactly
from references import same_bits
from softplus import (
    BetaAnnealing,
    LogSigmoid,
    ShiftedSoftplus,
    Softplus,
    convert,
    harden,
    softplus,
)
from softplus_networks import LN2, assert_unchanged, network, sample, state_of


@given(
    kind=st.sampled_from([Softplus, ShiftedSoftplus, nn.Softplus]),
    beta=st.floats(1e-2, 1e4),
    dtype=st.sampled_from([torch.float32, torch.float64]),
)
@settings(deadline=None)
def test_each_activation_changes_by_ln2_over_beta_at_most(kind, beta, dtype):
    x = torch.cat([sample(500) * 5 / beta, torch.tensor([0.0, 1e6, -1e6])]).to(dtype)
    model = nn.Sequential(kind(beta))
    hardened = harden(model, sample=x)
    change = (model(x) - hardened(x)).abs()
    rounding = 4 * torch.finfo(dtype).eps * (x.abs() + LN2 / beta)
    assert bool((change <= LN2 / beta + rounding).all())
    assert hardened.difference == float(change.double().max())
    # The bound is reached: at 0 by Softplus, far out by the shifted form.
    assert hardened.difference > (1 - 1e-2) * LN2 / beta or dtype is torch.float32


@pytest.mark.parametrize("threshold", [0.0, 0.5, 3.0, 20.0])
@pytest.mark.parametrize("kind", [Softplus, nn.Softplus])
def test_a_threshold_keeps_the_bound(kind, threshold):
    x = torch.linspace(-3, 3, 601, dtype=torch.float64)
    assert harden(nn.Sequential(kind(2, threshold)), x).difference <= LN2 / 2


def test_the_result_is_what_relu_computes():
    model = network(Softplus(5), nn.Softplus(5), Softplus(5, inplace=True))
    before = state_of(model)
    reference = network(nn.ReLU(), nn.ReLU(), nn.ReLU(inplace=True))
    hardened = harden(model, sample(64, 8))
    assert repr(hardened) == repr(reference)
    assert torch.equal(hardened(sample(64, 8)), reference(sample(64, 8)))
    assert hardened.state_dict().keys() == model.state_dict().keys()
    assert_unchanged(model, before)
    largest = (model(sample(64, 8)) - hardened(sample(64, 8))).detach().abs().max()
    assert hardened.difference == pytest.approx(float(largest), rel=1e-6)


def test_without_a_sample_nothing_is_measured():
    assert harden(network(Softplus(5))).difference is None


def test_zeros_are_exact():
    hardened = harden(network(Softplus(50)))
    hidden = hardened[1](hardened[0](sample(64, 8)))
    assert 0.2 < float((hidden == 0).double().mean()) < 0.8


def test_nothing_of_the_package_is_left(tmp_path):
    model = network(
        Softplus(50),
        ShiftedSoftplus(50, shift=0.5),
        Softplus(50, learnable=True, num_parameters=8),
        LogSigmoid(),
    )
    x = sample(32, 8)
    hardened = harden(model, x)
    assert {type(module).__module__.split(".")[0] for module in hardened.modules()} == {"torch"}
    assert not [name for name in hardened.state_dict() if "beta" in name]
    torch.save((hardened, x, hardened(x)), tmp_path / "model.pt")
    source = (
        "import sys; sys.modules['softplus'] = None\n"
        "import torch\n"
        f"model, x, y = torch.load({str(tmp_path / 'model.pt')!r}, weights_only=False)\n"
        "assert torch.equal(model(x), y)\n"
        "print(model.difference)"
    )
    command = [sys.executable, "-c", source]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert float(result.stdout) == hardened.difference


def test_a_module_alone_becomes_relu():
    hardened = harden(Softplus(100), sample(50))
    assert type(hardened) is nn.ReLU
    assert 0 < hardened.difference <= LN2 / 100


def test_a_learnable_beta_counts_with_its_present_values():
    module = Softplus(2, learnable=True, num_parameters=3)
    with torch.no_grad():
        module.raw_beta += torch.tensor([0.0, 3.0, 30.0])
    x = sample(400, 3)
    hardened = harden(nn.Sequential(module), x)
    change = (module(x) - hardened(x)).abs().amax(dim=0)
    bounds = LN2 / module.beta
    assert bool((change <= bounds).all())
    assert bool((change > 0.9 * bounds).all())


def test_hooks_and_mode_stay():
    model = network(Softplus(5)).eval()
    calls = []
    model[1].register_forward_hook(lambda *_: calls.append("after"))
    model[1].register_forward_pre_hook(lambda *_: calls.append("before"))
    hardened = harden(model)
    hardened(sample(2, 8))
    assert calls == ["before", "after"]
    assert not hardened[1].training


def test_a_transformer_layer_with_softplus_is_hardened():
    layer = nn.TransformerEncoderLayer(
        8, 2, 16, dropout=0.0, activation=Softplus(1000), batch_first=True
    )
    model = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
    hardened = harden(model, sample(4, 5, 8))
    assert all(type(inner.activation) is nn.ReLU for inner in hardened.layers)
    assert 0 < hardened.difference < 1e-2


def test_the_difference_falls_as_beta_grows():
    model = network(Softplus(), Softplus())
    differences = []
    for beta in (10, 100, 1000, 10000):
        BetaAnnealing(model, beta, beta, 1)
        differences.append(harden(model, sample(256, 8)).difference)
    for coarse, fine in itertools.pairwise(differences):
        assert 0 < fine < coarse / 5


def test_the_difference_is_that_of_evaluation_mode():
    """Dropout and batch statistics are noise; measuring leaves no mark on either model."""
    model = nn.Sequential(nn.BatchNorm1d(4), Softplus(3), nn.Dropout(0.5), nn.Linear(4, 2))
    x = sample(64, 4)
    before = state_of(model)
    hardened = harden(model, x)
    assert_unchanged(model, before)
    assert model.training
    assert all(module.training for module in hardened.modules())
    assert all(
        torch.equal(a, b)
        for a, b in zip(hardened.state_dict().values(), model.state_dict().values(), strict=True)
    )
    model.eval()
    hardened.eval()
    assert hardened.difference == float(
        (model(x).double() - hardened(x).double()).detach().abs().max()
    )


@pytest.mark.parametrize("form", ["tuple", "mapping"])
def test_a_sample_may_be_several_arguments(form):
    class Pair(nn.Module):
        def __init__(self):
            super().__init__()
            self.act = Softplus(4)

        def forward(self, x, scale):
            return {"y": self.act(x), "parts": [x, scale * self.act(x)], "count": torch.tensor(3)}

    x = sample(50)
    arguments = (x, 10.0) if form == "tuple" else {"x": x, "scale": 10.0}
    hardened = harden(Pair(), arguments)
    assert hardened.difference == pytest.approx(
        10 * harden(nn.Sequential(Softplus(4)), x).difference
    )


def test_measuring_leaves_the_sample_as_it_is():
    x = sample(50)
    hardened = harden(nn.Sequential(Softplus(4, inplace=True)), x)
    assert torch.equal(x, sample(50))
    assert hardened.difference == harden(nn.Sequential(Softplus(4)), x).difference


def test_an_output_without_numbers_has_no_difference():
    class Classes(nn.Sequential):
        def forward(self, x):
            return super().forward(x).argmax(dim=1)

    assert harden(Classes(Softplus()), sample(4, 3)).difference is None


def test_include_and_exclude_mean_what_they_mean_in_convert():
    model = nn.Sequential(network(Softplus(7), Softplus(8)), network(Softplus(9)))
    for options, expected in (
        ({"include": "0"}, [nn.ReLU, nn.ReLU, Softplus]),
        ({"include": "*.1"}, [nn.ReLU, Softplus, nn.ReLU]),
        ({"include": "0", "exclude": "0.3"}, [nn.ReLU, Softplus, Softplus]),
    ):
        hardened, back = (
            harden(model, **options),
            convert(model, {"softplus": nn.ReLU()}, **options),
        )
        for result in (hardened, back):
            kinds = [type(result[0][1]), type(result[0][3]), type(result[1][1])]
            assert kinds == expected


def test_patterns_may_come_from_a_generator():
    model = nn.Sequential(nn.Linear(2, 2), Softplus(), nn.Linear(2, 2), Softplus())
    hardened = harden(model, exclude=(name for name in ["3"]))
    assert [type(module) for module in hardened][1::2] == [nn.ReLU, Softplus]


def test_a_hardened_model_exports_and_compiles():
    hardened = harden(network(Softplus(50)))
    program = torch.export.export(hardened, (sample(4, 8),))
    targets = {str(node.target) for node in program.graph.nodes}
    assert "aten.relu.default" in targets
    assert not any("softplus" in target for target in targets)


def test_a_compiled_model_hardens():
    model = torch.compile(network(Softplus(50)), backend="eager")
    hardened = harden(model, sample(4, 8))
    assert torch.equal(hardened(sample(4, 8)), harden(network(Softplus(50)))(sample(4, 8)))


# What hardening refuses


class Subclass(Softplus):
    """Another function behind the same class."""

    def forward(self, input):
        return super().forward(input) ** 2


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (Softplus(-2), "1 has beta=-2, whose limit is min(x, 0) and not ReLU"),
        (nn.Softplus(-2), "1 has beta=-2, whose limit is min(x, 0) and not ReLU"),
        (Softplus(2, threshold=-1), "1 has threshold=-1, below which it is x itself"),
        (Subclass(), "1 is a Subclass, a subclass, which may compute anything"),
    ],
)
def test_what_does_not_tend_to_relu_is_refused(module, message):
    model = network(module)
    before = state_of(model)
    with pytest.raises(ValueError, match=exactly(message)):
        harden(model)
    assert_unchanged(model, before)


@pytest.mark.parametrize("kind", [Softplus, nn.Softplus])
def test_a_forward_of_an_instance_s_own_is_refused(kind):
    model = network(kind(5))
    model[1].forward = torch.tanh
    with pytest.raises(ValueError, match=exactly("1 is a Softplus, with a forward of its own, w")):
        harden(model)
    assert type(harden(network(nn.Softplus(5), kind(5)), exclude="1")[3]) is nn.ReLU


def test_an_attribute_named_difference_is_not_overwritten():
    class Own(nn.Sequential):
        def difference(self):
            return 0

    with pytest.raises(ValueError, match="has an attribute `difference` of its own"):
        harden(Own(Softplus()))
    once = harden(network(Softplus(5), Softplus(9)), sample(4, 8), exclude="3")
    assert harden(once).difference is None


class Calling(nn.Module):
    """Calls the function of this package beside a module of it."""

    def __init__(self):
        super().__init__()
        self.act, self.positive = Softplus(10), Positive()

    def forward(self, x):
        return self.positive(self.act(x))


class Positive(nn.Module):
    """A function call in a module of its own."""

    def forward(self, x):
        return softplus(x)


def test_a_function_that_is_called_is_noticed_by_reading():
    model = Calling()
    before = state_of(model)
    message = r"^at site .positive.softplus. \(.*\.py:\d+\) the model calls a function of"
    with pytest.raises(ValueError, match=message):
        harden(model)
    assert_unchanged(model, before)
    hardened = harden(model, sample(5), exclude="positive")
    assert type(hardened.act) is nn.ReLU
    assert 0 < hardened.difference <= LN2 / 10


def test_a_function_that_reading_does_not_see_is_noticed_on_the_sample():
    class Table(nn.Module):
        def __init__(self):
            super().__init__()
            self.act, self.functions, self.key = Softplus(10), {"s": softplus}, "s"

        def forward(self, x):
            return self.functions[self.key](self.act(x))

    with pytest.raises(ValueError, match=exactly("at softplus the model calls a func")):
        harden(Table(), sample(5))


def test_another_module_of_the_package_is_refused():
    class Scale(nn.Module):
        def forward(self, raw):
            return softplus(raw)

    Scale.__module__ = "softplus.positive"
    model = network(Softplus(10))
    parametrize.register_parametrization(model[0], "weight", Scale())
    with pytest.raises(ValueError, match=exactly("0.parametrizations.weight.0 uses Scale of this")):
        harden(model)
    kept = harden(model, sample(3, 8), exclude="*.parametrizations.*")
    assert kept.difference > 0
    parametrize.remove_parametrizations(model[0], "weight")
    assert type(harden(model, sample(3, 8))[1]) is nn.ReLU


def test_a_function_that_is_held_is_refused():
    layer = nn.TransformerEncoderLayer(8, 2, 16, activation=softplus)
    with pytest.raises(ValueError, match=exactly("3 uses softplus of this package, and harden")):
        harden(nn.Sequential(*network(Softplus()), layer))
    layer.activation = partial(softplus, beta=2)
    with pytest.raises(ValueError, match=exactly("at site '3.activation' (softplus.softplus, ")):
        harden(nn.Sequential(*network(Softplus()), layer))


class CallingReLU(nn.Module):
    """A network that calls its activations as functions."""

    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(8, 8) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu(self.layers[0](x))
        return torch.relu(self.layers[1](x)).clamp(min=0)


class CallingSoftplus(nn.Linear):
    """A layer that calls PyTorch's Softplus."""

    def forward(self, input: Tensor) -> Tensor:
        return functional.softplus(super().forward(input))


def test_a_converted_model_hardens_to_the_one_that_it_was():
    model = nn.Sequential(CallingReLU(), nn.ReLU())
    converted = convert(model, {"relu": Softplus(beta=10)})
    BetaAnnealing(converted, 10, 1e5, steps=1).step()
    hardened = harden(converted, sample(4, 8))
    assert [type(module) for module in hardened.modules()] == [
        type(module) for module in model.modules()
    ]
    assert same_bits(hardened(sample(4, 8)), model(sample(4, 8)))
    assert 0 < hardened.difference < 1e-4
    assert not hasattr(hardened, "conversion")
    assert pickle.loads(pickle.dumps(hardened)).state_dict().keys() == model.state_dict().keys()  # noqa: S301 -- our own bytes


def test_a_converted_layer_that_keeps_its_softplus_stays_converted():
    layer = nn.TransformerDecoderLayer(8, 2, 16)
    model = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.ModuleList([layer]))
    converted = convert(model, {"relu": Softplus(50)})
    kept = harden(converted, exclude="2.0")
    assert type(copy.deepcopy(kept)[2][0].activation) is Softplus
    with pytest.raises(ValueError, match="of this package"):
        harden(converted, exclude="2.0.activation")
    assert type(copy.deepcopy(harden(converted))[2][0]) is nn.TransformerDecoderLayer


def test_a_converted_model_whose_own_code_calls_softplus_is_refused():
    model = convert(nn.Sequential(CallingSoftplus(8, 8), nn.ReLU()), {"softplus": Softplus()})
    with pytest.raises(ValueError, match=exactly("0 uses a class made by convert of this package")):
        harden(model)


def test_excluded_modules_stay_themselves():
    model = network(Softplus(7), Softplus(9), LogSigmoid())
    hardened = harden(model, sample(4, 8), exclude=["3", "5"])
    assert [type(hardened[index]) for index in (1, 3, 5)] == [nn.ReLU, Softplus, LogSigmoid]
    assert hardened[3].beta == 9
