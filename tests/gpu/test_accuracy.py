"""The accuracy of the GPU kernels against exact results, subnormal ones included."""

import math

import pytest
import torch
from torch import Tensor

import references
from device import here, on_gpu
from instruction_sets import each_half
from results import derivatives
from softplus import inverse_softplus, logsigmoid, shifted_softplus, softplus
from ulp import all_halves, exact, patterns, thin, worst

pytestmark = on_gpu

TINY = torch.finfo(torch.float32).tiny


def hold_unit_beta(x: Tensor, y: Tensor, s: Tensor, curvature: Tensor) -> None:
    """Hold the bounds for beta = 1 over float32 inputs; no result is flushed."""
    forward, first, second = here(derivatives, x)
    assert worst(forward, y, flushed=False) <= 0.95
    assert worst(first, s, flushed=False) <= 2
    relative = (second.double() - curvature).abs() / curvature
    assert (relative[x.abs() <= 20] <= 4e-6).all()
    assert (relative[(y >= TINY) & (curvature >= TINY)] <= 2e-5).all()


def test_float32():
    hold_unit_beta(*thin())


@pytest.mark.slow
def test_float32_at_every_509th_number():
    chunk = 509 * 2**20
    for start in range(0, 2**32, chunk):
        x = patterns(509, start, min(start + chunk, 2**32))
        if x.numel():
            hold_unit_beta(x, *exact(x))


@pytest.mark.slow
def test_float32_where_its_error_is_largest():
    """Every number from -2.6 to -0.9: 0.938 ULP was found."""
    ends = torch.tensor([-0.9, -2.6]).view(torch.int32).tolist()
    for start in range(ends[0], ends[1], 2**20):
        stop = min(start + 2**20, ends[1])
        x = torch.arange(start, stop, dtype=torch.int64).int().view(torch.float32)
        assert worst(here(softplus, x), exact(x)[0]) <= 0.95


BETAS = [1e-3, 0.01, 0.1, 0.3, 0.7, 1 / 3, 2.0, 3.0, 10.0, 100.0, 123.456, 1e3, -1.0, -0.1, -100.0]


@pytest.mark.parametrize("beta", BETAS)
def test_float32_of_any_beta(beta):
    x = torch.cat([patterns(1_048_583), torch.linspace(-100, 40, 20_000) / beta])
    y, s, curvature = exact(x, beta)
    forward, first, second = here(derivatives, x, beta)
    assert worst(forward, y, flushed=False) <= 2
    ordinary = y.abs() >= TINY
    assert worst(first[ordinary], s[ordinary], flushed=False) <= 3
    relative = ((second.double() - curvature) / curvature).abs()
    ordinary &= curvature.abs() >= TINY
    assert (relative[ordinary] <= 2e-5).all()
    assert relative[ordinary & ((x.double() * beta).abs() <= 20)].max() <= 4e-6


@pytest.mark.parametrize("beta", [2.0**-60, 1e-10, 1e10, 1e14, -1e16, 2.0**60])
def test_float32_of_an_extreme_beta(beta):
    size = abs(beta)
    lowest = -103.9 + min(0.0, math.log(size)) if size < 1 else -103.9 + math.log(size)
    x = (torch.linspace(lowest, 40, 50_000, dtype=torch.float64) / beta).float()
    x = x[x.isfinite()]
    y, s, _ = exact(x, beta)
    forward, first, _ = here(derivatives, x, beta)
    assert worst(forward, y, flushed=False) <= 2
    ordinary = y.abs() >= TINY
    assert worst(first[ordinary], s[ordinary], flushed=False) <= 3


@each_half
@pytest.mark.parametrize("beta", [1.0, 0.1, -1.0, 100.0])
def test_every_half_input_is_rounded_correctly(dtype, beta):
    x = all_halves(dtype)
    x = x[x.isfinite()]
    y, s, curvature = exact(x, beta)
    forward, first, second = here(derivatives, x, beta)
    inside = y.abs() < torch.finfo(dtype).max
    assert worst(forward[inside], y[inside], flushed=False) <= (0.5 if abs(beta) == 1 else 0.52)
    ordinary = y.abs() >= torch.finfo(dtype).tiny if dtype == torch.bfloat16 else inside
    assert worst(first[ordinary], s[ordinary], flushed=False) <= (
        1.6 if dtype == torch.bfloat16 else 0.52
    )
    assert not torch.cat([forward, first, second]).isnan().any()
    if dtype == torch.float16:
        assert worst(second, curvature, flushed=False) <= 0.52


def doubles() -> tuple[Tensor, list, list, list]:
    """Return float64 inputs where something happens, and the exact results there."""
    generator = torch.Generator().manual_seed(0)
    drawn = torch.rand(300, generator=generator, dtype=torch.float64)
    sides = torch.tensor([1.0, -1.0], dtype=torch.float64).repeat(150)
    x = torch.cat(
        [
            20 + 20 * drawn[:100],  # PyTorch reverts to x here
            -744 + 784 * drawn,
            2 * drawn * sides,
            torch.tensor([0.0, 1e-300, 700.0, 1e300, -37.5, -600.5, -720.5], dtype=torch.float64),
        ]
    )
    return x, *zip(*(references.derivatives(v)[:3] for v in x.tolist()), strict=True)


