"""Folding a shift into the next bias: where it can be done, and where it is refused."""

import io

import pytest
import torch
from torch import nn

from softplus import (
    ShiftedSoftplus,
    harden,
)
from softplus_networks import LN2, assert_unchanged, network, sample, state_of


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


class Reading(nn.Module):
    """The bias that would take the shift is read by itself too."""

    def __init__(self, shift, beta=100.0):
        super().__init__()
        self.act, self.layer = ShiftedSoftplus(beta, shift), nn.Linear(6, 6)

    def forward(self, x):
        return self.layer(self.act(x)) + self.layer.bias


class Transposed(nn.Module):
    """`x.T` and `x.shape` are the same kind of node: only one reads no value."""

    def __init__(self, shift, beta=100.0):
        super().__init__()
        self.act = ShiftedSoftplus(beta, shift)

    def forward(self, x):
        return self.act(x).mT


class Overwriting(nn.Module):
    """What the activation in place writes over is read by name, not from what it returns."""

    def __init__(self, shift, beta=100.0):
        super().__init__()
        self.act, self.layer = ShiftedSoftplus(beta, shift, inplace=True), nn.Linear(6, 6)

    def forward(self, x):
        y = x + 0
        self.act(y)
        return self.layer(y)


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
    "same layer": (Twice, (4, 6), "layer, which it goes into, is used on something else too"),
    "in place": (Overwriting, (4, 6), "it works in place, and what it writes over is used else"),
    "bias": (Reading, (4, 6), "layer.bias, which it goes into, is used on something else too"),
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
