"""One call on every way that it may take: the same with the C++ entry, with the library, without.

`test_without.py` runs these tests once more where the entry, or the library too, is hidden.
"""

import math

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.masked import masked_tensor
from torch.nn import functional
from torch.utils.checkpoint import checkpoint
from torch.utils.flop_counter import FlopCounterMode

from calls import close, normal
from softplus import (
    Softplus,
    inverse_softplus,
    logsigmoid,
    shifted_softplus,
    softplus,
    softplus_,
)
from softplus.ops import cpu, definition

BETA = torch.tensor([0.5, 1.0, 3.0])

WAYS = {
    "number": lambda x, f=softplus: f(x, 1.5),
    "threshold": lambda x: softplus(x, 1.5, 5.0),
    "kept input": lambda x: softplus(x, 1.5, math.inf),
    "tensor": lambda x: softplus(x, BETA),
    "channels": lambda x: softplus(x, BETA[:2].view(2, 1)),
    "shifted": shifted_softplus,
    "shifted, tensor": lambda x: shifted_softplus(x, BETA),
    "logsigmoid": logsigmoid,
}
each_way = pytest.mark.parametrize("call", WAYS.values(), ids=WAYS.keys())

INVERSE = pytest.param(lambda x: inverse_softplus(softplus(x)), id="inverse")
each_way_and_inverse = pytest.mark.parametrize(
    "call", [*(pytest.param(call, id=name) for name, call in WAYS.items()), INVERSE]
)

MODES = {"none": None, "FLOPs": lambda: FlopCounterMode(display=False)}


def kept(call, x: Tensor) -> list[tuple[torch.Size, torch.dtype, Tensor]]:
    """Return what a call saves for backward."""
    saved = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: saved.append(t) or t, lambda t: t):
        call(x)
    return saved


@each_way_and_inverse
def test_what_is_saved_is_the_same_under_a_mode(call):
    x = normal(2, 3).requires_grad_()
    plain = kept(call, x)
    with FlopCounterMode(display=False):
        under_a_mode = kept(call, x)
    assert len(plain) == len(under_a_mode) > 0
    for one, other in zip(plain, under_a_mode, strict=True):
        assert one.dtype == other.dtype
        assert torch.equal(one, other)


@each_way_and_inverse
@pytest.mark.parametrize("forward", MODES)
@pytest.mark.parametrize("backward", MODES)
def test_a_checkpoint_under_a_mode_of_its_forward_or_backward(call, forward, backward):
    x = normal(2, 3).requires_grad_()
    (wanted,) = torch.autograd.grad(call(x).sum(), x)

    def under(name, function):
        if MODES[name] is None:
            return function()
        with MODES[name]():
            return function()

    y = under(forward, lambda: checkpoint(call, x, use_reentrant=False))
    under(backward, lambda: y.sum().backward())
    assert close(x.grad, wanted)


@each_way
def test_no_more_is_kept_than_by_pytorch(call):
    x = normal(2, 3).requires_grad_()
    one = functional.logsigmoid if call is logsigmoid else functional.softplus
    pytorch = kept(one, x)
    each = kept(lambda x: functional.softplus(x * BETA) / BETA, x)
    of_tensor = call in (WAYS["tensor"], WAYS["channels"], WAYS["shifted, tensor"])
    size = {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in kept(call, x)}
    if of_tensor:
        assert sum(size.values()) <= sum(t.untyped_storage().nbytes() for t in each)
    else:
        assert sum(size.values()) <= sum(t.untyped_storage().nbytes() for t in pytorch)


@each_way
def test_an_undefined_gradient_stays_undefined(call):
    class Stop(torch.autograd.Function):
        """Hand no gradient on."""

        @staticmethod
        def forward(_ctx, x):
            return x.clone()

        @staticmethod
        def backward(_ctx, _grad):
            return None

    x = normal(2, 3).requires_grad_()
    Stop.apply(call(x * 1)).sum().backward()
    assert x.grad is None


def test_a_mode_sees_one_operator():
    x = normal(8).requires_grad_()
    flops = FlopCounterMode(display=False)
    with flops:
        softplus(x).sum().backward()
    with torch.profiler.profile() as profile:
        softplus(x)
    names = {event.name for event in profile.events()}
    wanted = {"softplus::forward"} if cpu.entry_absent is None else {"aten::empty_like"}
    assert names >= (wanted if cpu.absent is None else {"aten::softplus"})


def test_tensors_that_wrap_others_take_pytorch_s_own():
    pieces = [normal(2), normal(3)]
    jagged = torch.nested.nested_tensor(pieces, layout=torch.jagged)
    result = softplus(jagged, 2.0)
    assert type(result) is type(jagged)
    for piece, whole in zip(result.unbind(), pieces, strict=True):
        assert close(piece, softplus(whole, 2.0))
    assert close(Softplus()(jagged).values(), softplus(torch.cat(pieces)))


