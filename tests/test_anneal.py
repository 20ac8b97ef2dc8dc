"""Beta-annealing and hardening: exact schedules, exact ReLU at the end, and clear refusals."""

import copy
import io
import itertools
import json
import math
import pickle
import re
import subprocess
import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrize

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

LN2 = math.log(2)


def exactly(message: str) -> str:
    """Return the pattern of a message that starts so."""
    return "^" + re.escape(message)


def network(*activations: nn.Module, width: int = 8) -> nn.Sequential:
    """Return Linear layers with these activations between them, the same weights on every call."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        layers = [module for act in activations for module in (nn.Linear(width, width), act)]
        return nn.Sequential(*layers, nn.Linear(width, 3))


def sample(*shape: int) -> Tensor:
    """Return normal values, the same on every call."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def state_of(model: nn.Module) -> tuple:
    """Return everything of a model that a failed call might have changed."""
    parts = {name: (module, repr(module)) for name, module in model.named_modules()}
    return parts, {name: (id(p), p.clone()) for name, p in model.state_dict(keep_vars=True).items()}


def assert_unchanged(model: nn.Module, before: tuple) -> None:
    """Hold that the model is as it was: the same modules, betas, parameters and values."""
    parts, values = state_of(model)
    assert parts == before[0]
    assert values.keys() == before[1].keys()
    for name, (identity, value) in values.items():
        assert identity == before[1][name][0]
        assert torch.equal(value, before[1][name][1])


# The schedule


@pytest.mark.parametrize(
    ("schedule", "quarter", "half"),
    [
        ("geometric", 2 * 10**0.5, 20),
        ("linear", 2 + 198 / 4, 101),
        ("cosine", 2 + 198 * (1 - 0.5**0.5) / 2, 101),
    ],
)
def test_beta_follows_its_schedule_from_end_to_end(schedule, quarter, half):
    model = network(Softplus(7), ShiftedSoftplus(7), nn.Softplus(7))
    annealing = BetaAnnealing(model, start=2, end=200, steps=8, schedule=schedule)
    seen = []
    while True:
        betas = {model[index].beta for index in (1, 3, 5)}
        assert betas == {annealing.beta}
        seen.append(annealing.beta)
        if annealing.finished:
            break
        annealing.step()
    assert len(seen) == 9
    assert seen[0] == 2
    assert seen[2] == pytest.approx(quarter, rel=1e-15)
    assert seen[4] == pytest.approx(half, rel=1e-15)
    assert seen[8] == 200
    assert seen == sorted(set(seen))


@given(
    start=st.floats(1e-3, 1e4),
    end=st.floats(1e-3, 1e4),
    steps=st.integers(1, 40),
    schedule=st.sampled_from(["geometric", "linear", "cosine"]),
)
@settings(deadline=None)
def test_both_ends_are_exact_and_nothing_overshoots(start, end, steps, schedule):
    model = nn.Sequential(Softplus())
    annealing = BetaAnnealing(model, start, end, steps, schedule)
    assert model[0].beta == start
    for _ in range(steps):
        annealing.step()
        rounding = 1e-13 * max(start, end)
        assert min(start, end) - rounding <= model[0].beta <= max(start, end) + rounding
    assert model[0].beta == end
    assert annealing.finished


def test_a_compiled_model_follows_beta():
    model = network(Softplus(), ShiftedSoftplus(), nn.Softplus())
    compiled = torch.compile(model, backend="eager", fullgraph=True)
    annealing = BetaAnnealing(compiled, 1, 64, steps=4)
    outputs = [compiled(sample(5, 8))]
    while not annealing.finished:
        annealing.step()
        outputs.append(compiled(sample(5, 8)))
        torch.testing.assert_close(outputs[-1], model(sample(5, 8)))
    assert all(not torch.equal(a, b) for a, b in itertools.pairwise(outputs))


def test_the_default_shift_follows_beta():
    model = nn.Sequential(ShiftedSoftplus())
    annealing = BetaAnnealing(model, 1, 64, steps=6)
    x = sample(100).double()
    for _ in range(6):
        annealing.step()
        expected = nn.functional.softplus(x, annealing.beta, 50) - LN2 / annealing.beta
        torch.testing.assert_close(model(x), expected, rtol=1e-12, atol=1e-14)
        assert model(torch.zeros(1)) == 0
    assert model[0].shift is None


