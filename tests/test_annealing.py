"""Beta-annealing: exact schedules from end to end, its state, and clear refusals."""

import copy
import itertools
import json
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils import parametrize

from messages import exactly
from softplus import (
    BetaAnnealing,
    ShiftedSoftplus,
    Softplus,
    harden,
)
from softplus_networks import LN2, assert_unchanged, network, sample, state_of


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
        (
            {"exclude": "haed"},
            ValueError,
            "exclude pattern 'haed' matches none of the sites 1, and",
        ),
        (
            {"exclude": "*"},
            ValueError,
            "no Softplus module found in this Sequential that include and exclude leave",
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
def test_a_model_without_softplus_is_refused_and_so_is_no_model(tool):
    with pytest.raises(ValueError, match=exactly("no Softplus module found in this Sequential: ")):
        tool(network(nn.ReLU()))
    with pytest.raises(TypeError, match=exactly("model must be a torch.nn.Module, got NoneType")):
        tool(None)


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
