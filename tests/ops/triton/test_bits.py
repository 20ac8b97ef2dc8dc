"""The GPU kernels in Triton's interpreter beside the CPU's: the same bits where they should be."""

import functools

import pytest
import torch
from torch import Tensor

from calls import normal
from instruction_sets import DTYPES, HALVES, each_dtype
from interpreting import beside_the_cpu, launcher
from references import same_bits
from ulp import patterns

pytestmark = beside_the_cpu

# Of others, as 0.7, the CPU has the error of 1/beta to the digits of a long double, which are not
# many, nor the same on every machine; the GPU has it exactly.
BETAS = [1.0, -1.0, 0.1, -3.0, 100.0]
each_beta = pytest.mark.parametrize("beta", BETAS)


def inputs(dtype: torch.dtype, beta: float) -> Tensor:
    """Return inputs of every kind but those that lead to subnormal numbers."""
    x = torch.cat([patterns(1_048_583).double(), normal(4000).double(), normal(99, scale=40)])
    x = (x[(x.abs() > 1e-30) & (x.abs() < 1e30)] / abs(beta)).to(dtype)
    return x[x.isfinite() & (x != 0)]


def hold_same(name: str, arguments: tuple, *, within: float = 0.0) -> None:
    """Hold that every result that is normal on the CPU has its bits on the GPU, or nearly."""
    gpu = launcher().OPERATORS[name](*arguments)
    wanted = getattr(torch.ops.softplus, name)(*arguments)
    for one, other in zip(
        *(r if isinstance(r, tuple) else (r,) for r in (gpu, wanted)), strict=True
    ):
        normal_ones = other.abs() >= torch.finfo(other.dtype).tiny * (2 if name[0] == "d" else 1)
        assert normal_ones.float().mean() > 0.3
        one, other = one[normal_ones], other[normal_ones]  # noqa: PLW2901 -- these alone
        assert torch.allclose(one, other, within, 0) if within else same_bits(one, other)


@functools.cache
def gradients(dtype: torch.dtype, n: int) -> tuple[Tensor, Tensor]:
    """Return two gradients of ordinary size for every input."""
    generator = torch.Generator().manual_seed(1)
    drawn = torch.rand(2, n, generator=generator, dtype=torch.float64) + 0.5
    return tuple((drawn * torch.tensor([1.0, -1.0])[torch.arange(n) % 2]).to(dtype))


@each_dtype
@each_beta
@pytest.mark.parametrize("of_output", [True, False])
def test_backward_and_double_backward(dtype, beta, of_output):
    if of_output and dtype == torch.float16:
        pytest.skip("of float16 the input is kept")
    if of_output and dtype == torch.float32 and abs(beta) == 1:
        pytest.skip("of 1 and -1 the CPU has a shorter way")
    x = inputs(dtype, beta)
    g, gg = gradients(dtype, x.numel())
    saved = torch.ops.softplus.forward(x, beta, 20.0) if of_output else x
    keep = saved.abs() >= torch.finfo(dtype).tiny * 4
    saved, g, gg = saved[keep], g[keep], gg[keep]
    hold_same("backward", (g, saved, beta, 20.0, of_output))
    for to_input in (False, True) if of_output else (False,):
        hold_same("double_backward", (gg, g, saved, beta, 20.0, of_output, to_input))


@pytest.mark.parametrize("beta", BETAS[2:])  # of 1 and -1 the CPU has a shorter way
def test_float64(beta):
    x = inputs(torch.float64, beta)
    hold_same("forward", (x, beta, 20.0))
    hold_same("forward", (x, beta, 5.0))
    hold_same("shifted", (x, beta, None))


@each_dtype
@each_beta
def test_the_inverse_and_a_shift_by_a_number(dtype, beta):
    if dtype in HALVES:
        pytest.skip("here the CPU rounds twice, and the GPU once")
    x = inputs(dtype, beta)
    hold_same("inverse", (x.abs() * (1 if beta > 0 else -1), beta))
    hold_same("shifted", (x, beta, 0.3))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shifted", [False, True])
def test_a_beta_for_each_element(dtype, shifted):
    generator = torch.Generator().manual_seed(2)
    drawn = torch.rand(4000, generator=generator, dtype=torch.float64)
    beta = 10 ** (4 * drawn - 2) * torch.tensor([1.0, -1.0], dtype=torch.float64).repeat(2000)
    x = (normal(4000, scale=4) / beta).to(dtype)
    g, gg = (normal(4000, dtype=dtype, scale=s).abs() + 0.1 for s in (1.0, 2.0))
    # The GPU computes in double whatever the dtype, the CPU in float for all but float64.
    within = 0.0 if dtype == torch.float64 else max(1e-6, torch.finfo(dtype).eps)
    for threshold in (20.0,) if shifted else (20.0, 5.0):
        options = threshold, shifted
        hold_same("forward_each", (x, beta, *options), within=within)
        hold_same("backward_each", (g, x, beta, *options), within=within)
        hold_same("double_backward_each", (gg, beta * 0.3, g, x, beta, *options))
