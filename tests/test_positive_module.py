"""Positive: `initial` at 0 to the last digit, never below its floor, its inverse, transforms."""

import copy
import math
import pickle

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from torch import nn

import references
from calls import normal
from marks import DTYPES, computing_dtypes, each_dtype, with_kernels
from messages import exactly
from softplus import Positive

ctx = references.ctx
# initial, floor and beta; with the last but one every second sum with the floor is a tie.
SETTINGS = [
    (1.0, 0.0, 1.0),
    (0.001, 0.0, 1.0),
    (1e-9, 0.0, 1.0),
    (0.1, 0.001, 1.0),
    (5.0, 1.0, 10.0),
    (100.0, 0.0, 0.1),
    (0.18972692882207312, 0.028239481423238705, 48.89214280394432),
    (1e-4, 1e-5, 0.01),
]
each_setting = pytest.mark.parametrize("setting", SETTINGS, ids=str)


def assert_starts_at_initial(initial, floor, beta, dtype):
    """Assert it for a single element and for vectors, which PyTorch computes differently."""
    module = Positive(initial, floor, beta)
    wanted = torch.tensor(initial, dtype=dtype)
    for shape in ((), (1,), (3, 50)):
        for zero in (0.0, -0.0):
            result = module(torch.full(shape, zero, dtype=dtype))
            assert torch.equal(result, wanted.expand(shape)), (result, wanted)


@each_setting
@each_dtype
def test_a_raw_0_gives_initial_to_the_last_digit(setting, dtype):
    assert_starts_at_initial(*setting, dtype)


@given(
    st.floats(-30, 8).map(lambda power: 10**power),
    st.one_of(st.just(0.0), st.floats(-6, 2).map(lambda power: 10**power)),
    st.floats(-3, 3).map(lambda power: 10**power),
    st.sampled_from(DTYPES),
)
def test_whatever_the_arguments_a_raw_0_gives_initial(above, floor, beta, dtype):
    assume(above > 2e-7 * floor)
    assert_starts_at_initial(floor + above, floor, beta, dtype)


@each_setting
@computing_dtypes
def test_it_is_floor_plus_softplus_of_x_plus_c(setting, dtype):
    initial, floor, beta = setting
    floor = max(floor, torch.finfo(dtype).tiny)
    start, bottom = (torch.tensor(value, dtype=dtype).item() for value in (initial, floor))
    c = references.inverse_softplus(ctx.mpf(start) - bottom, beta)
    x = torch.cat([torch.linspace(-30, 30, 61), torch.tensor([-1e-3, 1e-3, 1e3])]).to(dtype)
    result = Positive(*setting)(x)
    exact = [bottom + references.softplus(c + value, beta) for value in x.tolist()]
    errors = references.ulp_errors(result, exact)
    # The last digits of c and of x + c, which are those of beta·(x + c) in the result, and two of
    # softplus.
    for error, value in zip(errors, x.tolist(), strict=True):
        assert error <= 3 + 2 * beta * (abs(float(c)) + abs(value + float(c)))


@each_setting
@each_dtype
def test_no_result_is_below_the_floor(setting, dtype):
    limits = torch.finfo(dtype)
    ends = torch.tensor([-math.inf, -limits.max, -limits.tiny, limits.tiny], dtype=dtype)
    x = torch.cat([ends, torch.linspace(-200, 10, 2111).to(dtype)])
    y = Positive(*setting)(x)
    assert (y >= setting[1]).all()
    assert (y > 0).all() or setting[0] < 2 * limits.tiny  # initial itself is 0, or next to it
    assert y[0] == y.min()
    assert (y[4:].diff() >= 0).all()


@each_dtype
def test_special_values(dtype):
    x = torch.tensor([math.inf, math.nan], dtype=dtype, requires_grad=True)
    y = Positive(0.1)(x)
    assert y[0] == math.inf
    assert y[1].isnan()
    (gradient,) = torch.autograd.grad(y[0], x)
    assert gradient[0].item() == pytest.approx(1, rel=1e-6)  # the factor


