"""What only a GPU shows: streams, graphs, devices, sizes; and, anywhere, how kernels are chosen."""

import importlib

import pytest
import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from calls import normal
from device import DEVICE, on_gpu, on_real_gpu
from references import same_bits
from softplus import softplus
from softplus.ops import triton

pytestmark = on_gpu


@on_real_gpu
def test_a_stream_of_its_own():
    x = normal(1 << 20).to(DEVICE)
    wanted, aside = softplus(x), torch.cuda.Stream()
    aside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(aside):
        result = softplus(x)
    aside.synchronize()
    assert same_bits(result, wanted)


@on_real_gpu
def test_a_captured_graph_follows_its_input():
    x = normal(1 << 20).to(DEVICE)
    softplus(x)  # compiled before the capture
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        result = softplus(x)
    x.copy_(x.flip(0))
    graph.replay()
    assert same_bits(result, softplus(x))


@on_real_gpu
def test_a_device_that_is_not_the_current_one():
    if torch.cuda.device_count() < 2:
        pytest.skip("one GPU")
    x = normal(1000)
    assert same_bits(softplus(x.to("cuda:1")).cpu(), softplus(x.to("cuda:0")).cpu())


@on_real_gpu
@pytest.mark.slow
def test_more_elements_than_32_bits_count():
    if torch.cuda.mem_get_info()[0] < 16 << 30:
        pytest.skip("too little memory")
    x = torch.zeros(2**31 + 4097, device=DEVICE, dtype=torch.bfloat16)
    x[-3:] = 1
    assert same_bits(softplus(x)[-4096:], softplus(x[-4096:].clone()))


def test_counting_in_64_bits_changes_no_bit(monkeypatch):
    x = normal(5000).to(DEVICE)
    wide = x.view(50, 100)[:, :90]
    wanted = softplus(x), softplus(wide)
    launch = importlib.import_module("softplus.ops.triton.launch")
    monkeypatch.setattr(launch, "_NARROW", 0)
    assert same_bits(softplus(x), wanted[0])
    assert same_bits(softplus(wide), wanted[1])


def second_by_hand(x: Tensor, g: Tensor) -> Tensor:
    """Return the derivative of a sum of squares of the gradient."""
    leaf = x.detach().requires_grad_()
    (first,) = torch.autograd.grad(softplus(leaf), leaf, g, create_graph=True)
    return torch.autograd.grad(first.square().sum(), leaf)[0]


def test_a_double_backward_is_one_pass(monkeypatch):
    """One kernel forward, one backward, one for both derivatives of that."""
    launch = importlib.import_module("softplus.ops.triton.launch")
    x, g = normal(2000).to(DEVICE), normal(2000, scale=1).to(DEVICE)
    launched, launch_one = [], launch._launch

    def counting(kernel, *arguments, **options):
        launched.append(kernel)
        launch_one(kernel, *arguments, **options)

    monkeypatch.setattr(launch, "_launch", counting)
    second = second_by_hand(x, g)
    kernels = importlib.import_module("softplus.ops.triton.kernels")
    assert launched == [kernels.unary, kernels.backward, kernels.double_backward]
    s, t = torch.sigmoid(x.double()), torch.sigmoid(-x.double())
    assert torch.allclose(second.double(), 2 * g.double().square() * s * s * t, rtol=1e-5)


def test_a_third_derivative():
    x = normal(3, dtype=torch.float64).to(DEVICE).requires_grad_()
    assert torch.autograd.gradgradcheck(
        lambda v: torch.autograd.grad(softplus(v).sum(), v, create_graph=True)[0], x
    )


def test_a_mode_sees_one_operator_each_way():
    seen = []

    class Recording(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, operator, types, arguments=(), options=None):
            if operator.namespace == "softplus":
                seen.append(operator._schema.name)
            return operator(*arguments, **(options or {}))

    x = normal(100).to(DEVICE).requires_grad_()
    with Recording():
        result = softplus(x)
        result.sum().backward()
    assert seen == ["softplus::forward", "softplus::backward"]
    assert same_bits(result.detach(), softplus(x.detach()))
    with FlopCounterMode(display=False):
        assert same_bits(softplus(x.detach()), result.detach())


@on_real_gpu
def test_autocast_computes_in_float32_and_keeps_the_output():
    x = normal(1000, dtype=torch.bfloat16).to(DEVICE).requires_grad_()
    with torch.autocast("cuda", torch.bfloat16):
        result = softplus(x)
        assert result.dtype == functional.softplus(x).dtype == torch.float32
    assert same_bits(result.detach(), softplus(x.detach().float()))
    with torch.autocast("cuda", torch.bfloat16), torch.autocast("cuda", enabled=False):
        assert softplus(x).dtype == torch.bfloat16


@on_real_gpu
def test_a_small_tensor_is_for_pytorch(monkeypatch):
    monkeypatch.setattr(triton, "from_bytes", 1 << 20)
    x = torch.zeros(64, device=DEVICE)
    assert not triton.serves(x)
    assert triton.serves(torch.zeros(1 << 18, device=DEVICE))
    assert triton.implementations()["forward"](x, 1.0, 20.0).tolist() == softplus(x).tolist()


@on_real_gpu
def test_compiled_for_the_gpu():
    x = normal(1000).to(DEVICE).requires_grad_()
    compiled = torch.compile(lambda v: softplus(v * 2, 1.5) * 3, fullgraph=True)
    result, wanted = compiled(x), softplus(x * 2, 1.5) * 3
    torch.testing.assert_close(result, wanted, rtol=2e-6, atol=1e-30)
    gradients = [torch.autograd.grad(y.sum(), x)[0] for y in (result, wanted)]
    torch.testing.assert_close(*gradients, rtol=2e-6, atol=1e-30)