@pytest.mark.filterwarnings("ignore:.*MaskedTensor:UserWarning")
@pytest.mark.parametrize(
    ("call", "name"),
    [
        (softplus, "input"),
        (lambda x: softplus(x, torch.tensor(2.0)), "input"),
        (lambda x: softplus(normal(3), x), "beta"),
        (lambda x: softplus(normal(3), out=x), "out"),
        (softplus_, "input"),
        (shifted_softplus, "input"),
        (lambda x: shifted_softplus(normal(3), 2.0, x), "shift"),
        (inverse_softplus, "input"),
        (logsigmoid, "input"),
        (Softplus(learnable=True), "input"),
    ],
)
def test_a_masked_tensor_is_refused_with_a_way_out(call, name):
    """PyTorch's own softplus refuses it, and its `where` never returns."""
    masked = masked_tensor(normal(3), torch.tensor([True, False, True]))
    with pytest.raises(TypeError):
        functional.softplus(masked)
    with pytest.raises(TypeError, match=f"{name} must not be a MaskedTensor.*get_data"):
        call(masked)
    result = masked_tensor(softplus(masked.get_data()), masked.get_mask())
    assert close(result.to_tensor(0.0), softplus(normal(3)) * masked.get_mask())


def test_a_fake_tensor_outside_its_mode():
    with FakeTensorMode() as mode:
        fake = mode.from_tensor(normal(3, 4))
    for call in (softplus, shifted_softplus, logsigmoid, lambda x: softplus(x, 2.0, 5.0)):
        result = call(fake)
        assert type(result) is type(fake)
        assert result.shape == (3, 4)
    with FakeTensorMode() as mode:
        leaf = mode.from_tensor(normal(3, 4)).requires_grad_()
    if cpu.absent is None:  # PyTorch differentiates no `where` there, of which the definition is
        inverse_softplus(leaf, 2.0).sum().backward()
        assert type(leaf.grad) is type(leaf)


@pytest.mark.parametrize("function", [softplus, shifted_softplus])
def test_an_infinite_input_leaves_beta_its_second_derivative(function):
    def second(x):
        b = torch.tensor(2.0, requires_grad=True)
        (first,) = torch.autograd.grad(function(x, b).sum(), b, create_graph=True)
        return torch.autograd.grad(first, b)[0]

    assert close(second(torch.tensor([1.0, -math.inf])), second(torch.tensor([1.0, -1e4])))


def test_a_float64_number_less_float32_shifts_keeps_its_digits():
    x, shift = torch.tensor(0.7, dtype=torch.float64), torch.tensor([0.1, 0.2])
    wanted = softplus(x, 2.0) - shift.double()
    for beta in (2.0, torch.tensor(2.0, dtype=torch.float64)):
        assert torch.allclose(shifted_softplus(x, beta, shift), wanted, rtol=1e-15, atol=0)


def test_a_threshold_is_no_tensor():
    for threshold in (torch.tensor(30), torch.tensor(30.0)):
        with pytest.raises(TypeError, match="threshold must be a number"):
            softplus(normal(3), 1.0, threshold)


@pytest.mark.parametrize("dtype", [torch.int64, torch.int32, torch.uint8, torch.bool])
def test_an_integer_in_a_tensor_is_a_number(dtype):
    x, one = normal(5), torch.ones((), dtype=dtype)
    assert torch.equal(softplus(x, one), softplus(x, 1.0))
    assert torch.equal(shifted_softplus(x, one), shifted_softplus(x, 1.0))
    out = torch.empty(5)
    assert torch.equal(softplus(x, one, out=out), softplus(x, 1.0))


def test_a_device_as_a_mode_changes_nothing():
    x = normal(4, 3)
    wanted = [softplus(x), softplus(x, BETA), shifted_softplus(x)]
    with torch.device("cpu"):
        assert all(map(torch.equal, [softplus(x), softplus(x, BETA), shifted_softplus(x)], wanted))


def test_the_limits_of_a_gradient_towards_beta():
    beta = torch.tensor(2.0, requires_grad=True)
    softplus(torch.tensor([1.0, -math.inf, math.inf]), beta).sum().backward()
    assert beta.grad.item() == pytest.approx(-0.0913335, rel=1e-5)