def test_a_shift_of_its_own_stays():
    model = nn.Sequential(ShiftedSoftplus(shift=0.25))
    BetaAnnealing(model, 1, 64, steps=1).step()
    assert model[0].shift == 0.25


def test_a_step_past_the_end_is_refused():
    model = network(Softplus())
    annealing = BetaAnnealing(model, 1, 5, steps=2)
    annealing.step()
    annealing.step()
    before = state_of(model)
    with pytest.raises(RuntimeError, match=exactly("the annealing has made all of its steps=2")):
        annealing.step()
    assert_unchanged(model, before)
    assert (annealing.taken, annealing.beta) == (2, 5)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"start": 0}, ValueError, "start must be a finite number other than 0"),
        ({"start": "1"}, TypeError, "start must be a number"),
        ({"end": math.inf}, ValueError, "end must be a finite number"),
        ({"end": -3}, ValueError, "end must be positive, got -3: for a negative beta"),
        ({"steps": 0}, ValueError, "steps must be a whole number of 1 or more, got 0"),
        ({"steps": 2.5}, TypeError, "steps must be a whole number of 1 or more, got float 2.5"),
        (
            {"schedule": "step"},
            ValueError,
            "schedule must be one of geometric, linear, cosine, got 'step'",
        ),
        ({"exclude": "haed"}, ValueError, "exclude='haed' matches no module of this Sequential"),
        (
            {"exclude": "*"},
            ValueError,
            "no Softplus module found in this Sequential outside of exclude",
        ),
    ],
)
def test_a_bad_argument_is_named_and_the_model_unchanged(changes, error, message):
    model = network(Softplus(3))
    before = state_of(model)
    with pytest.raises(error, match=exactly(message)):
        BetaAnnealing(model, **{"start": 1, "end": 5, "steps": 2, **changes})
    assert_unchanged(model, before)


@pytest.mark.parametrize("tool", [lambda model: BetaAnnealing(model, 1, 9, 3), harden])
def test_a_model_without_softplus_is_refused(tool):
    with pytest.raises(ValueError, match=exactly("no Softplus module found in this Sequential: ")):
        tool(network(nn.ReLU()))


def test_a_learnable_beta_is_not_annealed():
    model = network(Softplus(3), Softplus(2, learnable=True))
    before = state_of(model)
    with pytest.raises(ValueError, match=exactly("the beta of 3 is learnable")):
        BetaAnnealing(model, 1, 9, 3)
    assert_unchanged(model, before)
    BetaAnnealing(model, 1, 9, 3, exclude="3")
    assert model[1].beta == 1
    assert float(model[3].beta.detach()) == pytest.approx(2)


def test_excluded_modules_and_parametrizations_stay():
    class Headed(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = network(Softplus(3), Softplus(3))
            self.head = nn.Sequential(nn.Linear(3, 2), Softplus(4))
            self.tied = self.head[1]
            parametrize.register_parametrization(self.body[0], "weight", nn.Softplus(5))

    model = Headed()
    BetaAnnealing(model, 1, 9, 3, exclude=["head", "body.3"])
    assert [model.body[1].beta, model.body[3].beta, model.head[1].beta] == [1, 3, 4]
    assert model.body[0].parametrizations.weight[0].beta == 5
    assert type(harden(model).body[0].parametrizations.weight[0]) is nn.Softplus


def test_a_module_used_twice_is_annealed_and_hardened_once():
    shared = Softplus()
    model = network(shared, shared)
    annealing = BetaAnnealing(model, 1, 100, 3)
    assert annealing.state_dict()["activations"] == ["1"]
    hardened = harden(model)
    assert type(hardened[1]) is nn.ReLU
    assert hardened[1] is hardened[3]


# Its state


def test_a_state_continues_in_a_new_process():
    model = network(Softplus(), ShiftedSoftplus())
    annealing = BetaAnnealing(model, 1, 100, steps=10, schedule="cosine")
    for _ in range(4):
        annealing.step()
    state = json.loads(json.dumps(annealing.state_dict()))

    other = network(Softplus(), ShiftedSoftplus())
    resumed = BetaAnnealing(other, 1, 100, steps=10, schedule="cosine")
    resumed.load_state_dict(state)
    assert other[1].beta == other[3].beta == model[1].beta
    annealing.step()
    resumed.step()
    assert resumed.state_dict() == annealing.state_dict()
    assert other[1].beta == model[1].beta


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"activations": ["1", "3"]}, "the state was saved with activations=['1', '3'], and"),
        ({"steps": 9}, "the state was saved with steps=9, and this annealing has 10"),
        ({"end": 50}, "the state was saved with end=50, and"),
        ({"schedule": "linear"}, "the state was saved with schedule='linear', and"),
        ({"taken": 11}, "taken must be a whole number from 0 to steps=10, got 11"),
        ({"taken": None}, "taken must be a whole number from 0 to steps=10, got None"),
    ],
)
def test_a_state_of_another_annealing_is_refused(changes, message):
    model = network(Softplus())
    annealing = BetaAnnealing(model, 1, 100, steps=10)
    annealing.step()
    before = state_of(model)
    with pytest.raises(ValueError, match=exactly(message)):
        annealing.load_state_dict({**annealing.state_dict(), "taken": 5, **changes})
    assert_unchanged(model, before)
    assert annealing.taken == 1