def test_float64():
    x, y, s, curvature = doubles()
    forward, first, second = here(derivatives, x)
    assert max(references.ulp_errors(forward, y)) <= 2
    assert max(references.ulp_errors(first, s)) <= 2.5
    pairs = zip(second.tolist(), curvature, strict=True)
    assert max(abs(got / wanted - 1) for got, wanted in pairs if wanted > 2.3e-308) <= 1e-13


@pytest.mark.parametrize("beta", [0.1, 1 / 3, 7.3, -1.0, 1e3, 1e-3])
def test_float64_of_any_beta(beta):
    x = torch.cat([torch.linspace(-740, 40, 150), torch.linspace(-2, 2, 101)]).double() / beta
    y, s, _, _ = zip(*(references.derivatives(v, beta) for v in x.tolist()), strict=True)
    forward, first, _ = here(derivatives, x, beta)
    assert max(references.ulp_errors(forward, y)) <= 2
    ordinary = [i for i, v in enumerate(y) if abs(v) > 2.3e-308]
    errors = references.ulp_errors(first, s)
    assert max(errors[i] for i in ordinary) <= 2.5


@pytest.mark.parametrize("beta", [1.0, 0.1, 10.0, -3.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
def test_the_inverse_near_0_near_ln2_and_large(dtype, beta):
    distances = torch.logspace(-7 if dtype == torch.float32 else -15, -0.5, 30).double()
    y = torch.cat(
        [
            torch.logspace(math.log10(torch.finfo(dtype).tiny), 3, 120, dtype=torch.float64),
            math.log(2) + distances,
            math.log(2) - distances,
            torch.linspace(0.3, 1.2, 50, dtype=torch.float64),
        ]
    )
    y = (y / beta).to(dtype)
    wanted = [references.inverse_softplus(v, beta) for v in y.tolist()]
    assert max(references.ulp_errors(here(inverse_softplus, y, beta), wanted)) <= 2


@pytest.mark.parametrize("beta", [1.0, 0.1, 10.0, -3.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
def test_the_shifted_form_near_0_and_far_away(dtype, beta):
    distances = torch.logspace(-30, 1.6, 100, dtype=torch.float64)
    x = (torch.cat([distances, -distances, torch.zeros(1)]) / beta).to(dtype)
    wanted = [references.shifted_softplus(v, beta) for v in x.tolist()]
    result = here(shifted_softplus, x, beta)
    assert max(references.ulp_errors(result, wanted)) <= 2
    assert result[-1] == 0


@pytest.mark.parametrize("shift", [0.25, -3.0, 30.0])
def test_shifted_by_any_shift_is_the_exact_difference(shift):
    x = patterns(1_048_583)
    wanted = exact(x)[0] - shift
    assert worst(here(shifted_softplus, x, 1.0, shift), wanted, flushed=False) <= 0.51


def test_logsigmoid_and_its_backward():
    x = thin()[0][::7]

    def both(leaf: Tensor) -> list[Tensor]:
        leaf = leaf.requires_grad_()
        result = logsigmoid(leaf)
        return [result.detach(), *torch.autograd.grad(result.sum(), leaf)]

    result, gradient = here(both, x.clone())
    y, s, _ = exact(-x)
    assert worst(result, -y, flushed=False) <= 0.95
    assert worst(gradient, s, flushed=False) <= 2


@pytest.mark.parametrize("beta", [0.1, 1 / 3, 10.0, -100.0])
def test_float32_gradient_from_the_input(beta):
    x = torch.cat([patterns(1_048_583), torch.linspace(-80, 40, 20_000) / beta])
    x = x[x.double() * beta <= 18.9]
    _, s, _ = exact(x, beta)
    assert worst(here(derivatives, x, beta, 19.0)[1], s, flushed=False) <= 2


def both_gradients(x: Tensor, beta: Tensor, form) -> list[Tensor]:
    """Return the result and the gradients towards both."""
    x, beta = x.requires_grad_(), beta.to(x.device).requires_grad_()
    y = form(x, beta)
    return [y.detach(), *torch.autograd.grad(y.sum(), (x, beta))]


@pytest.mark.parametrize("form", [softplus, shifted_softplus])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
def test_a_beta_for_each_element(form, dtype):
    generator = torch.Generator().manual_seed(0)
    drawn = torch.rand(200, generator=generator, dtype=torch.float64)
    beta = (10 ** (4 * drawn - 2) * torch.tensor([1.0, -1.0]).repeat(100)).to(dtype)
    x = (torch.linspace(-70, 40, 200, dtype=torch.float64) / beta.double()).to(dtype)
    y, to_x, to_beta = here(both_gradients, x.clone(), beta.clone(), form)
    pairs = list(zip(x.tolist(), beta.tolist(), strict=True))
    reference = references.softplus if form is softplus else references.shifted_softplus
    bounds = (2, 2.5, 7.1) if dtype == torch.float64 else (0.52, 0.52, 0.52)
    more = 0 if form is softplus else references.ctx.ln2
    slopes = [references.derivatives(v, b)[1] for v, b in pairs]
    of_beta = [
        references.beta_derivatives(v, b)[0] + more / references.mpf(b) ** 2 for v, b in pairs
    ]
    assert max(references.ulp_errors(y, [reference(v, b) for v, b in pairs])) <= bounds[0]
    assert max(references.ulp_errors(to_x, slopes)) <= bounds[1]
    assert max(references.ulp_errors(to_beta, of_beta)) <= bounds[2]
