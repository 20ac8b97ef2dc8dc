"""An element's result depends on its value alone: any position, length, layout and alignment."""

import math

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from calls import normal
from instruction_sets import each_dtype, each_half, each_isa
from marks import with_kernels
from references import same_bits
from results import everything, hold_same
from softplus import softplus, softplus_

pytestmark = with_kernels

INF, NAN = math.inf, math.nan


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


@pytest.mark.parametrize("channels", [1, 3, 64, 512, 700])
def test_a_beta_per_channel_is_a_beta_per_element(channels):
    """Betas are gathered by blocks of 512, which a row of them may fill once, or not."""
    wide = normal(5 + 2000 // channels, channels + 1)
    beta = normal(channels).double().expand(len(wide), channels)

    def results(x: Tensor, b: Tensor) -> list[Tensor]:
        forward = torch.ops.softplus.forward_each(x, b, 20.0, False)
        return [forward, *torch.ops.softplus.backward_each(x * 0.3, x, b, 20.0, False)]

    for x in (wide[:, :channels], wide[:, 1:].contiguous()):
        pairs = zip(results(x, beta), results(x, beta.contiguous()), strict=True)
        assert all(same_bits(by_channel, by_element) for by_channel, by_element in pairs)
