"""The CPU kernels on every instruction set: accuracy, special values, layouts, autograd, threads.

Float32 and below are held against formulas that cancel nowhere, in float64; float64 against
references at 60 digits.
"""

import functools
import math
import subprocess
import sys
import threading
import time
import weakref

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.nn import functional

import references
from calls import normal
from marks import with_kernels
from references import same, same_bits
from softplus import Softplus, inverse_softplus, logsigmoid, shifted_softplus, softplus, softplus_
from softplus.ops import cpu, definition

pytestmark = with_kernels
SETS = [] if cpu.absent else cpu._kernels.available()
DTYPES = [torch.float32, torch.float64, torch.bfloat16, torch.float16]
HALVES = [torch.bfloat16, torch.float16]
each_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: str(dtype)[6:])
each_half = pytest.mark.parametrize("dtype", HALVES, ids=lambda dtype: str(dtype)[6:])

INF, NAN = math.inf, math.nan


@pytest.fixture(params=SETS)
def isa(request):
    """Run the test on one instruction set, and put the chosen one back."""
    before = cpu._kernels.chosen()
    cpu._kernels.use(request.param)
    yield request.param
    cpu._kernels.use(before)


each_isa = pytest.mark.usefixtures("isa")


def patterns(step: int, start: int = 0, stop: int = 2**32) -> Tensor:
    """Return the finite float32 numbers at every `step`-th bit pattern."""
    pattern = torch.arange(start, stop, step)
    x = torch.where(pattern < 2**31, pattern, pattern - 2**32).int().view(torch.float32)
    return x[x.isfinite()]


def all_halves(dtype: torch.dtype) -> Tensor:
    """Return all 65,536 numbers of a half type."""
    return torch.arange(-(2**15), 2**15).to(torch.int16).view(dtype)


def exact(x: Tensor, beta: float = 1.0) -> tuple[Tensor, Tensor, Tensor]:
    """Return Softplus and its first two derivatives in float64, for inputs of fewer digits."""
    x = x.double()
    u = x * beta
    t = torch.exp(-u.abs())
    y = torch.where(u > 0, x, 0.0) + torch.log1p(t) / beta
    s = torch.where(u > 0, 1.0, t) / (1 + t)
    return y, s, beta * t / (1 + t) ** 2


def units(wanted: Tensor, dtype: torch.dtype) -> Tensor:
    """Return the ULP of `dtype` at each float64 number."""
    powers = (wanted.view(torch.int64) & 0x7FF0000000000000).view(torch.float64)
    limits = torch.finfo(dtype)
    return powers.clamp_min(limits.tiny) * limits.eps


def worst(result: Tensor, wanted: Tensor, *, flushed: bool = True) -> float:
    """Return the largest error in ULP; where results are flushed, 0 is right below 2^-126.

    Next to 2^-126 itself both 0 and that number are right for what rounds to it.
    """
    errors = (result.detach().double() - wanted).abs() / units(wanted, result.dtype)
    if flushed and result.dtype != torch.float16:
        below = wanted.abs() < torch.finfo(result.dtype).tiny * (1 + 1e-6)
        errors = torch.where(below & (result == 0), 0.0, errors)
    return errors.max().item()


def subnormal(x: Tensor) -> Tensor:
    """Return where x is subnormal: neither 0 nor 2^-126 or more (2^-1022 in float64)."""
    return (x != 0) & (x.abs() < torch.finfo(x.dtype).tiny)


def derivatives(x: Tensor, beta: float = 1.0, threshold: float | None = None) -> list[Tensor]:
    """Return Softplus and its first two derivatives, by autograd through the kernels."""
    x = x.detach().requires_grad_()
    y = softplus(x, beta, threshold)
    (first,) = torch.autograd.grad(y, x, torch.ones_like(y), create_graph=True)
    (second,) = torch.autograd.grad(first, x, torch.ones_like(y))
    return [y.detach(), first.detach(), second]


# Accuracy


