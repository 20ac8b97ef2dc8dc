"""The accuracy of the kernels on every instruction set, against exact results."""

import functools
import math

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

import references
from calls import normal
from instruction_sets import each_dtype, each_half, each_isa
from marks import with_kernels
from references import same
from results import derivatives
from softplus import inverse_softplus, logsigmoid, shifted_softplus, softplus
from softplus.ops import definition
from ulp import all_halves, exact, patterns, subnormal, thin, units, worst

pytestmark = with_kernels


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
@pytest.mark.parametrize("beta", [1e10, 1e14, -1e16, 1e18])
def test_the_float32_gradient_of_a_large_beta(beta):
    """Outputs down to 2^-126: without FMA, the low half of one so small would be flushed."""
    lowest = math.log(torch.finfo(torch.float32).tiny * abs(beta)) + 0.1
    x = (torch.linspace(lowest, 40, 100_000, dtype=torch.float64) / beta).float()
    _, s, _ = exact(x, beta)
    assert worst(derivatives(x, beta)[1], s) <= 3


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
def test_where_a_shift_cancels_the_digits_of_double_are_left():
    x = torch.linspace(-1.3, -1.2, 10_000)  # softplus(x) - 0.25 is 0 at -1.26
    y = exact(x)[0]
    error = (shifted_softplus(x, 1.0, 0.25).double() - (y - 0.25)).abs()
    assert (error <= (y - 0.25).abs() * 2**-24 + y * 2**-31).all()


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
