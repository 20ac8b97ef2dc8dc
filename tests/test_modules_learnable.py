"""A learnable beta: where it starts, that it stays positive, its gradient, one for each channel."""

import copy
import itertools
import math

import pytest
import torch
from torch import nn

from calls import normal
from marks import each_dtype
from references import same
from softplus import ShiftedSoftplus, Softplus, shifted_softplus, softplus

FLOOR = 2.0**-14
each_with_beta = pytest.mark.parametrize("kind", [Softplus, ShiftedSoftplus])


@each_with_beta
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
def test_a_learnable_beta_starts_at_the_value_given(kind, dtype):
    """Within 1 ULP from 0.3 on; below, raw_beta, rounded at sizes up to 7.9, resolves no better."""
    generator = torch.Generator().manual_seed(0)
    size = torch.empty(300, dtype=torch.float64)
    size.uniform_(math.log(3.9e-4), math.log(1e6), generator=generator)
    previous = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        betas = [1e-3, 0.05, 0.1, 0.5, 1.0, 2.0, 3.3, 100.0, *size.exp().to(dtype).tolist()]
        for beta in betas:
            module = kind(beta, learnable=True)
            assert module.raw_beta.dtype == dtype
            stored = torch.tensor(beta, dtype=dtype)
            unit = (torch.nextafter(stored, torch.full_like(stored, math.inf)) - stored).item()
            ulps = 1 if beta >= 0.3 else 3 if beta >= 0.02 else 6
            assert abs(module.beta.item() - beta) <= ulps * unit, beta
    finally:
        torch.set_default_dtype(previous)


@each_with_beta
def test_a_beta_made_without_memory_starts_where_it_should(kind):
    """As recipes for large models have it: built on meta, emptied onto a device, reset."""
    with torch.device("meta"):
        model = nn.Sequential(kind(3.0, learnable=True, num_parameters=2), kind(4.0))
    assert model[0].raw_beta.is_meta
    model[0].reset_parameters()
    model.to_empty(device="cpu")
    for module in model:
        module.reset_parameters()
    assert torch.equal(model[0].beta, kind(3.0, learnable=True, num_parameters=2).beta)
    assert model[1].beta == 4.0


@each_with_beta
@each_dtype
def test_reset_parameters_sets_a_learned_beta_back(kind, dtype):
    module = kind(3.0, learnable=True).to(dtype)
    parameter = module.raw_beta
    with torch.no_grad():
        parameter.fill_(7.0)
    module.reset_parameters()
    assert module.raw_beta is parameter
    assert parameter.requires_grad
    torch.testing.assert_close(module.beta, torch.tensor([3.0], dtype=dtype))


@each_with_beta
@each_dtype
def test_a_learnable_beta_stays_positive_under_violent_steps(kind, dtype):
    module = kind(1.0, learnable=True, num_parameters=3).to(dtype)
    optimizer = torch.optim.SGD(module.parameters(), lr=1.0)
    for sign, size in itertools.product((1, -1, 1, -1), (10.0, 1e3, 1e4)):
        module.raw_beta.grad = torch.full_like(module.raw_beta, sign * size)
        optimizer.step()
        assert (module.beta >= FLOOR).all()
        assert module.beta.isfinite().all()
        y = module(normal(5, 3, dtype=dtype))
        assert not y.isnan().any()
        (gradient,) = torch.autograd.grad(y.float().mean(), module.raw_beta)
        # At the floor dy/dbeta = -ln2/beta² leaves the range of float16, and inf times 0 is NaN.
        assert dtype == torch.float16 or not gradient.isnan().any()


@each_with_beta
def test_beta_never_leaves_its_floor(kind):
    module = kind(1.0, learnable=True)
    with torch.no_grad():
        module.raw_beta.fill_(-1e30)
    assert module.beta.item() == FLOOR
    assert module(torch.tensor([[-1.0, 0.0, 1.0]])).isfinite().all()