@with_kernels
@pytest.mark.parametrize("setting", SETTINGS[:-2], ids=str)
@computing_dtypes
def test_a_result_goes_there_and_back(setting, dtype):
    module = Positive(*setting)
    y = module(torch.linspace(-20, 100, 1001).to(dtype))
    ulp = torch.nextafter(y, 2 * y) - y
    assert ((module(module.inverse(y)) - y).abs() <= 2 * ulp).all()


@each_setting
@computing_dtypes
def test_the_inverse_of_values_that_no_x_meets(setting, dtype):
    """The last digits of x and of x + c are what is lost."""
    module = Positive(*setting)
    initial, floor, beta = setting
    generator = torch.Generator().manual_seed(0)
    powers = torch.empty(1000, dtype=torch.float64).uniform_(-6, 4, generator=generator)
    y = (floor + 10**powers / beta).to(dtype)
    x = module.inverse(y)
    assert x.dtype == dtype
    c = float(references.inverse_softplus(ctx.mpf(initial) - floor, beta))
    lost = 6 + beta * torch.maximum(x.abs(), (x + c).abs())
    assert ((module(x) - y).abs() <= lost * torch.finfo(dtype).eps * y).all()


@each_dtype
def test_the_inverse_of_initial_of_the_floor_and_of_what_is_below(dtype):
    module = Positive(3.0, floor=0.5)
    inverse = module.inverse(torch.tensor([3.0, 0.5, 0.25, -1.0, math.inf], dtype=dtype))
    assert inverse[0].abs() <= torch.finfo(dtype).eps * 4
    assert inverse[1] == -math.inf
    assert inverse[2:4].isnan().all()
    assert inverse[4] == math.inf


def test_the_gradient_is_the_sigmoid():
    x = normal(20, dtype=torch.float64).requires_grad_()
    module = Positive(0.3, 0.01, 2.0)
    (gradient,) = torch.autograd.grad(module(x).sum(), x)
    c = math.log(math.expm1(2.0 * 0.29)) / 2
    torch.testing.assert_close(gradient, torch.sigmoid(2.0 * (x.detach() + c)))
    assert torch.autograd.gradcheck(module, x)
    assert torch.autograd.gradgradcheck(module, x)
    assert torch.autograd.gradcheck(module.inverse, (x.detach() ** 2 + 0.1).requires_grad_())


# A module like any other


def test_it_has_no_state_and_is_copied_pickled_and_printed():
    module = Positive(0.3, floor=0.01)
    assert module.state_dict() == {}
    assert list(module.parameters()) == []
    assert repr(module) == "Positive(initial=0.3, floor=0.01, beta=1.0)"
    x = normal(5)
    for other in (copy.deepcopy(module), pickle.loads(pickle.dumps(module))):  # noqa: S301 -- ours
        assert repr(other) == repr(module)
        assert torch.equal(other(x), module(x))
    assert [module.initial, module.floor, module.beta] == [0.3, 0.01, 1.0]


@each_dtype
def test_memory_format_dtype_and_shape_stay(dtype):
    x = normal(2, 3, 4, 5, dtype=dtype).to(memory_format=torch.channels_last)
    y = Positive()(x)
    assert y.dtype == dtype
    assert y.shape == x.shape
    assert y.is_contiguous(memory_format=torch.channels_last)


