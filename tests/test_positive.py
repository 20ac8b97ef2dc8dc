"""register_positive: values kept to the last bit, positive whatever the raw value."""

import copy
import io
import math
import re

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils import parametrize

from marks import each_dtype
from softplus import inverse_softplus, register_positive, softplus


class Scale(nn.Module):
    """Holds one parameter and one buffer."""

    def __init__(self, value, dtype=torch.float32):
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(value, dtype=dtype))
        self.register_buffer("width", torch.tensor(value, dtype=dtype))

    def forward(self, x):
        return x * self.scale


def raw(module):
    """Return the raw value of `scale`."""
    return module.parametrizations.scale.original


def values(dtype, low, high, count=20_000):
    """Return random values of a dtype, even in their logarithm."""
    generator = torch.Generator().manual_seed(0)
    u = torch.rand(count, generator=generator, dtype=torch.float64)
    return (math.log(low) + u * math.log(high / low)).exp().to(dtype)


def positive(value, beta=1.0, floor=None):
    """Return a module whose `scale` is this tensor, registered."""
    module = Scale(0.0)
    module.scale = nn.Parameter(value.clone())
    return register_positive(module, "scale", beta, floor)


# Keeping the value


@each_dtype
@pytest.mark.parametrize("beta", [0.01, 1.0, 100.0])
def test_the_present_value_stays_to_the_last_bit(dtype, beta):
    high = 6e4 if dtype == torch.float16 else 1e30
    low = 1e-3 if dtype == torch.float16 else 1e-30
    value = torch.cat([values(dtype, low, high), values(dtype, 0.01, 10.0)])
    kept = positive(value, beta).scale.detach()
    assert (kept != value).sum() <= 8  # of 40,000: the definition rounds worse than the kernels
    assert torch.all((kept >= value.nextafter(value * 0)) & (kept <= value.nextafter(value * 2)))


@each_dtype
@pytest.mark.parametrize("floor", [None, 0.01])
def test_next_to_the_floor_1_ulp_may_be_lost(dtype, floor):
    tiny = torch.finfo(dtype).tiny
    value = values(dtype, (floor or tiny) * 1.1 + tiny, (floor or tiny) * 1e4)
    kept = positive(value, floor=floor).scale.detach()
    assert torch.all((kept >= value.nextafter(value * 0)) & (kept <= value.nextafter(value * 2)))
    assert (kept != value).double().mean() < 0.05


@each_dtype
def test_the_value_is_softplus_of_the_raw_value(dtype):
    """The correction stands for the last digit of the raw value, and nothing else."""
    value = values(dtype, 0.01, 1e4)
    module = positive(value, beta=2.0)
    above = value.double() - torch.finfo(dtype).tiny
    ratio = above / softplus(raw(module).detach().double(), 2.0)
    digits = 4 + 4 * raw(module).detach().double().abs()
    assert torch.all((ratio - 1).abs() <= digits * torch.finfo(dtype).eps)
    expected = inverse_softplus(above, 2.0)
    assert torch.all((raw(module) - expected).abs() <= 4 * torch.finfo(dtype).eps * expected.abs())


def test_an_assigned_value_stays_too():
    module = register_positive(Scale([1.0, 2.0]), "scale")
    new = torch.tensor([0.001, 1e-20])
    module.scale = new
    assert torch.equal(module.scale, new)


# Positive, whatever the raw value


@each_dtype
@pytest.mark.parametrize("beta", [1e-3, 1.0, 1e3])
def test_every_finite_raw_value_gives_a_positive_value(dtype, beta):
    limits = torch.finfo(dtype)
    ends = torch.tensor([-limits.max, -limits.tiny, 0.0, limits.tiny, limits.max], dtype=dtype)
    grid = torch.linspace(-1000, 1000, 4001, dtype=torch.float64).to(dtype)
    module = positive(torch.ones(4006, dtype=dtype), beta)
    with torch.no_grad():
        raw(module).copy_(torch.cat([ends, grid]))
    assert torch.all(module.scale >= limits.tiny)
    assert module.scale.isfinite().all()
    assert module.scale.dtype == dtype


