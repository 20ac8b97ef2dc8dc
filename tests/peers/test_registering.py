"""Our activations by name, in configurations of transformers and models of timm."""

import copy
import pickle

import pytest
import timm
import torch
import transformers
from timm.layers import create_act, create_act_layer, get_act_fn, get_act_layer
from timm.models.nfnet import act_with_gamma
from torch import nn
from transformers.activations import ACT2CLS, ACT2FN, get_activation

from softplus import LogSigmoid, ShiftedSoftplus, Softplus, logsigmoid, shifted_softplus, softplus
from softplus.integrations import timm as for_timm
from softplus.integrations import transformers as for_transformers

NAMES = {
    "softplus": (Softplus, softplus),
    "shifted_softplus": (ShiftedSoftplus, shifted_softplus),
    "logsigmoid": (LogSigmoid, logsigmoid),
}
each_name = pytest.mark.parametrize("name", NAMES)


@pytest.fixture
def registered():
    """Register in both, twice, and take it all back."""
    tables = [ACT2FN, create_act._ACT_LAYER_DEFAULT, create_act._ACT_FN_DEFAULT]
    before = [dict(table) if table is not ACT2FN else dict(ACT2CLS) for table in tables]
    for module in (for_timm, for_transformers) * 2:
        module.register_activations()
    for table, kept in zip(tables, before, strict=True):
        assert set(table) == {*kept, *NAMES}
    yield
    for table in tables:
        for name in NAMES:
            del table[name]


# The libraries themselves know no such name: were that to change, these tests would say so.
def test_nothing_is_registered_by_an_import():
    for name in NAMES:
        with pytest.raises(KeyError):
            get_activation(name)
        with pytest.raises(KeyError):
            get_act_layer(name)


@each_name
def test_a_configuration_of_transformers(registered, name, tmp_path):
    del registered
    sizes = dict.fromkeys(["hidden_size", "intermediate_size", "num_attention_heads"], 4)
    config = transformers.BertConfig(hidden_act=name, num_hidden_layers=2, vocab_size=11, **sizes)
    torch.manual_seed(0)
    model = transformers.BertModel(config)
    ours = [module for module in model.modules() if type(module) is NAMES[name][0]]
    assert len({id(module) for module in ours}) == 2
    model(torch.arange(5)[None]).last_hidden_state.square().sum().backward()
    model.save_pretrained(tmp_path)
    loaded = transformers.BertModel.from_pretrained(tmp_path)
    tokens = torch.arange(5)[None]
    assert loaded.config.hidden_act == name
    assert torch.equal(loaded(tokens).last_hidden_state, model.eval()(tokens).last_hidden_state)


@each_name
def test_a_model_of_timm(registered, name):
    del registered
    torch.manual_seed(0)
    model = timm.create_model("resnet18", act_layer=name, num_classes=3)
    kind, function = NAMES[name]
    assert sum(type(module) is kind for module in model.modules()) == 17
    assert not any(type(module) is nn.ReLU for module in model.modules())
    model(torch.randn(2, 3, 32, 32)).square().sum().backward()
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters())
    x = torch.randn(7)
    assert torch.equal(create_act_layer(name)(x), function(x))
    assert torch.equal(get_act_fn(name)(x), function(x))
    overwritten = x.clone()
    assert torch.equal(get_act_fn(name)(overwritten, inplace=True), function(x))
    pickle.dumps(copy.deepcopy(model))


@each_name
def test_a_result_that_timm_changes_in_place(registered, name):
    del registered
    x = torch.randn(7, requires_grad=True)
    activation = act_with_gamma(name, gamma=1.5)()
    (gradient,) = torch.autograd.grad(activation(x * 1).sum(), x)
    (wanted,) = torch.autograd.grad(1.5 * NAMES[name][1](x).sum(), x)
    torch.testing.assert_close(gradient, wanted)