def test_an_empty_state_is_refused():
    with pytest.raises(ValueError, match=exactly("the state was saved with start=None")):
        BetaAnnealing(network(Softplus()), 1, 9, 3).load_state_dict({})


# Hardened: exact ReLU


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


def test_an_output_without_numbers_cannot_be_compared():
    class Classes(nn.Sequential):
        def forward(self, x):
            return super().forward(x).argmax(dim=1)

    with pytest.raises(TypeError, match="no floating-point tensor to compare"):
        harden(Classes(Softplus()), sample(4, 3))


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


# Folding the shift


class Shifted(nn.Module):
    """A layer, a shifted activation, what stands between, and the layer that takes the shift."""

    def __init__(self, before, between, after, shift=0.7, beta=1e4):
        super().__init__()
        self.before, self.between, self.after = before, between, after
        self.act = ShiftedSoftplus(beta, shift)

    def forward(self, x):
        return self.after(self.between(self.act(self.before(x))))


class Rows(nn.Module):
    """Flattens in the two ways that read the shape."""

    def forward(self, x):
        return x.view(x.size(0), -1).reshape(x.shape[0], -1)


FOLDS = {
    "Linear": ((6,), nn.Linear(6, 6), nn.Identity(), nn.Linear(6, 3)),
    "no bias": ((6,), nn.Linear(6, 6), nn.Dropout(0.2), nn.Linear(6, 3, bias=False)),
    "Conv1d": ((2, 9), nn.Conv1d(2, 4, 3), nn.Identity(), nn.Conv1d(4, 6, 3, groups=2)),
    "Conv2d": ((2, 9, 9), nn.Conv2d(2, 4, 3), nn.MaxPool2d(2), nn.Conv2d(4, 3, 3, stride=2)),
    "Conv3d": ((1, 5, 5, 5), nn.Conv3d(1, 2, 2), nn.Identity(), nn.Conv3d(2, 2, 2)),
    "valid": ((2, 9), nn.Conv1d(2, 4, 3), nn.Identity(), nn.Conv1d(4, 3, 3, padding="valid")),
    "reflect": (
        (2, 9, 9),
        nn.Conv2d(2, 4, 3),
        nn.Identity(),
        nn.Conv2d(4, 3, 3, padding=1, padding_mode="reflect"),
    ),
    "flatten": (
        (2, 9, 9),
        nn.Conv2d(2, 4, 3),
        nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten()),
        nn.Linear(16, 3),
    ),
    "view": ((2, 5), nn.Conv1d(2, 4, 3), Rows(), nn.Linear(12, 3)),
}


@pytest.mark.parametrize(("shape", "before", "between", "after"), FOLDS.values(), ids=FOLDS.keys())
@pytest.mark.parametrize("shift", [0.7, -2, None])
def test_a_shift_is_folded_into_the_next_bias(shape, before, between, after, shift):
    """At beta = 1e4 only the shift, left out, would make a difference above 1e-4."""
    model = Shifted(before, between, after, shift, beta=1e4 if shift else 20).double().eval()
    x = 3 * sample(32, *shape).double()
    hardened = harden(model, x)
    with torch.no_grad():
        hidden = torch.relu(model.before(x))
        value = (LN2 / 20) if shift is None else shift
        expected = model.after(model.between(hidden - value))
    torch.testing.assert_close(hardened(x), expected, rtol=1e-12, atol=1e-12)
    assert type(hardened.act) is nn.ReLU
    assert torch.equal(hardened.after.weight, model.after.weight)
    assert hardened.difference < (1e-3 if shift else LN2)
    missing = model.state_dict().keys() ^ hardened.state_dict().keys()
    assert missing == (set() if after.bias is not None else {"after.bias"})