@functools.cache
def thin() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return every 4,099th float32 number and the exact results there, computed once."""
    x = torch.cat([patterns(4099), torch.tensor([0.0, -0.0, -87.0, 16.635532, 20.0, -103.9])])
    return x, *exact(x)


def hold_unit_beta(x: Tensor, y: Tensor, s: Tensor, curvature: Tensor) -> None:
    """Hold the bounds for beta = 1 over float32 inputs."""
    forward, first, second = derivatives(x)
    assert worst(forward, y) <= 1
    ordinary = y >= torch.finfo(torch.float32).tiny
    assert not ordinary.any() or worst(first[ordinary], s[ordinary]) <= 2
    assert not subnormal(torch.cat([forward, first, second])).any()
    relative = (second.double() - curvature).abs() / curvature
    assert (relative[x.abs() <= 20] <= 4e-6).all()
    ordinary &= curvature >= torch.finfo(torch.float32).tiny * (1 + 1e-5)
    assert (relative[ordinary] <= 2e-5).all()


@each_isa
def test_float32():
    hold_unit_beta(*thin())


@each_isa
@pytest.mark.slow
def test_float32_at_every_61st_number():
    chunk = 61 * 2**22
    for start in range(0, 2**32, chunk):
        x = patterns(61, start, min(start + chunk, 2**32))
        if x.numel():
            hold_unit_beta(x, *exact(x))


BETAS = [1e-3, 0.01, 0.1, 0.3, 0.7, 1 / 3, 2.0, 3.0, 10.0, 100.0, 123.456, 1e3, -1.0, -0.1, -100.0]


@each_isa
@pytest.mark.parametrize("beta", BETAS)
def test_float32_of_any_beta(beta):
    x = torch.cat([patterns(65537), torch.linspace(-100, 40, 20_000) / beta])
    y, s, curvature = exact(x, beta)
    forward, first, second = derivatives(x, beta)
    tiny = torch.finfo(torch.float32).tiny
    assert worst(forward, y) <= 2
    ordinary = y.abs() >= tiny
    assert worst(first[ordinary], s[ordinary]) <= 3
    relative = ((second.double() - curvature) / curvature).abs()
    ordinary &= curvature.abs() >= tiny * (1 + 1e-5)
    assert (relative[ordinary] <= 2e-5).all()
    assert relative[ordinary & ((x.double() * beta).abs() <= 20)].max() <= 4e-6
    assert not subnormal(torch.cat([forward, first, second])).any()


@each_isa
@settings(
    deadline=None, max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(log_beta=st.floats(-3, 3), sign=st.sampled_from([1, -1]))
def test_float32_of_random_beta(log_beta, sign):
    beta = sign * 10**log_beta
    x = torch.cat([patterns(1_048_583), torch.linspace(-90, 30, 1000) / beta])
    y, s, _ = exact(x, beta)
    forward, first, _ = derivatives(x, beta)
    assert worst(forward, y) <= 2
    ordinary = y.abs() >= torch.finfo(torch.float32).tiny
    assert worst(first[ordinary], s[ordinary]) <= 3


@each_isa
@each_half
@pytest.mark.parametrize("beta", [1.0, 0.1, -1.0, 100.0])
def test_every_half_input_is_rounded_correctly(dtype, beta):
    x = all_halves(dtype)
    x = x[x.isfinite()]
    y, s, _ = exact(x, beta)
    forward, first, second = derivatives(x, beta)
    inside = y.abs() < torch.finfo(dtype).max  # what overflows stands in test_special_values
    if beta == 1:
        wrong = (worst_each := (forward.double() - y).abs() / units(y, dtype)) > 0.5
        wrong &= ~((forward == 0) & (y < torch.finfo(torch.float32).tiny))
        assert x[wrong].tolist() == [], worst_each[wrong].tolist()
    # 1/2 for the result's own rounding and, in bfloat16, that of the output it comes from; with
    # another beta 0.74 was measured in float16, of 1 for the neighbour of the right one
    assert worst(forward[inside], y[inside]) <= (0.52 if beta == 1 else 0.75)
    ordinary = y.abs() >= torch.finfo(dtype).tiny if dtype == torch.bfloat16 else inside
    assert worst(first[ordinary], s[ordinary]) <= (1.6 if dtype == torch.bfloat16 else 0.52)
    if dtype == torch.bfloat16:
        assert not subnormal(torch.cat([forward, first, second])).any()
    assert not torch.cat([forward, first, second]).isnan().any()


@functools.cache
def doubles() -> tuple[Tensor, list, list, list]:
    """Return float64 inputs where something happens, and the exact results there."""
    generator = torch.Generator().manual_seed(0)
    drawn = torch.rand(700, generator=generator, dtype=torch.float64)
    sides = torch.tensor([1.0, -1.0], dtype=torch.float64).repeat(350)
    x = torch.cat(
        [
            20 + 20 * drawn[:200],  # PyTorch reverts to x here
            -708 + 748 * drawn,
            2 * drawn * sides,
            sides[:300] * 10 ** (-300 * drawn[:300]),
            torch.tensor([0.0, 1e-300, 700.0, 1e300, -37.5, -600.5, -599.5], dtype=torch.float64),
        ]
    )
    return x, *zip(*(references.derivatives(v)[:3] for v in x.tolist()), strict=True)


@each_isa
def test_float64():
    x, y, s, curvature = doubles()
    forward, first, second = derivatives(x)
    assert max(references.ulp_errors(forward, y)) <= 2
    assert max(references.ulp_errors(first, s)) <= 2.5
    pairs = zip(second.tolist(), curvature, strict=True)
    assert max(abs(got / wanted - 1) for got, wanted in pairs if wanted > 2.3e-308) <= 1e-13


@each_isa
@pytest.mark.parametrize("beta", [0.1, 1 / 3, 7.3, -1.0, 1e3, 1e-3])
def test_float64_of_any_beta(beta):
    x = torch.cat([torch.linspace(-700, 40, 150), torch.linspace(-2, 2, 101)]).double() / beta
    y, s, _, _ = zip(*(references.derivatives(v, beta) for v in x.tolist()), strict=True)
    forward, first, _ = derivatives(x, beta)
    assert max(references.ulp_errors(forward, y)) <= 2
    assert max(references.ulp_errors(first, s)) <= 2.5


@each_isa
@pytest.mark.parametrize("beta", [1.0, 0.1, 10.0, -3.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
def test_inverse_near_0_near_ln2_and_large(dtype, beta):
    tiny = torch.finfo(dtype).tiny
    distances = torch.logspace(-7 if dtype == torch.float32 else -15, -0.5, 60).double()
    y = torch.cat(
        [
            torch.logspace(math.log10(tiny), 0, 80, dtype=torch.float64),
            math.log(2) + distances,
            math.log(2) - distances,
            torch.linspace(0.3, 1.2, 100, dtype=torch.float64),
            torch.logspace(0, 3, 80, dtype=torch.float64),
        ]
    )
    y = (y / beta).to(dtype)
    y = y[y.abs() >= tiny]
    wanted = [references.inverse_softplus(v, beta) for v in y.tolist()]
    assert max(references.ulp_errors(inverse_softplus(y, beta), wanted)) <= 2


@each_isa
@pytest.mark.parametrize("beta", [1.0, 0.1, 10.0, -3.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
def test_shifted_near_0(dtype, beta):
    distances = torch.logspace(-30, 1.2, 150, dtype=torch.float64)
    x = (torch.cat([distances, -distances, torch.zeros(1)]) / beta).to(dtype)
    wanted = [references.shifted_softplus(v, beta) for v in x.tolist()]
    result = shifted_softplus(x, beta)
    near = [abs(v * beta) <= 1 for v in x.tolist()]
    errors = references.ulp_errors(result, wanted)
    assert max(e for e, n in zip(errors, near, strict=True) if n) <= 2
    assert max(errors) <= 2
    assert result[-1] == 0


@each_isa
@pytest.mark.parametrize("shift", [0.25, -3.0, 0.0])
def test_shifted_by_any_shift_is_the_exact_difference(shift):
    x = patterns(1_048_583)
    wanted = exact(x)[0] - shift
    assert worst(shifted_softplus(x, 1.0, shift), wanted) <= 0.51


@each_isa
def test_shifted_has_the_gradient_of_softplus():
    x = thin()[0].clone().requires_grad_()
    shifted_softplus(x).sum().backward()
    ordinary = thin()[1] >= torch.finfo(torch.float32).tiny
    assert worst(x.grad[ordinary], thin()[2][ordinary]) <= 2


@each_isa
@pytest.mark.parametrize("beta", [0.1, 1 / 3, 10.0, -100.0])
def test_float32_gradient_from_the_input(beta):
    x = torch.cat([patterns(65537), torch.linspace(-80, 40, 200_000) / beta]).requires_grad_()
    softplus(x, beta, 19.0).sum().backward()
    y, s, _ = exact(x.detach(), beta)
    ordinary = (y.abs() >= torch.finfo(torch.float32).tiny) & (x.detach() * beta <= 18.9)
    assert worst(x.grad[ordinary], s[ordinary]) <= 2


# Where 100,000 drawn points found more than 2 ULP before the sums kept their low parts: to 2.3
# forward, 3.4 shifted and 3.9 in the inverse, on the instruction sets with FMA or without.
HARD = [
    (softplus, references.softplus, -58.472639566148743, -0.0038370205838499619),
    (softplus, references.softplus, 2.8369045483488054e-09, -0.0038370205838499619),
    (softplus, references.softplus, -52867.798917350141, 0.011465551123732876),
    (shifted_softplus, references.shifted_softplus, 4.2556697370754879, -0.082926923294591698),
    (shifted_softplus, references.shifted_softplus, 0.10869415398817886, 3.2871155949121023),
    (shifted_softplus, references.shifted_softplus, 0.4145157633017611, 1.0),
    (inverse_softplus, references.inverse_softplus, 0.0053581150435634871, 81.178098620440466),
    (inverse_softplus, references.inverse_softplus, -0.0064993426847574313, -57.440211437761391),
    (inverse_softplus, references.inverse_softplus, 0.37721672280610274, 1.0),
]


@each_isa
@pytest.mark.parametrize(("function", "reference", "value", "beta"), HARD)
def test_float64_at_hard_points(function, reference, value, beta):
    result = function(torch.tensor([value], dtype=torch.float64), beta)
    assert max(references.ulp_errors(result, [reference(value, beta)])) <= 2


@each_isa
def test_logsigmoid_and_its_backward():
    x = thin()[0]
    leaf = x.clone().requires_grad_()
    result = logsigmoid(leaf)
    result.sum().backward()
    y, s, _ = exact(-x)
    assert worst(result, -y) <= 1
    ordinary = y >= torch.finfo(torch.float32).tiny
    assert worst(leaf.grad[ordinary], s[ordinary]) <= 2
    assert not subnormal(torch.cat([result, leaf.grad])).any()


@each_isa
def test_a_gradient_scales_what_arrives():
    x = normal(10_000, scale=20)
    x = x[x > -80]
    g = normal(x.numel()).exp() * normal(x.numel(), scale=1).sign()
    leaf = x.clone().requires_grad_()
    softplus(leaf).backward(g)
    assert worst(leaf.grad, g.double() * exact(x)[1]) <= 2.5


# Special values


@each_isa
@each_dtype
@pytest.mark.parametrize("beta", [1.0, 0.1, 100.0])
def test_special_values(dtype, beta):
    limits = torch.finfo(dtype)
    x = torch.tensor([NAN, INF, -INF, 0.0, -0.0, limits.max, -limits.max], dtype=dtype)
    forward, first, second = derivatives(x, beta)
    half = torch.tensor(math.log(2) / beta, dtype=torch.float64).to(dtype).item()
    wanted = [NAN, INF, 0, half, half, limits.max, 0]
    assert forward.tolist() == pytest.approx(wanted, rel=limits.eps, nan_ok=True)
    assert first.tolist() == pytest.approx([NAN, 1, 0, 0.5, 0.5, 1, 0], abs=0, nan_ok=True)
    assert second[3:5].tolist() == pytest.approx([beta / 4] * 2, rel=2 * limits.eps)
    assert second[5:].tolist() == [0, 0]
    assert second[0].isnan()


@each_isa
@each_dtype
@pytest.mark.parametrize("beta", [1.0, 3.0, 0.1, -1.0, 100.0, 1e-3, 1e3])
@pytest.mark.parametrize("threshold", [None, 5.0])
def test_the_gradient_at_0_is_exactly_one_half(dtype, beta, threshold):
    x = torch.tensor([0.0, -0.0] * 20, dtype=dtype)
    assert derivatives(x, beta, threshold)[1].tolist() == [0.5] * 40


def finite(dtype: torch.dtype) -> st.SearchStrategy[float]:
    """Return special and ordinary finite numbers of a type."""
    limits = torch.finfo(dtype)
    edges = [0.0, limits.tiny, limits.smallest_normal / 8, limits.max, limits.eps, 1.0, 17.0, 20.0]
    edges += [88.0, 87.3, 103.9, 104.0, 709.0, 745.0, limits.max / 2]
    near = [limits.tiny / limits.eps, 11.0, 16.6]
    edges = [edge for edge in edges + near if edge <= limits.max]
    return st.one_of(
        st.sampled_from([*edges, *(-edge for edge in edges)]), st.floats(-200, 200, width=16)
    )


ANY_BETA = st.one_of(
    st.floats(1e-3, 1e3),
    st.sampled_from([1.0, 1.2e-38, 2.0**-100, 2.0**-101, 1e-10, 1e10, 2.0**100, 1e31, 3.4e38]),
)


@each_isa
@each_dtype
@settings(
    deadline=None, max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data(), beta=ANY_BETA, sign=st.sampled_from([1, -1]))
def test_no_nan_comes_from_finite_input(dtype, data, beta, sign):
    values = data.draw(st.lists(finite(dtype), min_size=1, max_size=40))
    threshold = data.draw(st.sampled_from([None, 20.0, 5.0, 0.0, -1.0]))
    x = torch.tensor(values, dtype=torch.float64).to(dtype)
    results = derivatives(x, sign * beta, threshold)
    for result in results:
        assert not result.isnan().any()
    assert results[1].ge(0).all()
    assert results[1].le(1).all()
    assert not softplus_(x.clone(), sign * beta, threshold).isnan().any()
    assert not shifted_softplus(x, sign * beta).isnan().any()
    assert not logsigmoid(x).isnan().any()


@each_isa
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("beta", [1.0, 100.0, 0.01, -1.0])
def test_tiny_results_are_zero(dtype, beta):
    """A subnormal costs every later matrix product: none comes out, whatever gradient comes in."""
    lowest = -750 if dtype == torch.float64 else -110
    x = torch.linspace(lowest, lowest * 0.9, 4000, dtype=torch.float64).div(beta).to(dtype)
    leaf = x.clone().requires_grad_()
    result = softplus(leaf, beta)
    for scale in (1.0, 1e-3, 1e3):
        g = torch.full_like(x, scale).requires_grad_()
        (first,) = torch.autograd.grad(result, leaf, g, create_graph=True)
        second = torch.autograd.grad(first, (leaf, g), torch.full_like(x, 0.7), retain_graph=True)
        assert not subnormal(torch.cat([result, first, *second])).any()
    assert (result == 0).any()
    assert not subnormal(softplus_(x.clone(), beta)).any()
    assert not subnormal(softplus(x, beta, out=torch.empty_like(x))).any()
    assert not subnormal(shifted_softplus(x, beta, 0.0)).any()


@each_isa
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_subnormal_inputs(dtype):
    """As if they were 0, whose neighbours they are; the inverse takes them as they stand."""
    limits = torch.finfo(dtype)
    x = torch.tensor([limits.tiny / 2, -limits.tiny / 2, limits.tiny / 4], dtype=dtype)
    for result, at_zero in zip(derivatives(x), derivatives(torch.zeros_like(x)), strict=True):
        assert same_bits(result, at_zero)
    wanted = [references.inverse_softplus(v) for v in x[::2].tolist()]
    assert max(references.ulp_errors(inverse_softplus(x[::2]), wanted)) <= 2
    assert shifted_softplus(x).abs().max() <= limits.tiny / 2


@each_isa
def test_the_flush_mode_of_the_thread_is_put_back():
    softplus(normal(100))
    assert (torch.tensor(1e-39) * 0.5).item() != 0


@each_isa
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_inverse_at_its_edges(dtype):
    y = torch.tensor([0.0, -0.0, INF, NAN, -1.0, torch.finfo(dtype).max], dtype=dtype)
    wanted = [-INF, -INF, INF, NAN, NAN, torch.finfo(dtype).max]
    assert inverse_softplus(y).tolist() == pytest.approx(wanted, nan_ok=True)


@each_isa
@each_dtype
@pytest.mark.parametrize("beta", [1.0, 0.7, -2.0])
@pytest.mark.parametrize("threshold", [5.0, 0.0, -3.0, 19.99])
def test_a_threshold_gives_pytorch_s_reversion(dtype, beta, threshold):
    x = torch.cat([normal(2000, dtype=dtype, scale=8), torch.tensor([5, -5, 0], dtype=dtype)])
    forward, first, second = derivatives(x, beta, threshold)
    computing = x.to(torch.float64 if dtype == torch.float64 else torch.float32)
    linear = computing * beta > threshold
    assert same_bits(forward[linear], x[linear])
    assert (first[linear] == 1).all()
    assert (second[linear] == 0).all()
    for got, wanted in zip((forward, first), derivatives(x, beta), strict=False):
        assert same(got[~linear], wanted[~linear]) or dtype in HALVES
    leaf = x.clone().requires_grad_()
    theirs = functional.softplus(leaf, beta, threshold)
    theirs.sum().backward()
    bound = {torch.float64: 1e-12, torch.float32: 1e-5}.get(dtype, 8e-3)
    assert torch.allclose(forward, theirs.detach(), rtol=bound, atol=bound)
    assert torch.allclose(first, leaf.grad, rtol=bound, atol=bound)


# Position independence


def everything(x: Tensor, beta: float = 1.0) -> dict[str, Tensor]:
    """Return the result of each kernel at x."""
    leaf = x.detach().requires_grad_()
    g = (x.detach() * 0.37 + 1).requires_grad_()
    y = softplus(leaf, beta)
    (first,) = torch.autograd.grad(y, leaf, g, create_graph=True)
    to_x, to_g = torch.autograd.grad(first, (leaf, g), x.detach() * 0.11 - 1)
    reverting = softplus(leaf, beta, 5.0)
    return {
        "forward": y.detach(),
        "backward": first.detach(),
        "double backward towards x": to_x,
        "double backward towards g": to_g,
        "reverting": reverting.detach(),
        "its backward": torch.autograd.grad(reverting, leaf, g)[0].detach(),
        "shifted": shifted_softplus(x, beta),
        "shifted by 0.3": shifted_softplus(x, beta, 0.3),
        "inverse": inverse_softplus(x.abs(), beta),
        "logsigmoid": logsigmoid(x),
    }


def hold_same(got: dict[str, Tensor], wanted: dict[str, Tensor]) -> None:
    """Hold that every result has the same bits."""
    assert [name for name in wanted if not same_bits(got[name], wanted[name])] == []


@each_isa
@each_dtype
@pytest.mark.parametrize("beta", [1.0, 0.7])
def test_position_does_not_matter(dtype, beta):
    x = normal(2 * 1031, dtype=dtype, scale=15)
    x[:8] = torch.tensor([0.0, -0.0, INF, -INF, NAN, -90, 90, 20])
    whole = everything(x, beta)

    def pick(index) -> dict[str, Tensor]:
        return {name: value[index] for name, value in whole.items()}

    order = torch.randperm(x.numel(), generator=torch.Generator().manual_seed(1))
    hold_same(everything(x[order], beta), pick(order))
    for index in (slice(1, None), slice(3, 777), slice(None, None, 2), slice(5, None, 7)):
        hold_same(everything(x[index], beta), pick(index))
    turned = {name: value.view(2, 1031).t() for name, value in whole.items()}
    hold_same(everything(x.view(2, 1031).t(), beta), turned)


@each_isa
@each_dtype
def test_length_does_not_matter(dtype):
    x = normal(200, dtype=dtype, scale=15)
    whole = {beta: everything(x, beta) for beta in (1.0, 0.7)}
    for n in range(200):
        beta = (1.0, 0.7)[n % 2]
        got = everything(x[200 - n :], beta)
        hold_same(got, {name: value[200 - n :] for name, value in whole[beta].items()})


@each_isa
@each_dtype
def test_threads_and_chunks_do_not_matter(dtype):
    x = normal(32768 * 3 + 17, dtype=dtype, scale=15)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        whole = everything(x)
        strided = everything(x[::2])
        torch.set_num_threads(2)
        hold_same(everything(x), whole)
        hold_same(everything(x[::2]), strided)
        torch.set_num_threads(3)
        hold_same(everything(x), whole)
    finally:
        torch.set_num_threads(threads)
    pieces = [everything(piece) for piece in x.split([32767, 32769, 511, 1, 32256, 17])]
    hold_same({name: torch.cat([p[name] for p in pieces]) for name in whole}, whole)
    hold_same(strided, {name: value[::2] for name, value in whole.items()})


PASSES = {
    "forward": lambda x, _: torch.ops.softplus.forward(x, 1.0, 50.0),
    "in place": lambda x, _: softplus_(x),
    "out": lambda x, y: softplus(x, out=y),
    "backward": lambda x, y: torch.ops.softplus.backward(x, y, 1.0, 50.0, True),
    "double backward": lambda x, y: torch.ops.softplus.double_backward(
        x, x, y, 1.0, 50.0, True, True
    ),
    "shifted": lambda x, _: torch.ops.softplus.shifted(x, 1.0, None),
    "inverse": lambda x, _: torch.ops.softplus.inverse(x, 1.0),
}


@pytest.mark.parametrize("run", PASSES.values(), ids=PASSES.keys())
@pytest.mark.parametrize("step", [1, 2], ids=["contiguous", "strided"])
def test_every_thread_has_its_share(run, step):
    """Of two threads the other one takes half of the work: seen in the CPU time of each.

    Half, where nothing disturbs: a machine that keeps the other thread waiting has this one spin.
    Over a tenth of a second, for a thread that runs elsewhere is accounted for every few
    milliseconds.
    """
    x, y = normal(2**20 * step).abs()[::step], torch.zeros(2**20 * step)[::step]
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        run(x, y)  # starts the other thread
        here, everywhere = time.thread_time(), time.process_time()
        while time.thread_time() - here < 0.1:
            run(x, y)
        here, everywhere = time.thread_time() - here, time.process_time() - everywhere
    finally:
        torch.set_num_threads(threads)
    assert everywhere > 1.1 * here


# Layouts


LAYOUTS = {
    "contiguous": lambda x: x,
    "channels_last": lambda x: x.to(memory_format=torch.channels_last),
    "transposed": lambda x: x.transpose(1, 3),
    "permuted": lambda x: x.permute(2, 0, 3, 1),
    "strided": lambda x: x[:, ::2, 1:, ::3],
    "expanded": lambda x: x[:1].expand(4, -1, -1, -1),
    "all one element": lambda x: x[0, 0, 0, 0].expand(3, 5),
    "zero-size": lambda x: x[:, :0],
    "0-dim": lambda x: x[1, 1, 1, 1],
    "one element": lambda x: x[1, 1, 1, 1].view(1, 1),
    "flipped": lambda x: x.flip(0, 3),
}


@each_isa
@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS.keys())
@each_dtype
def test_any_layout(dtype, layout):
    x = layout(normal(4, 6, 7, 9, dtype=dtype))
    wanted = {name: value.view(x.shape) for name, value in everything(x.flatten()).items()}
    got = everything(x)
    hold_same(got, wanted)
    theirs = functional.softplus(x)
    assert got["forward"].stride() == theirs.stride()
    assert got["forward"].shape == theirs.shape
    if layout is LAYOUTS["channels_last"]:
        assert got["backward"].is_contiguous(memory_format=torch.channels_last)


def view_of(draw, sizes: list[int], dtype: torch.dtype, *, repeats: bool = True) -> Tensor:
    """Draw a tensor of these sizes over memory in any order, with an offset, gaps and repeats."""
    dimensions = range(len(sizes))
    order = draw(st.permutations(dimensions))
    steps = [draw(st.integers(1, 3)) for _ in dimensions]
    offset = draw(st.integers(0, 9))
    spread = [sizes[d] * steps[d] for d in order]
    memory = normal(offset + math.prod(spread), dtype=dtype, scale=15)
    x = memory[offset:].view(spread).permute([order.index(d) for d in dimensions])
    x = x[tuple(slice(None, None, step) for step in steps)]
    for d in dimensions:
        if repeats and draw(st.integers(0, 5)) == 0:
            x = x.narrow(d, 0, min(1, sizes[d])).expand(sizes)
    return x


@each_isa
@each_dtype
@settings(
    deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data(), beta=st.sampled_from([1.0, 0.7, -3.0]))
def test_any_shape_and_strides(dtype, data, beta):
    sizes = data.draw(st.lists(st.integers(0, 7), max_size=4))
    x, g = (view_of(data.draw, sizes, dtype) for _ in range(2))
    flat = everything(x.flatten(), beta)
    hold_same(everything(x, beta), {name: value.view(sizes) for name, value in flat.items()})
    leaf, flat_leaf = x.detach().requires_grad_(), x.flatten().detach().requires_grad_()
    (gradient,) = torch.autograd.grad(softplus(leaf, beta), leaf, g)
    (wanted,) = torch.autograd.grad(softplus(flat_leaf, beta), flat_leaf, g.flatten())
    assert same_bits(gradient, wanted.view(sizes))
    out = view_of(data.draw, sizes, dtype, repeats=False)
    strides = out.stride()
    assert same_bits(softplus(x, beta, out=out), flat["forward"].view(sizes))
    assert out.stride() == strides
    assert same_bits(softplus_(out.copy_(x), beta), flat["forward"].view(sizes))


@each_isa
@pytest.mark.parametrize("offset", range(1, 16))
@each_dtype
def test_misaligned_memory(dtype, offset):
    x = normal(300, dtype=dtype)
    buffer = torch.empty(300 + 16, dtype=dtype)
    view = buffer[offset : offset + 300].copy_(x)
    assert same_bits(softplus(view), softplus(x))
    before = buffer.clone()
    softplus_(view)
    assert same_bits(view, softplus(x))
    assert same_bits(buffer[:offset], before[:offset])
    assert same_bits(buffer[offset + 300 :], before[offset + 300 :])


@each_isa
@each_dtype
def test_out_of_any_layout(dtype):
    x = normal(8, 9, dtype=dtype)
    wanted = softplus(x, 2.0)
    for out in (
        torch.empty(8, 9, dtype=dtype),
        torch.empty(9, 8, dtype=dtype).t(),
        torch.empty(8, 18, dtype=dtype)[:, ::2],
        torch.empty(0, dtype=dtype),
    ):
        assert softplus(x, 2.0, out=out) is out
        assert same_bits(out, wanted)
    assert same_bits(softplus(x, 2.0, out=x), wanted)


@each_isa
def test_out_that_overlaps_the_input_in_part_is_refused():
    x = normal(100)
    before = x.clone()
    with pytest.raises(RuntimeError, match="memory location"):
        softplus(x[:-1], out=x[1:])
    assert same_bits(x, before)


@pytest.mark.slow
@each_half
def test_more_than_2_to_the_31_elements(dtype):
    n = 2**31 + 1000
    pattern = normal(1009, dtype=dtype)
    x = torch.empty(n, dtype=dtype)
    blocks = n // 1009
    x[: blocks * 1009].view(blocks, 1009).copy_(pattern.expand(blocks, 1009))
    x[blocks * 1009 :] = pattern[: n - blocks * 1009]
    wanted = softplus(pattern)
    softplus_(x)
    ends = [0, 1, 2**31 - 513, 2**31 - 1, 2**31, 2**31 + 1, n - 1]
    assert same_bits(x[ends], wanted[[end % 1009 for end in ends]])
    assert torch.equal(x[: blocks * 1009].view(blocks, 1009), wanted.expand(blocks, 1009))


@pytest.mark.slow
def test_more_than_2_to_the_31_elements_of_strided_memory():
    x = torch.tensor([[-1.0], [2.0]], dtype=torch.bfloat16).expand(2, 2**30 + 5)
    y = softplus(x)
    assert (y[0] == softplus(x[0, 0])).all()
    assert (y[1] == softplus(x[1, 0])).all()


# Autograd


def kept(module: nn.Module, x: Tensor) -> list[Tensor]:
    """Return the tensors that a call keeps for backward."""
    tensors = []

    def pack(tensor: Tensor) -> Tensor:
        tensors.append(tensor)
        return tensor

    with saved_tensors_hooks(pack, lambda tensor: tensor):
        result = module(x)
    assert result.requires_grad
    return tensors


@each_dtype
@pytest.mark.parametrize("threshold", [None, 20.0, 30, 5.0])
def test_what_is_kept_for_backward(dtype, threshold):
    x = normal(50, dtype=dtype).requires_grad_()
    results = []
    tensors = kept(lambda x: results.append(softplus(x, 2.0, threshold)) or results[0], x)
    of_output = dtype != torch.float16 and threshold != 5
    wanted = results[0] if of_output else x
    assert [tensor.data_ptr() for tensor in tensors] == [wanted.data_ptr()]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("inplace", [False, True])
def test_an_mlp_keeps_what_it_keeps_with_relu(dtype, inplace):
    def bytes_kept(activation: nn.Module) -> list[int]:
        torch.manual_seed(0)
        layers = [nn.Linear(20, 30), activation, nn.Linear(30, 30), activation, nn.Linear(30, 1)]
        model = nn.Sequential(*layers).to(dtype)
        storages = {}
        for tensor in kept(model, normal(64, 20, dtype=dtype)):
            storages[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return sorted(storages.values())

    ours = bytes_kept(Softplus(beta=10, inplace=inplace))
    assert ours == bytes_kept(nn.ReLU(inplace=inplace))
    assert sum(bytes_kept(nn.Softplus(beta=10))) > sum(ours)


def test_the_input_is_freed_where_the_output_is_kept():
    x = normal(100).requires_grad_() * 1
    y = softplus(x)
    gone = weakref.ref(x.untyped_storage())
    del x
    assert gone() is None
    y.sum().backward()


@each_isa
@pytest.mark.parametrize("beta", [1.0, 0.7, -2.0, 10.0])
@pytest.mark.parametrize("threshold", [None, 5.0])
def test_gradcheck_to_third_order(beta, threshold):
    x = (normal(12, dtype=torch.float64) / abs(beta)).requires_grad_()
    x.data[0] = 0

    def function(x: Tensor) -> Tensor:
        return softplus(x, beta, threshold)

    def gradient(x: Tensor) -> Tensor:
        (first,) = torch.autograd.grad(function(x).square().sum(), x, create_graph=True)
        return first

    assert torch.autograd.gradcheck(function, x)
    assert torch.autograd.gradgradcheck(function, x)
    assert torch.autograd.gradgradcheck(gradient, x)
    assert torch.autograd.gradgradcheck(lambda x: shifted_softplus(x, beta), x)
    assert torch.autograd.gradgradcheck(logsigmoid, x)
    assert torch.autograd.gradgradcheck(lambda y: inverse_softplus(y.square() + 0.1, abs(beta)), x)


@each_isa
@each_dtype
@pytest.mark.parametrize("threshold", [None, 5.0])
def test_third_derivative(dtype, threshold):
    values = [-6.0, -1.5, -0.0, 0.25, 2.0, 4.0, 17.0]
    x = torch.tensor(values, dtype=dtype, requires_grad=True)
    result = softplus(x, 1.0, threshold)
    for _ in range(3):
        (result,) = torch.autograd.grad(result.sum(), x, create_graph=True)
    wanted = [float(references.derivatives(v)[3]) for v in values]
    if threshold:
        wanted[-1] = 0.0
    bound = 3e-2 if dtype in HALVES else 2e-5
    assert result.tolist() == pytest.approx(wanted, rel=bound, abs=bound if dtype in HALVES else 0)


@each_isa
def test_double_backward_of_large_gradients_does_not_overflow():
    """Each order of a product of three: the result is finite, and so is every step to it."""
    x = torch.tensor([-40.0] * 3, requires_grad=True)
    g = torch.tensor([1e25, 1e-25, 1.0], requires_grad=True)
    (first,) = torch.autograd.grad(softplus(x), x, g, create_graph=True)
    (second,) = torch.autograd.grad(first, x, torch.tensor([1e25, 1e25, 1e30]))
    wanted = exact(x.detach())[2] * g.detach().double() * torch.tensor([1e25, 1e25, 1e30])
    assert torch.allclose(second.double()[1:], wanted[1:], rtol=1e-5)
    assert not second.isnan().any()


@each_isa
@each_dtype
def test_in_place_with_autograd(dtype):
    x = normal(60, dtype=dtype).requires_grad_()
    g = normal(60, dtype=dtype, scale=0.5)
    wanted = softplus(x, 2.0)
    (first,) = torch.autograd.grad(wanted, x, g)
    through = x * 1
    result = softplus_(through, 2.0)
    assert result is through
    assert same_bits(result, wanted)
    assert result.grad_fn is not None
    assert same(torch.autograd.grad(result, x, g)[0], first)


@each_isa
@each_dtype
def test_in_place_on_a_view(dtype):
    x = normal(6, 10, dtype=dtype).requires_grad_()
    base = x * 1
    softplus_(base[2:4, ::2])
    base.sum().backward()
    wanted = torch.ones_like(x)
    leaf = x.detach()[2:4, ::2].clone().requires_grad_()
    softplus(leaf).sum().backward()
    wanted[2:4, ::2] = leaf.grad
    assert same(x.grad, wanted)
    assert same(base.detach()[2:4, ::2], softplus(x.detach())[2:4, ::2])


VIEWS = {
    "slice": lambda x: x[:2],
    "transposed": lambda x: x.t(),
    "view of a view": lambda x: x.view(-1)[1:].view(2, 4),
    "whole": lambda x: x.view(3, 3),
    "diagonal": torch.diagonal,
}


@pytest.mark.parametrize("threshold", [None, 5.0])
@pytest.mark.parametrize("view", VIEWS.values(), ids=VIEWS.keys())
def test_double_backward_of_a_view_in_place(view, threshold):
    """The gradient of the view's base, which PyTorch's own writing over a view gives."""
    weight = normal(3, 3, dtype=torch.float64)

    def derivatives_of(write) -> list[Tensor]:
        x = normal(3, 3, dtype=torch.float64).requires_grad_()
        base = x * x
        write(view(base))
        (first,) = torch.autograd.grad((base * weight).sum(), x, create_graph=True)
        (second,) = torch.autograd.grad((first * weight.t()).sum(), x, create_graph=True)
        return [first, second, *torch.autograd.grad(second.sum(), x)]

    ours = derivatives_of(lambda x: softplus_(x, 2.0, threshold))
    copied = derivatives_of(lambda x: x.copy_(softplus(x.clone(), 2.0, threshold)))
    for got, wanted in zip(ours, copied, strict=True):
        assert torch.allclose(got, wanted, rtol=1e-12, atol=1e-12)


def test_in_place_after_a_linear_layer_of_three_dimensions():
    """Whose result is a view: a gradient penalty goes through it."""

    def penalty_gradients(*, inplace: bool) -> tuple[Tensor, ...]:
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(4, 4), Softplus(inplace=inplace), nn.Linear(4, 1)).double()
        x = normal(2, 5, 4, dtype=torch.float64).requires_grad_()
        (gradient,) = torch.autograd.grad(model(x).sum(), x, create_graph=True)
        return torch.autograd.grad(gradient.square().sum(), list(model[0].parameters()))

    assert all(map(same, penalty_gradients(inplace=True), penalty_gradients(inplace=False)))


def test_a_view_written_over_is_freed_without_a_backward():
    base = normal(6).requires_grad_() * 1
    gone = weakref.ref(base.untyped_storage())
    softplus_(base[:3])
    del base
    assert gone() is None


@pytest.mark.parametrize("function", [softplus_, lambda x: softplus(normal(6), out=x)])
def test_an_inference_tensor_is_overwritten_in_inference_mode_alone(function):
    with torch.inference_mode():
        x = normal(6)
        before = x.clone()
    with pytest.raises(RuntimeError, match=r"made in inference mode .*overwrite its clone\(\)"):
        function(x)
    assert same_bits(x, before)
    with torch.inference_mode():
        assert same_bits(softplus_(x), softplus(before))


@each_dtype
@pytest.mark.parametrize("threshold", [None, 5.0])
@pytest.mark.parametrize("view", [False, True])
def test_in_place_on_a_leaf_is_refused(dtype, threshold, view):
    x = normal(20, dtype=dtype).requires_grad_()
    before, version = x.detach().clone(), x._version
    with pytest.raises(RuntimeError, match="leaf Variable"):
        softplus_(x[3:] if view else x, 1.0, threshold)
    assert same_bits(x, before)
    assert x._version == version
    with torch.no_grad():
        softplus_(x, 1.0, threshold)
    assert same_bits(x, softplus(before, 1.0, threshold))


@each_dtype
@pytest.mark.parametrize("grad", [False, True])
def test_in_place_on_expanded_memory_is_refused(dtype, grad):
    x = normal(3, 1, dtype=dtype).requires_grad_(grad) * 1
    expanded = x.expand(3, 4)
    before, version = x.detach().clone(), x._version
    with pytest.raises(RuntimeError, match="single memory location"):
        softplus_(expanded)
    assert same_bits(x, before)
    assert x._version == version
    with pytest.raises(RuntimeError, match="single memory location"):
        softplus(normal(3, 4, dtype=dtype), out=expanded.detach())
    assert same_bits(x, before)


def test_in_place_on_what_another_operation_saved_raises_in_its_backward():
    x = normal(20).requires_grad_()
    saved = x.exp()
    softplus_(saved[5:])
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        saved.sum().backward()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("inplace", [False, True])
def test_changing_a_saved_result_raises_as_with_relu(dtype, inplace):
    x = normal(20, dtype=dtype).requires_grad_()
    for activation in (Softplus(inplace=inplace), nn.ReLU(inplace=inplace)):
        result = activation(x * 1)
        result.add_(1)
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            result.sum().backward()


def test_changing_a_result_that_is_not_saved_is_allowed():
    x = normal(20).requires_grad_()
    result = softplus(x, 1.0, 5.0)
    result.add_(1)
    result.sum().backward()
    assert torch.allclose(x.grad, torch.sigmoid(x.detach()).where(x <= 5, 1.0), atol=1e-6)


@each_dtype
def test_version_counters(dtype):
    x, out = normal(20, dtype=dtype), torch.empty(20, dtype=dtype)
    softplus(x, out=out)
    assert (x._version, out._version) == (0, 1)
    softplus_(x)
    softplus(x, inplace=True)
    assert x._version == 2
    y = (x * 1).requires_grad_() * 1
    softplus_(y)
    assert y._version == 1
    z = softplus(x)
    assert (z._version, x._version) == (0, 2)


@each_isa
@each_dtype
def test_no_grad_and_inference_mode(dtype):
    leaf = normal(20, dtype=dtype).requires_grad_()
    wanted = softplus(leaf).detach()
    with torch.no_grad():
        assert kept_nothing(softplus(leaf))
        assert same_bits(softplus(leaf, out=torch.empty_like(leaf)), wanted)
    with torch.inference_mode():
        result = softplus(leaf)
        assert result.is_inference()
        assert same_bits(result, wanted)
        assert same_bits(softplus_(leaf.detach().clone()), wanted)
        inside = normal(20, dtype=dtype)
        assert same_bits(softplus(leaf, out=inside), wanted)
    assert same_bits(softplus(inside), softplus(wanted))
    assert same_bits(shifted_softplus(inside), shifted_softplus(wanted))
    assert same_bits(softplus_(result.clone()), softplus(wanted))


def kept_nothing(result: Tensor) -> bool:
    """Whether a result has no history."""
    return result.grad_fn is None and not result.requires_grad


@each_isa
@each_dtype
def test_kernels_and_definition_agree(dtype):
    x = normal(1000, dtype=dtype)
    for beta in (1.0, 0.3, -2.0):
        assert same(softplus(x, beta), definition.softplus(x, beta))
        assert same(softplus(x, beta, 5.0), definition.softplus(x, beta, 5.0))
        # a shift that takes the result away from 0: nothing cancels
        shift = -math.copysign(0.3, beta)
        assert same(shifted_softplus(x, beta, shift), definition.shifted_softplus(x, beta, shift))


# Threads and processes


@each_isa
def test_python_threads_at_once():
    x = normal(40_000).requires_grad_()
    wanted = derivatives(x)
    failures = []

    def work() -> None:
        for _ in range(20):
            got = derivatives(x)
            failures.extend(index for index in range(3) if not same_bits(got[index], wanted[index]))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


AFTER_FORK = """
import os, torch
from softplus import softplus
x = torch.linspace(-5, 5, 1001)
wanted = softplus(x)
child = os.fork()
if child == 0:
    leaf = x.clone().requires_grad_()
    softplus(leaf).sum().backward()
    os._exit(0 if torch.equal(softplus(x), wanted) and leaf.grad.isfinite().all() else 1)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
"""


@pytest.mark.skipif(not hasattr(sys, "getswitchinterval") or sys.platform == "win32", reason="fork")
def test_after_fork():
    subprocess.run([sys.executable, "-c", AFTER_FORK], check=True, timeout=60)
