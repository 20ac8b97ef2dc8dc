"""The kernels with a beta for each element: accuracy, special values, any position and set."""

import itertools
import math

import pytest
import torch
from torch import Tensor

import beta_of_each as each
import references
from calls import normal
from instruction_sets import HALVES, SETS, each_dtype, each_isa, running
from references import ctx, same_bits, ulp_errors
from results import hold_same
from softplus.ops import cpu, definition
from ulp import subnormal

pytestmark = pytest.mark.skipif(cpu.absent is not None, reason=f"no kernels: {cpu.absent}")

INF, NAN = math.inf, math.nan
each_form = pytest.mark.parametrize("shifted", [False, True], ids=["plain", "shifted"])


SPECIAL_X = [0.0, -0.0, INF, -INF, NAN, -1.0, 1.0, 20.0, -1e-5]
SPECIAL_BETA = [
    0.0,
    -0.0,
    INF,
    -INF,
    NAN,
    5e-324,
    -1e-310,
    2.3e-308,
    1e308,
    1e-38,
    -1e38,
    1.0,
    -2.0,
]


def points(dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Return inputs and betas of 1e-2 to 1e2 in magnitude, whose results are normal numbers."""
    lowest = -690.0 if dtype == torch.float64 else -70.0 if dtype != torch.float16 else -4.0
    generator = torch.Generator().manual_seed(0)
    magnitude = 10 ** (4 * torch.rand(320, generator=generator, dtype=torch.float64) - 2)
    if dtype == torch.float16:
        magnitude = magnitude.clamp(0.05, 20)
    beta = magnitude * torch.tensor([1.0, -1.0], dtype=torch.float64).repeat(160)
    u = torch.cat([torch.linspace(lowest, 40, 160), normal(160, scale=1.5)]).double()
    return (u / beta).to(dtype), beta


def exact(x: Tensor, beta: Tensor, *, shifted: bool) -> dict[str, list]:
    """Return the value and its first and second derivatives towards x (x) and beta (b)."""
    names = ["y", "x", "b", "xx", "xb", "bb"]
    columns = []
    for value, b in zip(x.tolist(), beta.tolist(), strict=True):
        y, s, curvature, _ = references.derivatives(value, b)
        to_b, mixed, twice_b = references.beta_derivatives(value, b)
        if shifted:
            y = references.shifted_softplus(value, b)
            to_b += ctx.ln2 / ctx.mpf(b) ** 2
            twice_b -= 2 * ctx.ln2 / ctx.mpf(b) ** 3
        columns.append([y, s, to_b, curvature, mixed, twice_b])
    return dict(zip(names, map(list, zip(*columns, strict=True)), strict=True))


@each_isa
@each_dtype
@each_form
def test_every_derivative(dtype, shifted):
    x, beta = points(dtype)
    wanted = exact(x, beta, shifted=shifted)
    ones, zeros = torch.ones_like(x), torch.zeros_like(x)
    to_x, to_b = each.backward(ones, x, beta, shifted=shifted)
    by_x = each.double_backward((ones, beta * 0), ones, x, beta, shifted=shifted)
    by_b = each.double_backward((zeros, beta * 0 + 1), ones, x, beta, shifted=shifted)
    got = {"y": each.forward(x, beta, shifted=shifted), "x": to_x, "b": to_b.to(dtype)}
    got |= {"xx": by_x[1], "xb": by_b[1], "bb": by_b[2].to(dtype)}
    assert max(ulp_errors(by_b[0], wanted["b"])) <= (7.06 if dtype == torch.float64 else 0.52)
    assert max(ulp_errors(by_x[2].to(dtype), wanted["xb"])) <= 3
    bounds = {"y": 2, "x": 2, "b": 7.06 if shifted else 5.86, "xx": 3, "xb": 3, "bb": 6}
    if dtype == torch.float32:  # the double backward pass alone is in double
        bounds |= {"b": 7.08 if shifted else 5.23, "xx": 0.52, "xb": 0.52, "bb": 0.52}
    for name, result in got.items():
        if shifted and name == "bb":  # what is left of u² where it cancels is u⁴
            scale = (x.double() ** 2 / beta).abs() + 1 / beta.abs() ** 3
            exact_result = torch.tensor([float(v) for v in wanted["bb"]], dtype=torch.float64)
            error = (by_b[2] - exact_result).abs() / scale
            assert error.max() <= (1e-15 if dtype == torch.float64 else 1e-9)
        else:
            bound = 0.52 if dtype in HALVES else bounds[name]
            assert max(ulp_errors(result, wanted[name])) <= bound, name


@each_isa
@pytest.mark.parametrize("of_beta", [torch.float32, torch.float64])
def test_betas_of_any_size(of_beta):
    """Beyond 2^-50 and 2^50 the kernels in float go through double."""
    size = 2 ** torch.linspace(-60, 60, 121, dtype=torch.float64)
    beta = (size * torch.tensor([1.3, -1.7]).double().repeat(61)[:121]).to(of_beta)
    x = (normal(121, scale=2) / beta).float()
    wanted = exact(x, beta.double(), shifted=False)
    to_x, to_b = each.backward(torch.ones_like(x), x, beta)
    assert max(ulp_errors(each.forward(x, beta), wanted["y"])) <= 2
    assert max(ulp_errors(to_x, wanted["x"])) <= 2
    assert max(ulp_errors(to_b.float(), wanted["b"])) <= 5.23


@each_isa
@pytest.mark.parametrize("dtype", [torch.float32, *HALVES])
def test_a_float32_beta_gives_what_the_same_number_gives_in_float64(dtype):
    x, beta = points(dtype)
    single = torch.cat([beta, torch.tensor(SPECIAL_BETA, dtype=torch.float64)]).float()
    single = single.where(~subnormal(single), 0)  # as which a subnormal one counts
    x = torch.cat([x, normal(len(SPECIAL_BETA), dtype=dtype)])
    results = each.everything(x, single)
    for name, result in each.everything(x, single.double()).items():
        wanted = result.to(results[name].dtype)
        wanted = wanted.where(~subnormal(wanted) | (dtype == torch.float16), wanted * 0)
        assert same_bits(results[name], wanted), name


@each_isa
@each_dtype
def test_position_does_not_matter(dtype):
    """One beta for all, for each row, or for each element: the same bits, by value alone."""
    x = normal(3 * 421, dtype=dtype, scale=15)
    x[:8] = torch.tensor([0.0, -0.0, INF, -INF, NAN, -90, 90, 20])
    betas = torch.tensor([0.7, -3.3, 120.0, 1.0, 1e-30, INF, NAN, -0.0], dtype=torch.float64)
    for_all = [each.everything(x, b.expand(x.shape)) for b in betas]
    which = torch.randint(0, 8, x.shape, generator=torch.Generator().manual_seed(1))
    mixed = each.everything(x, betas[which])
    for i, whole in enumerate(for_all):
        hold_same(
            {name: result[which == i] for name, result in mixed.items()},
            {name: result[which == i] for name, result in whole.items()},
        )
    for n in (0, 1, 7, 64, 333):
        hold_same(
            each.everything(x[-n or x.numel() :], betas[which][-n or x.numel() :]),
            {name: result[-n or x.numel() :] for name, result in mixed.items()},
        )


@pytest.mark.skipif(not {"avx2", "avx512"} <= {*SETS}, reason="no two sets with FMA here")
@each_dtype
def test_two_instruction_sets_give_the_same_bits(dtype):
    x, beta = points(dtype)
    results = []
    for name in ("avx2", "avx512"):
        with running(name):
            results.append(each.everything(x, beta))
    hold_same(*results)


@each_isa
@each_dtype
@each_form
@pytest.mark.parametrize("threshold", [20.0, 5.0, -1.0])
def test_nan_comes_from_nan_alone(dtype, shifted, threshold):
    limits = torch.finfo(dtype)
    values = [*SPECIAL_X, limits.max, -limits.max, limits.tiny]
    x, beta = zip(*itertools.product(values, SPECIAL_BETA), strict=True)
    x = torch.tensor(x, dtype=torch.float64).to(dtype)
    beta = torch.tensor(beta, dtype=torch.float64)
    nan = x.isnan() | beta.isnan()
    assert each.forward(x, beta, threshold, shifted=shifted).isnan().equal(nan)
    for gradient in (0.0, 1.0, -3.0, limits.max):
        g = torch.full_like(x, gradient)
        results = each.backward(g, x, beta, threshold, shifted=shifted)
        for towards_x in (0.0, 1.0):
            towards = torch.full_like(x, towards_x), torch.full_like(beta, 1 - towards_x)
            results += each.double_backward(towards, g, x, beta, threshold, shifted=shifted)
        for result in results:
            assert not result[~nan].isnan().any()
            assert result[nan].isnan().all()


@each_isa
@each_dtype
def test_the_limits_at_infinity(dtype):
    x = torch.tensor([INF, -INF] * 2, dtype=dtype)
    beta = torch.tensor([2.0, 2.0, -0.5, -0.5], dtype=torch.float64)
    ones = torch.ones_like(x)
    for shifted in (False, True):
        ln2 = math.log(2) * shifted
        y = each.forward(x, beta, shifted=shifted).double()
        zero = (-ln2 / beta).tolist()
        assert y.tolist() == pytest.approx([INF, zero[1], zero[2], -INF], rel=1e-2)
        to_x, to_b = each.backward(ones, x, beta, shifted=shifted)
        assert to_x.tolist() == [1, 0, 0, 1]
        rel = 1e-15 if dtype == torch.float64 else 2e-7
        assert to_b.tolist() == pytest.approx((ln2 / beta**2).tolist(), rel=rel)
        to_g, to_x, to_b = each.double_backward(
            (ones, beta * 0 + 1), ones, x, beta, shifted=shifted
        )
        assert to_g.tolist() == pytest.approx(
            [1 + ln2 / 4, ln2 / 4, ln2 * 4, 1 + ln2 * 4], rel=1e-2
        )
        assert to_x.tolist() == [0, 0, 0, 0]
        assert to_b.tolist() == pytest.approx((-2 * ln2 / beta**3).tolist(), rel=1e-15)


@each_isa
@each_dtype
def test_a_threshold_reverts_to_x(dtype):
    x, beta = normal(500, dtype=dtype, scale=8), normal(500).double()
    linear = x.double() * beta > 5
    assert linear.any()
    g, more = normal(500, dtype=dtype, scale=1), normal(500).double()
    y, exact_y = each.forward(x, beta, 5.0), each.forward(x, beta)
    to_x, to_b = each.backward(g, x, beta, 5.0)
    twice = each.double_backward((g, more), g, x, beta, 5.0)
    assert y[linear].equal(x[linear])
    assert y[~linear].equal(exact_y[~linear])
    assert to_x[linear].equal(g[linear])
    assert twice[0][linear].equal(g[linear])
    assert not torch.cat([t[linear].double() for t in (to_b, *twice[1:])]).any()


@each_isa
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_tiny_results_are_zero(dtype):
    lowest = -750 if dtype == torch.float64 else -110
    beta = normal(4000, scale=2).double()
    x = (torch.linspace(lowest, lowest * 0.9, 4000, dtype=torch.float64) / beta).to(dtype)
    for name, result in each.everything(x, beta).items():
        assert result.dtype != dtype or not subnormal(result).any(), name
    assert (each.forward(x, beta) == 0).any()


@each_isa
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("gradient", [300.0, 1e-3, 1e18])
def test_gradients_are_multiplied_in_double(dtype, gradient):
    """19,952.8 for two of 300 at 0.7: their product is no float16."""
    x, beta = torch.full((3,), 0.7, dtype=dtype), torch.ones(3, dtype=torch.float64)
    g = torch.full_like(x, min(gradient, torch.finfo(dtype).max))
    _, to_x, to_b = each.double_backward((g, beta * 0), g, x, beta)
    product = g.double() ** 2
    s = torch.sigmoid(x.double())
    assert to_x.equal((product * s * (1 - s)).to(dtype))
    assert torch.allclose(to_b, product * x.double() * s * (1 - s), rtol=1e-9)


@each_isa
@each_form
def test_kernels_and_definition_agree(shifted):
    x, beta = normal(300).double().requires_grad_(), normal(300).double().requires_grad_()
    function = definition.shifted_softplus if shifted else definition.softplus
    g, more_x, more_b = (normal(300).double().roll(k).requires_grad_(k == 1) for k in (1, 2, 3))
    y = function(x, beta)
    first = torch.autograd.grad(y, (x, beta), g, create_graph=True)
    second = torch.autograd.grad(first, (g, x, beta), (more_x, more_b))
    with torch.no_grad():
        got = [each.forward(x, beta, shifted=shifted), *each.backward(g, x, beta, shifted=shifted)]
        got += each.double_backward((more_x, more_b), g, x, beta, shifted=shifted)
    for result, wanted in zip(got, [y, *first, *second], strict=True):
        assert torch.allclose(result, wanted, rtol=1e-11, atol=1e-11)