def test_a_shift_that_feeds_several_layers_is_folded_into_each():
    class Fork(nn.Module):
        def __init__(self):
            super().__init__()
            self.act = ShiftedSoftplus(1e4, 0.7)
            self.left, self.right = nn.Linear(6, 3), nn.Linear(6, 3)

        def forward(self, x):
            hidden = self.act(x)
            return self.left(hidden) * self.right(self.act(-x)) + self.right(hidden)

    assert harden(Fork(), sample(64, 6)).difference < 1e-2


def test_the_weights_keep_their_dtype_and_what_trains_them():
    model = network(ShiftedSoftplus(100, 0.5), width=500).to(torch.bfloat16)
    model[2].requires_grad_(requires_grad=False)
    hardened = harden(model)
    assert hardened[2].bias.dtype == torch.bfloat16
    assert not hardened[2].bias.requires_grad
    expected = model[2].bias.double() - 0.5 * model[2].weight.double().sum(dim=1)
    assert torch.equal(hardened[2].bias, expected.to(torch.bfloat16))


class Residual(nn.Module):
    """The activation ends in a sum."""

    def __init__(self, shift, beta=100.0):
        super().__init__()
        self.layer, self.act = nn.Linear(6, 6), ShiftedSoftplus(beta, shift)

    def forward(self, x):
        return x + self.act(self.layer(x))


class Branching(nn.Module):
    """Control flow that depends on the data."""

    def __init__(self, shift, beta=100.0):
        super().__init__()
        self.act, self.layer = ShiftedSoftplus(beta, shift), nn.Linear(6, 6)

    def forward(self, x):
        return self.layer(self.act(x)) if x.sum() > 0 else self.layer(self.act(-x))


class Twice(nn.Module):
    """The layer that would take the shift sees another input too."""

    def __init__(self, shift, beta=100.0):
        super().__init__()
        self.act, self.layer = ShiftedSoftplus(beta, shift), nn.Linear(6, 6)

    def forward(self, x):
        return self.layer(self.act(self.layer(x)))


class Transposed(nn.Module):
    """`x.T` and `x.shape` are the same kind of node: only one reads no value."""

    def __init__(self, shift, beta=100.0):
        super().__init__()
        self.act = ShiftedSoftplus(beta, shift)

    def forward(self, x):
        return self.act(x).mT


class Scaled(nn.Linear):
    """A layer of its own, in which a constant does not come out as the bias takes it."""

    def forward(self, input):
        return 2 * super().forward(input)


def of_its_own(shift, beta=100.0):
    return Shifted(nn.Linear(6, 6), nn.Identity(), Scaled(6, 6), shift, beta)


def padded(shift, beta=100.0):
    return Shifted(nn.Conv1d(1, 2, 3), nn.Identity(), nn.Conv1d(2, 1, 3, padding=1), shift, beta)


def in_transformer(shift, beta=100.0):
    return nn.TransformerEncoderLayer(
        6, 2, 8, activation=ShiftedSoftplus(beta, shift), batch_first=True
    )


def normalised(shift, beta=100.0):
    return Shifted(nn.Linear(6, 6), nn.Identity(), nn.LayerNorm(6), shift, beta)


UNFOLDABLE = {
    "sum": (Residual, (4, 6), "it goes into <built-in function add> (call_function)"),
    "output": (
        lambda shift, beta=100.0: nn.Sequential(ShiftedSoftplus(beta, shift)),
        (4, 6),
        "it goes into output (output)",
    ),
    "branch": (Branching, (4, 6), "torch.fx, which shows where it goes, meets no call of it"),
    "same layer": (Twice, (4, 6), "layer, which it goes into, is called on something else too"),
    "transposed": (Transposed, (4, 6), "it goes into <built-in function getattr>"),
    "zero padding": (padded, (4, 1, 9), "the zeros with which after pads its input (padding=(1,))"),
    "subclass": (of_its_own, (4, 6), "it goes into <built-in function linear>"),
    "norm": (normalised, (4, 6), "it goes into after (call_module)"),
    "transformer": (in_transformer, (4, 5, 6), "torch.fx, which shows where it goes, meets no"),
}