@each_with_beta
def test_the_gradient_reaches_beta_and_is_right(kind):
    """Against the derivative of the function with respect to its beta, through softplus(raw)."""
    function = {Softplus: softplus, ShiftedSoftplus: shifted_softplus}[kind]
    module = kind(0.7, learnable=True).double()
    x = normal(40, dtype=torch.float64)
    (gradient,) = torch.autograd.grad(module(x).square().sum(), module.raw_beta)
    step = 1e-6
    either = [function(x, module.beta.item() + sign * step) for sign in (1, -1)]
    in_beta = (either[0].square().sum() - either[1].square().sum()) / (2 * step)
    wanted = in_beta * torch.sigmoid(module.raw_beta.detach())
    torch.testing.assert_close(gradient, wanted, rtol=1e-8, atol=0)


def test_training_finds_the_beta_that_made_the_data():
    x = normal(400, dtype=torch.float64)
    target = softplus(x, 3.0)
    module = Softplus(1.0, learnable=True).double()
    optimizer = torch.optim.LBFGS(module.parameters(), max_iter=50, tolerance_change=1e-14)

    def loss():
        optimizer.zero_grad()
        error = (module(x) - target).square().sum()
        error.backward()
        return error

    optimizer.step(loss)
    assert module.beta.item() == pytest.approx(3.0, rel=1e-6)


@each_with_beta
@pytest.mark.parametrize("in_place", [False, True])
@pytest.mark.parametrize("shape", [(5, 3), (2, 3, 7), (2, 3, 4, 5), (2, 3, 2, 2, 2), (0, 3)])
def test_several_betas_run_along_dimension_1_as_in_prelu(kind, in_place, shape):
    module = kind(learnable=True, num_parameters=3, inplace=in_place).double()
    with torch.no_grad():
        module.raw_beta.copy_(torch.tensor([-1.0, 0.5, 4.0]))
    x = normal(*shape, dtype=torch.float64)
    hidden = x.clone().requires_grad_() * 1
    result = module(hidden)
    assert result.shape == x.shape
    assert result.stride() == x.stride()
    function = {Softplus: softplus, ShiftedSoftplus: shifted_softplus}[kind]
    wanted = torch.stack(
        [function(x[:, channel], module.beta[channel]) for channel in range(3)], dim=1
    )
    assert same(result, wanted)
    gradients = [
        torch.autograd.grad(y.square().sum(), module.raw_beta)[0] for y in (result, wanted)
    ]
    torch.testing.assert_close(*gradients, rtol=1e-13, atol=0)
    prelu = nn.PReLU(3, dtype=torch.float64)  # the convention: it takes these shapes too
    assert prelu(x).shape == result.shape


@each_with_beta
@pytest.mark.parametrize("in_place", [False, True])
@pytest.mark.parametrize(
    ("shape", "channel_dim"),
    [((3,), 0), ((3,), -1), ((3, 5), 0), ((5, 3), -1), ((2, 5, 3), 2), ((2, 3, 4, 5), -3)],
)
def test_several_betas_run_along_any_dimension(kind, in_place, shape, channel_dim):
    module = kind(learnable=True, num_parameters=3, channel_dim=channel_dim, inplace=in_place)
    with torch.no_grad():
        module.raw_beta.copy_(torch.tensor([-1.0, 0.5, 4.0]))
    x = normal(*shape)
    function = {Softplus: softplus, ShiftedSoftplus: shifted_softplus}[kind]
    beta = module.beta.detach()
    wanted = torch.stack(
        [function(x.select(channel_dim, i), beta[i].item()) for i in range(3)], dim=channel_dim
    )
    assert f"channel_dim={channel_dim}" in repr(module)
    for call in (module, copy.deepcopy(module), torch.fx.symbolic_trace(module)):
        torch.testing.assert_close(call(x.clone()).detach(), wanted, rtol=1e-5, atol=0)