@given(st.integers(-(2**15), 2**15 - 1), st.sampled_from([torch.float16, torch.bfloat16]))
def test_every_half_raw_value_gives_a_positive_value(bits, dtype):
    value = torch.tensor([bits], dtype=torch.int16).view(dtype)
    if not value.isfinite():
        return
    module = positive(torch.full((1,), 0.125, dtype=dtype))
    with torch.no_grad():
        raw(module).copy_(value)
    assert module.scale.item() >= torch.finfo(dtype).tiny


def test_the_users_floor_holds():
    module = register_positive(Scale([0.5, 3.0]), "scale", floor=0.25)
    with torch.no_grad():
        raw(module).fill_(-1e30)
    assert torch.equal(module.scale, torch.tensor([0.25, 0.25]))


def test_every_float16_above_the_floor_stays():
    bits = torch.arange(0x0401, 0x7C00, dtype=torch.int16)  # the floor is 0x0400, infinity 0x7c00
    module = positive(bits.view(torch.float16))
    assert torch.equal(module.scale, bits.view(torch.float16))


def test_a_floor_below_the_dtype_is_its_smallest_normal_number():
    module = register_positive(Scale([1.0]), "scale", floor=1e-30).half()
    with torch.no_grad():
        raw(module).fill_(-60000)
    assert module.scale.item() == 2.0**-14


def test_an_optimizer_cannot_make_it_negative():
    module = Scale([1.0, 2.0])
    optimizer = torch.optim.SGD(module.parameters(), lr=100.0)
    register_positive(module, "scale")
    for _ in range(5):
        optimizer.zero_grad()
        module(torch.ones(2)).sum().backward()
        optimizer.step()
        assert (module.scale > 0).all()
    assert (module.scale < 1e-20).all()  # the optimizer made before still holds the parameter


def test_the_gradient_is_that_of_softplus():
    value = torch.tensor([0.01, 1.0, 30.0], dtype=torch.float64)
    module = positive(value, beta=3.0)
    module.scale.sum().backward()
    # d softplus/dx = sigmoid(beta x) = 1 - e^(-beta y).
    torch.testing.assert_close(raw(module).grad, -torch.expm1(-3.0 * value))


# A module like any other


def test_buffers_and_shapes_and_names():
    module = Scale([[1.0, 2.0], [3.0, 4.0]])
    assert register_positive(module, "width") is module
    register_positive(module, "scale", beta=2.0)
    assert list(dict(module.named_parameters())) == ["parametrizations.scale.original"]
    assert torch.equal(module.width, torch.tensor([[1.0, 2.0], [3.0, 4.0]]))
    assert not module.width.requires_grad
    assert "beta=2.0, floor=the smallest normal number" in repr(module)
    assert "floor=0.5" in repr(register_positive(Scale(1.0), "scale", floor=0.5))


def test_a_state_dict_carries_the_value():
    module = register_positive(Scale([0.001, 20.0]), "scale")
    other = register_positive(Scale([1.0, 1.0]), "scale")
    file = io.BytesIO()
    torch.save(module.state_dict(), file)
    file.seek(0)
    other.load_state_dict(torch.load(file))
    assert torch.equal(other.scale, torch.tensor([0.001, 20.0]))
    assert torch.equal(copy.deepcopy(module).scale, module.scale)


def test_a_module_made_without_memory_is_given_its_values():
    def empty():
        with torch.device("meta"):
            return register_positive(Scale([1.0, 1.0]), "scale")

    module = empty()
    assert module.scale.is_meta
    module.to_empty(device="cpu")
    module.scale = torch.tensor([0.001, 20.0])
    assert torch.equal(module.scale, torch.tensor([0.001, 20.0]))
    for other, assign in ((empty(), True), (empty().to_empty(device="cpu"), False)):
        other.load_state_dict(module.state_dict(), assign=assign)
        assert torch.equal(other.scale, module.scale)


def test_another_module_that_holds_the_parameter_reads_the_raw_value():
    module, other = Scale(0.5), Scale(1.0)
    other.scale = module.scale
    register_positive(module, "scale")
    assert other.scale is raw(module)
    torch.testing.assert_close(other.scale.data, torch.tensor(0.5).expm1().log())
    with pytest.raises(ValueError, match=r"got -0\.43"):
        register_positive(other, "scale")
    assert other.scale is raw(module)


