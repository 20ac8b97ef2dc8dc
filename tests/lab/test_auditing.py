"""An audit: the whole data set, what ran unseen, and advice that works."""

import pytest
import torch
from torch import nn

from audited_networks import Spellings
from softplus import Softplus, convert
from softplus.lab.auditing import audit
from softplus.lab.units.watching import DeadUnits


def network(bias=-5.0):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 10), nn.ReLU(), nn.Linear(10, 6), nn.ReLU())
    with torch.no_grad():
        model[0].bias[:3] = bias
        model[2].bias.fill_(1.0)
    return model


BATCHES = [torch.randn(50, 4) for _ in range(4)]


@pytest.mark.parametrize(
    "batches",
    [
        BATCHES,
        [[x, torch.zeros(50)] for x in BATCHES],
        [(x, "a label") for x in BATCHES],
        [{"input": x} for x in BATCHES],
        torch.utils.data.DataLoader(torch.utils.data.TensorDataset(torch.cat(BATCHES)), 17),
    ],
    ids=["tensors", "lists", "tuples", "mappings", "loader"],
)
def test_every_form_of_batch(batches):
    found = audit(network(), batches)
    assert [(call.site, call.examples) for call in found.calls] == [("1", 200), ("3", 200)]
    assert found.calls[0].dead == (0, 1, 2)
    assert (found.model, found.seen) == ("Sequential", f"{len(batches)} batches")


def test_the_model_stays_as_it_was():
    model = nn.Sequential(network(), nn.Dropout())
    model[0].eval()
    audit(model, BATCHES)
    assert model.training
    assert model[1].training
    assert not model[0].training
    assert all(parameter.grad is None for parameter in model.parameters())


def test_the_advised_conversion_wakes_nine_units_in_ten():
    model = network()
    (advice,) = audit(model, BATCHES).advice
    assert (advice.family, advice.sites, advice.dead) == ("relu", ("1",), 3)
    converted = eval(str(advice), {"convert": convert, "Softplus": Softplus, "model": model})  # noqa: S307
    assert audit(converted, BATCHES).calls[0].dead == ()
    # The next larger beta would leave more than one in ten dead.
    sharper = convert(model, {"relu": Softplus(beta=2.5 * advice.beta)}, include="1")
    assert audit(sharper, BATCHES).calls[0].dead


def test_too_sharp_a_softplus_is_advised_too():
    model = convert(network(), {"relu": Softplus(beta=100)})
    (advice,) = audit(model, BATCHES).advice
    assert str(advice).startswith("convert(model, {'softplus': Softplus(beta=")
    assert advice.beta < 100


def test_a_healthy_model_gets_no_advice():
    assert audit(network(bias=5.0), BATCHES).advice == ()


def test_what_python_does_not_see_is_named():
    model = nn.Sequential(network(), torch.jit.script(nn.Sequential(nn.Linear(6, 2), nn.ReLU())))
    found = audit(model, BATCHES)
    assert found.unseen == ("aten.relu.default in 1",)
    assert audit(Spellings(), BATCHES).unseen == ()


def test_a_forward_of_ones_own():
    found = audit(network(), [{"x": x} for x in BATCHES], forward=lambda m, batch: m(batch["x"]))
    assert found.calls[0].examples == 200


def test_memory_does_not_grow_with_the_data():
    model = network()
    with torch.no_grad(), DeadUnits(model) as watch:
        for _ in range(300):
            model(torch.randn(300, 4))
        waiting = sum(
            tensor.numel()
            for tally in watch._tallies.values()
            for tensor in (*tally._waiting, *tally._figures.values())
        )
    assert waiting < 2 * 65_536 + 100


def test_refusals():
    with pytest.raises(ValueError, match="batches is empty: give at least one batch"):
        audit(network(), [])
    with pytest.raises(ValueError, match="Linear called no activation that is known"):
        audit(nn.Linear(4, 2), BATCHES)