@each_with_beta
@pytest.mark.filterwarnings("ignore:`torch.jit.trace:DeprecationWarning")
def test_a_trace_keeps_the_dimension(kind):
    module = kind(learnable=True, num_parameters=3, channel_dim=-2)
    with torch.no_grad():
        module.raw_beta.copy_(torch.tensor([-1.0, 0.5, 4.0]))
    traced = torch.jit.trace(module, normal(2, 3, 4))
    x = normal(5, 3, 7)
    torch.testing.assert_close(traced(x), module(x))
    compiled = torch.compile(module, fullgraph=True, backend="eager")
    assert same(compiled(x), module(x))
    exported = torch.export.export(module, (x,))
    torch.testing.assert_close(exported.module()(x), module(x))


class Passes(torch.overrides.TorchFunctionMode):
    """Overrides every function of torch by itself."""

    def __torch_function__(self, function, types, args=(), kwargs=None):
        return function(*args, **(kwargs or {}))


@each_with_beta
@pytest.mark.parametrize("mode", [lambda: torch.device("cpu"), Passes], ids=["device", "mode"])
def test_a_mode_changes_neither_shapes_nor_errors(kind, mode):
    """Under either of them torch functions are overridden, as they are for a tracer."""
    modules = [kind(learnable=True, num_parameters=3, channel_dim=d) for d in (1, -1, 0)]
    for module, shape in zip(modules, [(4, 3), (2, 4, 3), (3, 1)], strict=True):
        wanted = module(normal(*shape))
        with mode():
            assert torch.equal(module(normal(*shape)), wanted)
            for other in ((4, 1), (1, 4), (4,)):
                with pytest.raises(ValueError, match=r"^num_parameters=3 betas run along"):
                    module(torch.zeros(other))


@each_with_beta
def test_a_default_device_changes_neither_shapes_nor_errors(kind):
    torch.set_default_device("cpu")
    try:
        module = kind(learnable=True, num_parameters=3)
        assert module(torch.zeros(4, 3)).shape == (4, 3)
        with pytest.raises(ValueError, match=r"dimension 1 of input, which has shape \(4, 1\)"):
            module(torch.zeros(4, 1))
    finally:
        torch.set_default_device(None)


@each_with_beta
def test_one_beta_keeps_every_shape(kind):
    module = kind(2.0, learnable=True)
    for shape in ((), (1,), (2, 1), (0,)):
        result = module(torch.zeros(shape))
        assert result.shape == shape
        result.sum().backward()


@each_with_beta
def test_a_dimension_that_is_none(kind):
    with pytest.raises(TypeError, match=r"^channel_dim must be a whole number, got float 1\.0"):
        kind(channel_dim=1.0)
    module = kind(learnable=True, num_parameters=3, channel_dim=2)
    with pytest.raises(ValueError, match=r"along dimension 2 of input, which has shape \(2, 3\)"):
        module(torch.zeros(2, 3))
    with pytest.raises(TypeError, match=r"^input must be a torch.Tensor, got float"):
        module(1.0)


@each_with_beta
def test_a_module_pickled_before_it_had_a_dimension(kind):
    module = kind(learnable=True, num_parameters=3)
    del vars(module)["channel_dim"]
    assert copy.deepcopy(module)(torch.zeros(5, 3)).shape == (5, 3)


def test_channels_last_stays():
    module = Softplus(learnable=True, num_parameters=3)
    x = normal(2, 3, 4, 5).to(memory_format=torch.channels_last)
    assert module(x).is_contiguous(memory_format=torch.channels_last)


@each_with_beta
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_a_float32_beta_serves_every_input_dtype(kind, dtype):
    module = kind(2.0, learnable=True, num_parameters=3)
    x = normal(5, 3, dtype=dtype).requires_grad_()
    result = module(x)
    assert result.dtype == dtype
    result.float().sum().backward()
    assert module.raw_beta.grad.dtype == torch.float32
    assert x.grad.dtype == dtype
