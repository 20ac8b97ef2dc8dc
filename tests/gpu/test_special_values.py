"""The GPU kernels at NaN, infinities, zeros, subnormal numbers and thresholds."""

import math

import pytest
import torch
from torch.nn import functional

import references
from calls import normal
from device import DEVICE, here, on_gpu
from instruction_sets import HALVES, each_dtype
from references import same, same_bits
from results import derivatives
from softplus import inverse_softplus, logsigmoid, shifted_softplus, softplus, softplus_
from ulp import subnormal

pytestmark = on_gpu

INF, NAN = math.inf, math.nan


@each_dtype
@pytest.mark.parametrize("beta", [1.0, 0.1, 100.0, 2.0**-60, 2.0**60])
def test_special_values(dtype, beta):
    limits = torch.finfo(dtype)
    x = torch.tensor([NAN, INF, -INF, 0.0, -0.0, limits.max, -limits.max], dtype=dtype)
    forward, first, second = here(derivatives, x, beta)
    half = torch.tensor(math.log(2) / beta, dtype=torch.float64).to(dtype).item()
    if 1e-3 < beta < 1e3:  # else the largest number may be next to 0
        wanted = [NAN, INF, 0, half, half, limits.max, 0]
        assert forward.tolist() == pytest.approx(wanted, rel=limits.eps, nan_ok=True)
        assert first[5:].tolist() == [1, 0]
        assert second[5:].tolist() == [0, 0]
    assert forward[:3].tolist() == pytest.approx([NAN, INF, 0], nan_ok=True)
    assert first[:5].tolist() == pytest.approx([NAN, 1, 0, 0.5, 0.5], abs=0, nan_ok=True)
    assert second[0].isnan()
    assert second[1:3].tolist() == [0, 0]


@each_dtype
@pytest.mark.parametrize("beta", [1.0, 3.0, 0.1, -1.0, 100.0, 1e-3, 1e3])
@pytest.mark.parametrize("threshold", [None, 5.0])
def test_the_gradient_at_0_is_exactly_one_half(dtype, beta, threshold):
    x = torch.tensor([0.0, -0.0] * 20, dtype=dtype)
    assert here(derivatives, x, beta, threshold)[1].tolist() == [0.5] * 40


@each_dtype
@pytest.mark.parametrize("beta", [1.0, 1e-10, 1e10, 2.0**-60, 2.0**60, -0.3, 1e-3, 1e3])
@pytest.mark.parametrize("threshold", [None, 5.0, 0.0, -1.0])
def test_no_nan_comes_from_finite_input(dtype, beta, threshold):
    limits = torch.finfo(dtype)
    edges = [0.0, limits.tiny, limits.smallest_normal / 8, limits.max, limits.eps, 1.0, 17.0, 20.0]
    edges += [88.0, 87.3, 103.9, 104.0, 709.0, 745.0, limits.max / 2, limits.tiny / limits.eps]
    x = torch.tensor([edge for edge in edges if edge <= limits.max], dtype=torch.float64)
    x = torch.cat([x, -x, x / beta, -x / beta]).clamp(-limits.max, limits.max).to(dtype)
    results = here(derivatives, x, beta, threshold)
    for result in results:
        assert not result.isnan().any()
    assert results[1].ge(0).all()
    assert results[1].le(1).all()
    assert not here(softplus_, x.clone(), beta, threshold).isnan().any()
    assert not here(shifted_softplus, x, beta).isnan().any()
    assert not here(logsigmoid, x).isnan().any()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_subnormal_results_are_kept(dtype):
    lowest = -744 if dtype == torch.float64 else -90 if dtype == torch.bfloat16 else -103
    x = torch.linspace(lowest, lowest + 12, 500, dtype=torch.float64).to(dtype)
    forward, first, second = here(derivatives, x)
    assert subnormal(forward).any()
    for result in (forward, first, second):
        assert (result > 0).all()
    assert (here(shifted_softplus, x, 1.0, 0.0) > 0).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_subnormal_inputs_are_numbers(dtype):
    limits = torch.finfo(dtype)
    x = torch.tensor([limits.tiny / 2, -limits.tiny / 2, limits.tiny / 4], dtype=dtype)
    wanted = [references.inverse_softplus(v) for v in x[::2].tolist()]
    assert max(references.ulp_errors(here(inverse_softplus, x[::2]), wanted)) <= 2
    assert same_bits(here(shifted_softplus, x), x / 2)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_inverse_at_its_edges(dtype):
    y = torch.tensor([0.0, -0.0, INF, NAN, -1.0, torch.finfo(dtype).max], dtype=dtype)
    wanted = [-INF, -INF, INF, NAN, NAN, torch.finfo(dtype).max]
    assert here(inverse_softplus, y).tolist() == pytest.approx(wanted, nan_ok=True)


@each_dtype
@pytest.mark.parametrize("beta", [1.0, 0.7, -2.0])
@pytest.mark.parametrize("threshold", [5.0, 0.0, -3.0, 19.99])
def test_a_threshold_gives_pytorch_s_reversion(dtype, beta, threshold):
    x = torch.cat([normal(2000, dtype=dtype, scale=8), torch.tensor([5, -5, 0], dtype=dtype)])
    forward, first, second = here(derivatives, x, beta, threshold)
    linear = x.to(torch.float64 if dtype == torch.float64 else torch.float32) * beta > threshold
    assert same_bits(forward[linear], x[linear])
    assert (first[linear] == 1).all()
    assert (second[linear] == 0).all()
    for got, wanted in zip((forward, first), here(derivatives, x, beta), strict=False):
        assert same(got[~linear], wanted[~linear]) or dtype in HALVES
    theirs = functional.softplus(x, beta, threshold)
    assert torch.allclose(forward.double(), theirs.double(), rtol=8e-3 if dtype in HALVES else 1e-5)


def test_an_infinite_input_gives_beta_its_limit():
    x = torch.tensor([1.0, INF, -INF], device=DEVICE)
    beta = torch.tensor(2.0, device=DEVICE, requires_grad=True)
    softplus(x, beta).sum().backward()
    wanted = references.beta_derivatives(1.0, 2.0)[0]
    assert beta.grad.item() == pytest.approx(float(wanted), rel=1e-6)


def test_two_large_gradients_do_not_overflow_on_the_way():
    x = torch.tensor([0.7], dtype=torch.float16, device=DEVICE, requires_grad=True)
    g = torch.tensor([300.0], dtype=torch.float16, device=DEVICE)
    (first,) = torch.autograd.grad(softplus(x), x, g, create_graph=True)
    (second,) = torch.autograd.grad(first, x, g)
    wanted = 9e4 * float(references.derivatives(x.item())[2])
    assert second.item() == pytest.approx(wanted, rel=1e-3)