@pytest.mark.parametrize("shifted", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_a_gradient_towards_beta_keeps_its_digits(dtype, shifted):
    """As (x·sigmoid(x) - y) / beta it has none from x = 17 on, in float64 from 37 on."""
    x = torch.cat([torch.linspace(-60, 60, 241), torch.tensor([1e-4, -1e-4, 700.0, -700.0])])
    x = x.to(dtype)
    beta = torch.ones_like(x).requires_grad_()
    function = shifted_softplus if shifted else softplus
    (found,) = torch.autograd.grad(function(x, beta).sum(), beta)
    a = x.abs().to(torch.float64)
    t = torch.exp(-a)
    wanted = -(torch.log1p(t) + a * t / (1 + t)) + shifted * math.log(2)
    # Shifted it is 0 at 0, where digits behind those of ln 2 are lost. Else all but subnormal ones.
    of_computing = torch.finfo(torch.float64 if dtype == torch.float64 else torch.float32)
    absolute = 2 * of_computing.eps if shifted else of_computing.tiny
    relative = 8 * torch.finfo(dtype).eps
    assert torch.allclose(found.double(), wanted, rtol=relative, atol=absolute)


@each_way
def test_backward_twice_gives_the_same(call):
    x = normal(2, 3).requires_grad_()
    y = call(x).sum()
    first, second = (torch.autograd.grad(y, x, retain_graph=True)[0] for _ in range(2))
    assert torch.equal(first, second)


@pytest.mark.parametrize("shifted", [False, True])
def test_gradients_in_a_batch_reach_beta(shifted):
    x, beta = normal(2, 3, dtype=torch.float64), BETA.double().requires_grad_()
    inputs = x.requires_grad_(), beta
    y = shifted_softplus(*inputs) if shifted else softplus(*inputs)
    rows = torch.eye(6, dtype=torch.float64).view(6, 2, 3)
    batched = torch.autograd.grad(y, inputs, rows, is_grads_batched=True, retain_graph=True)
    singly = [torch.autograd.grad(y, inputs, row, retain_graph=True) for row in rows]
    assert all(map(close, batched, map(torch.stack, zip(*singly, strict=True))))


def test_backward_twice_gives_beta_the_same():
    x, beta = normal(2, 3), BETA.clone().requires_grad_()
    y = softplus(x, beta).sum()
    first, second = (torch.autograd.grad(y, beta, retain_graph=True)[0] for _ in range(2))
    assert torch.equal(first, second)


@pytest.mark.parametrize("device", ["meta", "cpu"])
def test_a_result_elsewhere(device):
    x = torch.empty(3, 4, device=device).requires_grad_()
    for call in (
        softplus,
        logsigmoid,
        shifted_softplus,
        lambda x: softplus(x, BETA[:1].to(device)),
    ):
        y = call(x)
        assert (y.shape, y.device.type, y.requires_grad) == ((3, 4), device, True)
    hidden = x * 1
    assert softplus(hidden, inplace=True) is hidden
    with torch.no_grad():
        assert softplus(hidden, inplace=True) is hidden
        assert softplus(x, out=torch.empty(3, 4, device=device)).device.type == device


@each_way
def test_a_second_and_third_derivative(call):
    x = normal(2, 3, dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(call, (x,))
    assert torch.autograd.gradgradcheck(call, (x,))


@each_way
def test_transforms(call):
    x = normal(2, 3, dtype=torch.float64)
    leaf = x.clone().requires_grad_()
    (wanted,) = torch.autograd.grad(call(leaf).sum(), leaf)
    assert close(torch.func.grad(lambda x: call(x).sum())(x), wanted)
    assert close(torch.func.jvp(call, (x,), (torch.ones_like(x),))[1], wanted)
    batch = torch.stack([x, -x])
    assert close(torch.func.vmap(call)(batch), torch.stack([call(x), call(-x)]))
    rows = torch.autograd.grad(
        call(leaf), leaf, torch.eye(6).view(6, 2, 3).double(), is_grads_batched=True
    )[0]
    assert close(rows.sum(0), wanted)
    with torch.autograd.forward_ad.dual_level():
        dual = torch.autograd.forward_ad.make_dual(x, torch.ones_like(x))
        assert close(torch.autograd.forward_ad.unpack_dual(call(dual)).tangent, wanted)


@each_way
def test_compiled(call):
    x = normal(2, 3).requires_grad_()
    compiled = torch.compile(call, fullgraph=True, backend="aot_eager")
    assert close(compiled(x), call(x))
    results = [torch.autograd.grad(f(x).square().sum(), x)[0] for f in (compiled, call)]
    assert close(*results)


def test_a_beta_beyond_the_operators_is_the_definition():
    x = normal(6)
    for beta in (1e-20, 1e20, -1e25):
        assert close(softplus(x, beta), definition.softplus(x, beta))
        assert close(shifted_softplus(x, beta), definition.shifted_softplus(x, beta))


def test_a_module_learns_beta():
    module, x = Softplus(learnable=True), nn.Parameter(normal(4))
    module(x).sum().backward()
    assert module.raw_beta.grad is not None
    assert x.grad is not None