@pytest.mark.parametrize(("build", "shape", "reason"), UNFOLDABLE.values(), ids=UNFOLDABLE.keys())
def test_a_shift_that_no_bias_can_take_is_refused(build, shape, reason):
    model = build(0.5)
    before = state_of(model)
    with pytest.raises(ValueError, match=r"the shift=0.5 of [\w.]+ cannot be folded: ") as caught:
        harden(model, sample(*shape))
    assert f"cannot be folded: {reason}" in str(caught.value)
    assert_unchanged(model, before)


@pytest.mark.parametrize(("build", "shape", "reason"), UNFOLDABLE.values(), ids=UNFOLDABLE.keys())
def test_the_default_shift_is_then_left_out(build, shape, reason):  # noqa: ARG001  # as above
    model = build(None, beta=1e4).eval()
    hardened = harden(model, sample(*shape))
    assert hardened.difference < 1e-3
    for name, value in hardened.state_dict().items():
        assert torch.equal(value, model.state_dict()[name])


def test_a_learnable_beta_folds_its_present_default_shift():
    model = network(ShiftedSoftplus(40, learnable=True)).double()
    shift = LN2 / model[1].beta.detach()
    expected = model[2].bias - shift * model[2].weight.sum(dim=1)
    torch.testing.assert_close(harden(model)[2].bias, expected, rtol=1e-12, atol=0)


def test_many_betas_leave_their_default_shifts_out():
    model = network(ShiftedSoftplus(1e3, learnable=True, num_parameters=8))
    hardened = harden(model, sample(64, 8))
    assert torch.equal(hardened[2].bias, model[2].bias)
    assert 0 < hardened.difference < 5e-3


def test_tracing_leaves_no_proxy_behind():
    class Remembering(nn.Module):
        def __init__(self):
            super().__init__()
            self.act, self.layer, self.last = ShiftedSoftplus(), nn.Linear(3, 3), None

        def forward(self, x):
            self.last = self.act(x)
            return self.layer(self.last)

    model = Remembering()
    hardened = harden(model, sample(2, 3))
    assert model.last is None
    assert hardened.last is None
    torch.save(hardened.state_dict(), io.BytesIO())


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


def test_a_function_that_is_called_is_noticed_on_the_sample():
    model = Calling()
    before = state_of(model)
    with pytest.raises(ValueError, match=exactly("the model calls the function softplus of this")):
        harden(model, sample(5))
    assert_unchanged(model, before)
    hardened = harden(model, sample(5), exclude="positive")
    assert type(hardened.act) is nn.ReLU
    assert 0 < hardened.difference <= LN2 / 10


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


def test_a_converted_model_whose_own_code_calls_softplus_is_refused():
    model = convert(nn.Sequential(CallingSoftplus(8, 8), nn.ReLU()), {"softplus": Softplus()})
    with pytest.raises(ValueError, match="and harden replaces modules of Softplus alone"):
        harden(model)


def test_excluded_modules_stay_themselves():
    model = network(Softplus(7), Softplus(9), LogSigmoid())
    hardened = harden(model, sample(4, 8), exclude=["3", "5"])
    assert [type(hardened[index]) for index in (1, 3, 5)] == [nn.ReLU, Softplus, LogSigmoid]
    assert hardened[3].beta == 9


def test_annealing_then_hardening_trains_a_network_with_true_zeros():
    """The whole way: a network that has learned |x| keeps what it knows without Softplus."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(1, 16), Softplus(), nn.Linear(16, 1))
    x = torch.linspace(-2, 2, 128)[:, None]
    optimizer = torch.optim.Adam(model.parameters(), lr=0.03)
    annealing = BetaAnnealing(model, 1, 300, steps=300)
    while not annealing.finished:
        optimizer.zero_grad()
        (model(x) - x.abs()).square().mean().backward()
        optimizer.step()
        annealing.step()
    hardened = harden(model, x)
    assert hardened.difference < 0.02
    assert float((hardened(x) - x.abs()).detach().abs().max()) < 0.15
    assert bool((hardened[1](hardened[0](x)) == 0).any())


def test_a_copy_of_an_annealing_is_its_own():
    model = network(Softplus())
    annealing = BetaAnnealing(model, 1, 100, 2)
    copied = copy.deepcopy(annealing)
    copied.step()
    assert (annealing.beta, copied.beta) == (1, 10)
    assert model[1].beta == 1
