"""GPU kernels on tensors of any layout, in place, and what autograd keeps of them."""

import math

import pytest
import torch
from torch import Tensor, nn

from calls import normal
from device import DEVICE, on_gpu
from instruction_sets import each_dtype
from references import same_bits
from softplus import Softplus, inverse_softplus, shifted_softplus, softplus, softplus_

pytestmark = on_gpu


def on_device(*shape: int, **options) -> Tensor:
    """Return values of both signs on the device."""
    return normal(*shape, **options).to(DEVICE)


BASE = (6, 8, 130)
LAYOUTS = {
    "contiguous": lambda x: x,
    "transposed": lambda x: x.transpose(0, 2),
    "channels last": lambda x: x[None].to(memory_format=torch.channels_last),
    "long rows": lambda x: x[..., :100],
    "long rows, of rows": lambda x: x[:, 2:7, 3:99],
    "rows far apart": lambda x: x[::2],
    "rows at two distances": lambda x: x[:, 1:7:3],
    "short rows": lambda x: x[..., :5],
    "every other element": lambda x: x[..., ::2],
    "expanded": lambda x: x[:1].expand(BASE),
    "expanded rows": lambda x: x[0, 0].expand(BASE),
    "one number": lambda x: x[0, 0, 0].expand(BASE),
    "scalar": lambda x: x[0, 0, 0],
    "empty": lambda x: x[:0],
    "offset": lambda x: x.flatten()[1:],
}
each_layout = pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS.keys())


@each_layout
@each_dtype
def test_a_layout_changes_no_bit(layout, dtype):
    x = layout(on_device(*BASE, dtype=dtype))
    dense = x.contiguous()
    for function in (softplus, shifted_softplus, lambda v: inverse_softplus(v.abs())):
        result = function(x)
        assert same_bits(result, function(dense))
        assert result.stride() == torch.empty_like(x).stride()


@each_layout
@pytest.mark.parametrize("of_gradient", LAYOUTS.values(), ids=LAYOUTS.keys())
def test_a_gradient_of_any_layout(layout, of_gradient):
    x = layout(on_device(*BASE))
    g = of_gradient(on_device(*BASE, scale=1))
    if g.shape != x.shape:
        g = g.flatten()[0].expand(x.shape) if g.numel() else torch.zeros_like(x)
    results = []
    for value, gradient in ((x, g), (x.contiguous(), g.contiguous())):
        leaf, g_leaf = value.detach().requires_grad_(), gradient.detach().requires_grad_()
        (first,) = torch.autograd.grad(softplus(leaf, 0.7), leaf, g_leaf, create_graph=True)
        second = torch.autograd.grad(first.sum(), (leaf, g_leaf))
        results.append([first.detach(), *second])
    for one, other in zip(*results, strict=True):
        assert same_bits(one, other)


@each_dtype
@pytest.mark.parametrize("shape", [(), (8, 1), (130,), BASE, (6, 1, 1)])
def test_betas_that_broadcast(shape, dtype):
    x = on_device(*BASE, dtype=dtype).requires_grad_()
    beta = on_device(*shape).abs().add(0.1).to(dtype).requires_grad_()
    whole = beta.expand(BASE).contiguous()
    result = softplus(x, beta)
    assert same_bits(result, softplus(x, whole))
    g = on_device(*BASE, dtype=dtype, scale=1)
    to_x, to_beta = torch.autograd.grad(result, (x, beta), g, create_graph=True)
    assert same_bits(to_x.detach(), torch.autograd.grad(softplus(x, whole), x, g)[0])
    wide = [v.detach().double().requires_grad_() for v in (x, beta)]
    wanted = torch.autograd.grad(softplus(*wide), wide[1], g.double())[0]
    accuracy = 1e-12 if dtype == torch.float64 else 3 * torch.finfo(dtype).eps
    assert torch.allclose(to_beta.double(), wanted, rtol=accuracy, atol=accuracy)
    assert torch.autograd.grad(to_beta.sum() + to_x.sum(), (x, beta))[1].isfinite().all()


@each_layout
def test_in_place(layout):
    x = layout(on_device(*BASE)).clone()
    wanted = softplus(x, 0.7)
    assert softplus_(x, 0.7) is x
    assert same_bits(x, wanted)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@pytest.mark.parametrize("threshold", [None, 5.0, math.inf])
def test_in_place_under_autograd(dtype, threshold):
    x, g = on_device(*BASE, dtype=dtype), on_device(*BASE, dtype=dtype, scale=1)
    gradients = []
    for inplace in (False, True):
        leaf = x.clone().requires_grad_()
        before = leaf * 1
        result = softplus(before, 0.7, threshold, inplace=inplace)
        assert (result is before) == inplace
        (first,) = torch.autograd.grad(result, leaf, g, create_graph=True)
        gradients.append([first.detach(), torch.autograd.grad(first.sum(), leaf)[0]])
    for one, other in zip(*gradients, strict=True):
        assert same_bits(one, other)


def test_a_leaf_is_refused_before_it_is_written():
    leaf = on_device(*BASE).requires_grad_()
    before = leaf.detach().clone()
    with pytest.raises(RuntimeError, match="leaf"):
        softplus_(leaf)
    assert same_bits(leaf, before)


def test_a_view_in_place():
    base = on_device(2, *BASE).requires_grad_()
    changed = base * 1
    softplus_(changed[0])
    changed.sum().backward()
    leaf = base.detach()[0].requires_grad_()
    softplus(leaf).sum().backward()
    assert same_bits(base.grad[0], leaf.grad)
    assert (base.grad[1] == 1).all()


def test_out():
    x, out = on_device(*BASE), torch.empty(BASE, device=DEVICE)
    assert softplus(x, out=out) is out
    assert same_bits(out, softplus(x))


def test_a_result_changed_in_place_is_refused_with_the_way_out():
    y = softplus(on_device(*BASE).requires_grad_())
    y += 1
    with pytest.raises(RuntimeError, match="threshold=float"):
        y.sum().backward()


def kept(function, x: Tensor) -> list[Tensor]:
    """Return what a call saves for backward."""
    saved = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: saved.append(t) or t, lambda t: t):
        function(x)
    return saved


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_network_keeps_what_relu_keeps(dtype):
    """The output, which the next layer keeps anyway."""
    kept_bytes = []
    for activation in (Softplus(), nn.ReLU()):
        model = nn.Sequential(nn.Linear(64, 64), activation, nn.Linear(64, 64))
        model.to(DEVICE, dtype)
        saved = kept(model, on_device(32, 64, dtype=dtype))
        kept_bytes.append(sum({t.data_ptr(): t.nbytes for t in saved}.values()))
    assert kept_bytes[0] == kept_bytes[1]


@pytest.mark.parametrize(("dtype", "of_output"), [(torch.bfloat16, True), (torch.float16, False)])
def test_what_is_kept(dtype, of_output):
    x = on_device(*BASE, dtype=dtype).requires_grad_()
    (saved,) = kept(softplus, x)
    assert same_bits(saved, softplus(x) if of_output else x)


def test_a_position_does_not_matter():
    x = on_device(70_001, scale=15)
    whole = softplus(x, 0.7)
    for n in (1, 7, 333, 65_537):
        assert same_bits(softplus(x[-n:], 0.7), whole[-n:])