@pytest.fixture
def model():
    """Return a network that ends in a Positive."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 3), Positive(0.1, floor=0.001))


def assert_the_same(other, model):
    """Assert equal values and gradients, on values that were not traced."""
    x = -2 * normal(5, 4)
    results = []
    for module in (other, model):
        y = module(x)
        results.append([y, *torch.autograd.grad(y.square().sum(), list(model.parameters()))])
    for result, wanted in zip(*results, strict=True):
        torch.testing.assert_close(result, wanted)


def test_fx_symbolic_trace(model):
    traced = torch.fx.symbolic_trace(model)
    traced.graph.lint()
    assert_the_same(traced, model)
    x = normal(5, 4)
    assert torch.equal(copy.deepcopy(traced)(x), model(x))
    assert sum(node.op == "call_function" for node in traced.graph.nodes) == 1


def test_compile(model):
    assert_the_same(torch.compile(model, fullgraph=True, backend="eager"), model)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's own
def test_compiled_by_inductor_a_raw_0_gives_initial():
    module = Positive(0.001)
    compiled = torch.compile(module, fullgraph=True)
    assert torch.equal(compiled(torch.zeros(50)), torch.full((50,), 0.001))


def test_export_needs_nothing_of_this_package(model):
    exported = torch.export.export(model, (normal(5, 4),))
    assert_the_same(exported.module(), model)
    assert "softplus::" not in str(exported.graph)


@each_dtype
@pytest.mark.filterwarnings("ignore:`torch.jit.script:DeprecationWarning")
def test_jit_script(dtype):
    module = Positive(0.1, floor=0.001, beta=3.0)
    scripted = torch.jit.script(module)
    x = normal(50, dtype=dtype)
    torch.testing.assert_close(scripted(x), module(x))
    zero = torch.zeros((), dtype=dtype)
    assert scripted(zero) == torch.tensor(0.1, dtype=dtype)


def test_functorch():
    module = Positive(0.1, floor=0.001)
    x = normal(5, dtype=torch.float64)
    torch.testing.assert_close(torch.func.vmap(module)(x), module(x))
    leaf = x.clone().requires_grad_()
    (wanted,) = torch.autograd.grad(module(leaf).sum(), leaf)
    torch.testing.assert_close(torch.func.vmap(torch.func.grad(module))(x), wanted)
    torch.testing.assert_close(torch.func.jacrev(module)(x), wanted.diag())
    torch.testing.assert_close(torch.func.jvp(module, (x,), (torch.ones_like(x),))[1], wanted)
    torch.testing.assert_close(torch.func.vmap(module.inverse)(module(x)), x)


@pytest.mark.parametrize("device", ["meta", "cpu"])
def test_made_under_a_device(device):
    with torch.device(device):
        module = Positive(0.1)
        assert torch.equal(
            module(torch.zeros(3, device="cpu")), torch.full((3,), 0.1, device="cpu")
        )
    assert module(torch.zeros(3, device="meta")).is_meta
    assert module.to_empty(device="cpu")(torch.zeros(())).item() == torch.tensor(0.1).item()


# Bad input


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (
            {"initial": 0.0},
            ValueError,
            "initial must be a finite number above floor=0.0 by 1.2e-38",
        ),
        (
            {"initial": -1.0},
            ValueError,
            "initial must be a finite number above floor=0.0 by 1.2e-38",
        ),
        ({"floor": 1.0}, ValueError, "initial must be a finite number above floor=1.0 by 1.2e-07"),
        ({"initial": 1 + 1e-9, "floor": 1.0}, ValueError, "initial must be a finite number above"),
        ({"initial": math.inf}, ValueError, "initial must be a finite number above floor=0.0"),
        ({"initial": math.nan}, ValueError, "initial must be a finite number above floor=0.0"),
        ({"initial": "1"}, TypeError, "initial must be a number, got str '1'"),
        ({"floor": -1.0}, ValueError, "floor must be 0 or a positive finite number, got -1.0"),
        ({"floor": math.nan}, ValueError, "floor must be 0 or a positive finite number, got nan"),
        ({"floor": None}, TypeError, "floor must be a number, got NoneType None"),
        ({"beta": 0.0}, ValueError, "beta must be a finite number other than 0"),
        ({"beta": -1.0}, ValueError, "beta must be positive, got -1.0"),
        ({"initial": 1e-5, "beta": 1e-37}, ValueError, "initial must be what softplus of a finite"),
    ],
)
def test_a_bad_argument_is_named(arguments, error, message):
    with pytest.raises(error, match=exactly(message)):
        Positive(**arguments)


def test_a_bad_input_is_named():
    module = Positive()
    for call in (module, module.inverse):
        with pytest.raises(TypeError, match=exactly("input must be float32, float64, bfloat16")):
            call(torch.ones(3, dtype=torch.int64))
        with pytest.raises(TypeError, match=exactly("input must be a torch.Tensor, got float")):
            call(1.0)
