"""Units counted call by call, against a full copy of everything that went through."""

import gc
import weakref

import pytest
import torch
from torch import nn

from audited_networks import Images, SharedWeights, Spellings
from softplus import ShiftedSoftplus, Softplus, convert, find_sites
from softplus.lab.activations import derivatives
from softplus.lab.units.watching import DeadUnits


def watched(model, batches):
    with torch.no_grad(), DeadUnits(model) as watch:
        for batch in batches:
            model(batch)
    return watch.calls()


def chain(activation, *, bias=0.0):
    """Return a layer and an activation; the bias of the first two units is set."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 6), activation)
    with torch.no_grad():
        model[0].bias[:2] = bias
    return model


ACTIVATIONS = [
    nn.ReLU(),
    nn.ReLU(inplace=True),
    nn.Softplus(),
    Softplus(beta=20),
    Softplus(learnable=True, num_parameters=6, channel_dim=-1),
    ShiftedSoftplus(beta=3),
    nn.GELU(),
    nn.SiLU(),
    nn.Mish(),
    nn.ELU(),
    nn.LeakyReLU(1e-4),
    nn.Hardswish(),
    nn.ReLU6(),
]


@pytest.mark.parametrize("rows", [5, 20_000], ids=["gathered", "large"])
@pytest.mark.parametrize("activation", ACTIVATIONS, ids=str)
def test_the_figures_are_those_of_everything_kept(activation, rows):
    model = chain(activation, bias=-30.0)
    batches = [torch.randn(rows, 4) for _ in range(3)]
    (call,) = watched(model, batches)

    x = model[0](torch.cat(batches)).detach()
    y, slope = derivatives(activation, x.clone(), orders=1) if not inplace(activation) else relu(x)
    activity = y.abs().mean(0)
    assert call.units == 6
    assert call.examples == 3 * rows
    assert call.dead == where(slope.abs().amax(0) < 1e-3)
    assert call.dormant == where(activity <= 0.025 * activity.mean())
    assert call.always_on == where(x.amin(0) > 0)
    assert call.sparsity == pytest.approx(float((y == 0).double().mean()), abs=1e-9)
    assert call.highest == pytest.approx(x.amax(0).tolist())


def inplace(activation):
    return getattr(activation, "inplace", False)


def relu(x):
    return x.relu(), (x > 0).float()


def where(mask):
    return tuple(mask.nonzero().flatten().tolist())


def test_dead_units_exist_under_every_activation_that_saturates():
    for activation in ACTIVATIONS:
        (call,) = watched(chain(activation, bias=-1e4), [torch.randn(8, 4)])
        assert set(call.dead) >= {0, 1}, activation


def test_every_spelling_is_a_call_under_the_name_that_convert_takes():
    model = Spellings()
    calls = watched(model, [torch.randn(7, 4)])
    assert [(call.site, call.after, call.units) for call in calls] == [
        ("act", "first", 6),
        ("act", "second", 5),
        ("relu", "second", 5),
        ("relu_1", "third", 3),
        ("relu_2", "third", 3),
        ("relu_3", "third", 3),
        ("held", "third", 3),
    ]
    assert {call.site for call in calls} == {site.name for site in find_sites(model)}
    for call in calls:
        convert(model, {"relu": Softplus()}, include=call.site)


def test_one_call_of_layers_of_different_widths():
    calls = watched(nn.Sequential(SharedWeights()), [torch.randn(7, 4)])
    assert [(call.after, call.units) for call in calls] == [("0.layers.0", 8), ("0.layers.1", 3)]
    assert len({(call.site, call.line) for call in calls}) == 1


def test_channels_are_the_units_of_images_after_the_norm():
    model = Images().eval()
    nn.init.constant_(model.norm.bias[:1], -50.0)
    first, second = watched(model, [torch.randn(2, 3, 8, 8) for _ in range(2)])
    assert (first.after, first.units, first.examples, first.dead) == ("norm", 4, 2 * 2 * 36, (0,))
    assert (second.after, second.units, second.activation) == ("mix", 9, "gelu")


def test_unbatched_images_and_sequences():
    conv = nn.Sequential(nn.Conv1d(3, 4, 3), nn.ReLU())
    assert watched(conv, [torch.randn(3, 9)])[0].units == 4
    assert watched(conv, [torch.randn(2, 3, 9)])[0].units == 4
    assert watched(nn.Sequential(nn.Linear(3, 4), nn.ReLU()), [torch.randn(2, 9, 3)])[0].units == 4


def test_the_fused_encoder_layer_is_seen():
    model = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True).eval()
    (call,) = watched(model, [torch.randn(2, 5, 8)])
    assert (call.site, call.after, call.units) == ("activation", "linear1", 16)


def test_other_models_are_not_watched():
    model, other = chain(nn.ReLU()), chain(nn.ReLU())
    with DeadUnits(model) as watch:
        other(torch.randn(2, 4))
    assert watch.calls() == []
    assert watch.shares() == {}


def test_entering_again_goes_on_and_reset_begins_anew():
    model = chain(nn.ReLU())
    watch = DeadUnits(model)
    for _ in range(2):
        with watch:
            model(torch.randn(3, 4))
    assert watch.calls()[0].examples == 6
    watch.reset()
    assert watch.calls() == []


@pytest.mark.parametrize("grad", [torch.no_grad, torch.inference_mode, torch.enable_grad])
@pytest.mark.parametrize("activation", [nn.ReLU(), nn.GELU(), Softplus(learnable=True)], ids=str)
def test_the_model_computes_what_it_did(grad, activation):
    model, x = chain(activation), torch.randn(5, 4)
    with grad():
        expected = model(x)
        with DeadUnits(model) as watch:
            result = model(x)
    assert torch.equal(result, expected)
    assert result.requires_grad == expected.requires_grad
    assert watch.calls()[0].examples == 5


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_other_dtypes(dtype):
    model = chain(nn.ReLU(), bias=-50.0).to(dtype)
    (call,) = watched(model, [torch.randn(40, 4, dtype=dtype)] * 3)
    assert call.dead == (0, 1)


def test_neither_model_nor_outputs_stay_alive():
    model = chain(Softplus(learnable=True))
    outputs = []
    model.register_forward_hook(lambda _, __, output: outputs.append(weakref.ref(output)))
    with DeadUnits(model) as watch:
        model(torch.randn(5, 4))
    gone = weakref.ref(model[1].raw_beta)
    del model
    gc.collect()
    assert gone() is None
    assert outputs[0]() is None
    assert watch.calls()[0].units == 6


def test_a_compiled_model_is_watched_uncompiled():
    model = chain(nn.ReLU())
    compiled = torch.compile(model, backend="eager")
    compiled(torch.randn(5, 4))
    with DeadUnits(compiled) as watch:
        compiled(torch.randn(5, 4))
    assert watch.calls()[0].units == 6
