"""Replacements at their sites: as built by hand, everything else as before, and undone."""

import pytest
import torch
from torch import Tensor, nn

from architectures import ResNet, UNet, UNetByHand, vgg
from conversion_models import (
    TEN,
    Branches,
    Parent,
    Straight,
    gradients,
    names,
    sample,
    state_of,
    transformer,
)
from messages import exactly
from references import same
from softplus import ShiftedSoftplus, Softplus, convert, find_sites, softplus

# Against the same networks built by hand


def assert_built_alike(converted: nn.Module, by_hand: nn.Module, *inputs: Tensor) -> None:
    """Assert equal outputs and gradients in training mode, and then equal outputs in eval mode."""
    results = []
    for module in (converted, by_hand):
        y = module.train()(*inputs)
        results.append([y, *gradients(y, module), module.eval()(*inputs)])
    for result, expected in zip(*results, strict=True):
        assert torch.equal(result, expected)


ARCHITECTURES = {
    "ResNet": (lambda: ResNet(lambda: nn.ReLU(inplace=True)), ResNet, 4),
    "VGG": (lambda: vgg(nn.ReLU), vgg, 4),
    "U-Net": (UNet, UNetByHand, 8),
}
REPLACEMENTS = {
    "Softplus": lambda: Softplus(beta=10),
    "ShiftedSoftplus": lambda: ShiftedSoftplus(beta=2),
    "GELU": nn.GELU,
}


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("replacement", REPLACEMENTS)
@pytest.mark.parametrize("inplace", [False, True])
def test_a_converted_network_is_the_one_built_by_hand(architecture, replacement, inplace):
    build, by_hand, sites = ARCHITECTURES[architecture]
    torch.manual_seed(0)
    model = build()
    expected = by_hand(REPLACEMENTS[replacement])
    expected.load_state_dict(model.state_dict())
    assert len(find_sites(model)) == sites
    converted = convert(model, {"relu": REPLACEMENTS[replacement]()}, inplace=inplace)
    assert (converted is model) is inplace
    assert_built_alike(converted, expected, sample(4, 3, 8, 8))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:`torch.jit.script:DeprecationWarning")
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_inductor_compiles_a_converted_network(architecture):
    torch.compiler.reset()
    torch.manual_seed(0)
    converted = convert(ARCHITECTURES[architecture][0](), TEN)
    x = sample(4, 3, 8, 8)
    compiled = torch.compile(converted, fullgraph=True)
    torch.testing.assert_close(compiled(x), converted(x), rtol=1e-4, atol=1e-5)


# What stays


@pytest.mark.parametrize("replacement", REPLACEMENTS.values(), ids=REPLACEMENTS)
def test_in_place_everything_else_stays_and_revert_restores_the_rest(replacement):
    for model in (ResNet(lambda: nn.ReLU(inplace=True)), UNet(), transformer("relu"), Branches()):
        parameters, keys = list(model.parameters()), list(model.state_dict())
        before, kind, text = state_of(model), type(model), repr(model)
        assert convert(model, {"relu": replacement()}, inplace=True) is model
        assert list(map(id, model.parameters())) == list(map(id, parameters))
        assert list(model.state_dict()) == keys
        assert isinstance(model, kind)
        assert type(model).__name__ == kind.__name__
        assert not any(isinstance(module, nn.ReLU) for module in model.modules())
        model.conversion.revert()
        assert state_of(model) == before
        assert repr(model) == text


def test_the_original_of_a_copy_stays():
    for model in (ResNet(nn.ReLU), UNet(), transformer("relu")):
        before = state_of(model)
        converted = convert(model, TEN, sample=None)
        assert state_of(model) == before
        ours = {parameter.data_ptr() for parameter in converted.parameters()}
        assert not ours & {parameter.data_ptr() for parameter in model.parameters()}


def test_an_optimizer_goes_on_training_a_model_converted_in_place():
    model, x = UNet(), sample(2, 3, 8, 8)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    convert(model, TEN, inplace=True)
    expected = UNetByHand(lambda: Softplus(beta=10))
    expected.load_state_dict(model.state_dict())
    for module, steps in (
        (model, optimizer),
        (expected, torch.optim.SGD(expected.parameters(), lr=0.1)),
    ):
        for _ in range(3):
            steps.zero_grad()
            module(x).square().mean().backward()
            steps.step()
    assert all(map(torch.equal, model.state_dict().values(), expected.state_dict().values()))


def test_hooks_stay_and_their_handles_remove_them():
    calls = []
    model = nn.Sequential(Parent(), nn.ReLU())
    handles = [
        module.register_forward_hook(lambda module, *_: calls.append(type(module)))
        for module in (model, model[0], model[0].first, model[1])
    ]
    handles.append(model[1].register_full_backward_hook(lambda *_: calls.append("backward")))
    expected = [nn.Linear, Parent, Softplus, nn.Sequential, "backward"]
    for converted in (convert(model, TEN), convert(model, TEN, inplace=True)):
        calls.clear()
        converted(sample(3, 4)).sum().backward()
        assert [call if isinstance(call, str) else call.__name__ for call in calls] == [
            call if isinstance(call, str) else call.__name__ for call in expected
        ]
    calls.clear()
    for handle in handles:
        handle.remove()
    model(sample(3, 4)).sum().backward()
    model.conversion.revert()
    model(sample(3, 4)).sum().backward()
    assert calls == []


def test_each_site_gets_its_own_replacement():
    template = Softplus(2, learnable=True)
    model = nn.Sequential(Straight(), nn.ReLU())
    converted = convert(model, {"relu": template})
    assert list(converted.state_dict()) == [
        *(key for key in model.state_dict()),
        "0.relu.raw_beta",
        "0.relu_1.raw_beta",
        "1.raw_beta",
    ]
    raw = [module.raw_beta for module in converted.modules() if isinstance(module, Softplus)]
    assert len({id(parameter) for parameter in [*raw, template.raw_beta]}) == 4
    converted(sample(3, 4)).sum().backward()
    assert all(parameter.grad is not None for parameter in raw)


def test_a_replacement_lies_where_the_model_does_and_moves_with_it():
    model = nn.Sequential(Straight(), nn.ReLU())
    converted = convert(model.to("meta"), {"relu": Softplus(learnable=True)})
    assert {parameter.device.type for parameter in converted.parameters()} == {"meta"}
    converted = convert(Straight(), {"relu": Softplus(learnable=True)}).double()
    assert converted(sample(3, 4).double()).dtype == torch.float64
    assert converted.relu.raw_beta.dtype == torch.float64


def test_a_replacement_has_the_mode_of_its_place():
    for train in (False, True):
        converted = convert(nn.Sequential(Straight(), nn.ReLU()).train(train), {"relu": nn.RReLU()})
        assert {module.training for module in converted.modules()} == {train}
        modules = list(converted.train(not train).modules())
        assert {module.training for module in modules} == {not train}


def test_converted_twice_and_reverted_twice():
    model, x = Straight(), sample(3, 4)
    before = state_of(model)
    first = convert(model, TEN, include="relu", inplace=True).conversion
    assert names(model) == ["relu", "relu_1"]
    assert [site.family for site in find_sites(model)] == ["softplus", "relu"]
    convert(model, {"relu": Softplus(beta=3)}, inplace=True)
    expected = softplus(softplus(model.first(x), 10), 3)
    assert same(model(x), model.second(expected))
    with pytest.raises(RuntimeError, match=exactly("the model was converted again since: call")):
        first.revert()
    model.conversion.revert()
    assert model.conversion is first
    first.revert()
    assert state_of(model) == before
    with pytest.raises(RuntimeError, match=exactly("there is nothing to revert")):
        first.revert()


def test_a_copy_has_nothing_to_revert():
    with pytest.raises(RuntimeError, match=exactly("there is nothing to revert: the model is a")):
        convert(Straight(), TEN).conversion.revert()