def test_it_comes_off_and_leaves_the_value():
    module = Scale([0.001, 20.0])
    parameter = module.scale
    register_positive(module, "scale")
    assert raw(module) is parameter
    parametrize.remove_parametrizations(module, "scale")
    assert module.scale is parameter
    assert torch.equal(module.scale, torch.tensor([0.001, 20.0]))


def test_functional_call_and_compile_go_through():
    module = register_positive(Scale([0.5, 20.0]), "scale")
    replaced = {"parametrizations.scale.original": torch.zeros(2)}
    result = torch.func.functional_call(module, replaced, torch.ones(2))
    torch.testing.assert_close(result, torch.full((2,), math.log(2)))
    compiled = torch.compile(module, backend="eager", fullgraph=True)
    assert torch.equal(compiled(torch.ones(2)), torch.tensor([0.5, 20.0]))


# Bad input


@pytest.mark.parametrize(
    ("value", "options", "error", "message"),
    [
        ([1.0, 1.5e-38], {}, ValueError, "1.17549e-38 by 1.2e-38 or more, got 1.5e-38"),
        ([1.0, 0.0], {}, ValueError, "got 0: change the value or the floor"),
        ([1.0, -2.5], {}, ValueError, "got -2.5"),
        ([1.0, math.nan], {}, ValueError, "got nan"),
        ([1.0, math.inf], {}, ValueError, "got inf"),
        ([1.0, 1e-40], {}, ValueError, re.escape("above its floor of 1.17549e-38")),
        ([1.0, 0.1], {"floor": 0.5}, ValueError, "above its floor of 0.5, got 0.1"),
        ([1.0, 0.5], {"floor": 0.5}, ValueError, "got 0.5"),
        ([0.1], {"floor": 0.1}, ValueError, "above its floor of 0.1, got 0.1"),
        ([1e-5], {"beta": 1e-37}, ValueError, "raw value for beta=1e-37 is finite, got 1e-05"),
        ([1, 2], {}, TypeError, "can be kept positive, got int64"),
        ([1.0], {"name": "sigma"}, ValueError, "'sigma' is neither .* which has scale, width"),
        ([1.0], {"beta": 0.0}, ValueError, "beta must be"),
        ([1.0], {"beta": -1.0}, ValueError, "beta must be positive, got -1.0"),
        ([1.0], {"beta": math.inf}, ValueError, "beta must be"),
        ([1.0], {"beta": "1"}, TypeError, "beta must be"),
        ([1.0], {"floor": 0.0}, ValueError, "floor must be .* got 0.0"),
        ([1.0], {"floor": -1.0}, ValueError, "floor must be .* got -1.0"),
        ([1.0], {"floor": math.nan}, ValueError, "floor must be .* got nan"),
        ([1.0], {"floor": math.inf}, ValueError, "floor must be .* got inf"),
    ],
)
def test_a_bad_argument_is_named_and_the_module_unchanged(value, options, error, message):
    module = Scale(0.0)
    del module.scale
    module.scale = torch.nn.Parameter(torch.tensor(value), requires_grad=False)
    with pytest.raises(error, match=message):
        register_positive(module, **{"name": "scale", **options})
    assert not parametrize.is_parametrized(module)
    torch.testing.assert_close(
        module.scale.data, torch.tensor(value), rtol=0, atol=0, equal_nan=True
    )


def test_a_parametrized_tensor_is_refused():
    module = register_positive(Scale([1.0]), "scale")
    with pytest.raises(ValueError, match="remove_parametrizations"):
        register_positive(module, "scale")
    assert torch.equal(module.scale, torch.tensor([1.0]))


def test_a_bad_assignment_is_named_and_changes_nothing():
    module = register_positive(Scale([0.001, 2.0]), "scale")
    with pytest.raises(ValueError, match="got -1"):
        module.scale = torch.tensor([1.0, -1.0])
    assert torch.equal(module.scale, torch.tensor([0.001, 2.0]))
