"""The kernels at NaN, infinities, zeros, subnormal numbers and thresholds."""

import math

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch.nn import functional

import references
from calls import normal
from instruction_sets import HALVES, each_dtype, each_isa
from marks import with_kernels
from references import same, same_bits
from results import derivatives
from softplus import inverse_softplus, logsigmoid, shifted_softplus, softplus, softplus_
from ulp import subnormal

pytestmark = with_kernels

INF, NAN = math.inf, math.nan


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
