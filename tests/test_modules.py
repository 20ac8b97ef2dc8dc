"""The modules: drop-ins for torch.nn's, with a learnable beta, inside traced and saved models."""

import copy
import io
import itertools
import math
import pickle

import pytest
import torch
from torch import Tensor, nn

from calls import normal
from marks import each_dtype
from messages import exactly
from references import same
from softplus import LogSigmoid, ShiftedSoftplus, Softplus, logsigmoid, shifted_softplus, softplus

FLOOR = 2.0**-14
each_with_beta = pytest.mark.parametrize("kind", [Softplus, ShiftedSoftplus])

# The forms that a model may hold, each with the function it computes on a (5, 3) input.
FORMS = {
    "Softplus()": (Softplus, softplus),
    "Softplus(2)": (lambda: Softplus(2), lambda x: softplus(x, 2)),
    "Softplus(2, 5)": (lambda: Softplus(2, 5), lambda x: softplus(x, 2, 5)),
    "Softplus(inplace)": (lambda: Softplus(2, inplace=True), lambda x: softplus(x, 2)),
    "Softplus(learnable)": (lambda: Softplus(2, learnable=True), lambda x: softplus(x, 2)),
    "Softplus(learnable, inplace)": (
        lambda: Softplus(2, learnable=True, inplace=True),
        lambda x: softplus(x, 2),
    ),
    "Softplus(channels)": (
        lambda: Softplus(2, learnable=True, num_parameters=3),
        lambda x: softplus(x, 2),
    ),
    "Softplus(channels, inplace)": (
        lambda: Softplus(2, learnable=True, num_parameters=3, inplace=True),
        lambda x: softplus(x, 2),
    ),
    "ShiftedSoftplus()": (ShiftedSoftplus, shifted_softplus),
    "ShiftedSoftplus(2, 0.5)": (
        lambda: ShiftedSoftplus(2, 0.5),
        lambda x: shifted_softplus(x, 2, 0.5),
    ),
    "ShiftedSoftplus(inplace)": (
        lambda: ShiftedSoftplus(2, inplace=True),
        lambda x: shifted_softplus(x, 2),
    ),
    "ShiftedSoftplus(learnable)": (
        lambda: ShiftedSoftplus(2, learnable=True),
        lambda x: shifted_softplus(x, 2),
    ),
    "ShiftedSoftplus(learnable, inplace)": (
        lambda: ShiftedSoftplus(2, learnable=True, inplace=True),
        lambda x: shifted_softplus(x, 2),
    ),
    "ShiftedSoftplus(channels, inplace)": (
        lambda: ShiftedSoftplus(2, learnable=True, num_parameters=3, inplace=True),
        lambda x: shifted_softplus(x, 2),
    ),
    "LogSigmoid()": (LogSigmoid, logsigmoid),
    "LogSigmoid(inplace)": (lambda: LogSigmoid(inplace=True), logsigmoid),
}
each_form = pytest.mark.parametrize(("build", "function"), FORMS.values(), ids=FORMS.keys())


@each_form
@each_dtype
def test_each_form_is_its_function(build, function, dtype):
    module, x = build(), normal(5, 3, dtype=dtype)
    wanted = function(x)
    result = module(x)
    assert same(result, wanted)
    assert result.dtype == dtype
    in_place = getattr(module, "inplace", False)
    assert (result.data_ptr() == x.data_ptr()) is in_place
    assert same(x, wanted) is in_place


# Drop-in for torch.nn


def test_is_the_torch_module():
    module = Softplus()
    assert isinstance(module, nn.Softplus)
    assert isinstance(LogSigmoid(), nn.LogSigmoid)
    assert (module.beta, module.threshold) == (1.0, None)
    by_position = Softplus(1, 20)
    assert (by_position.beta, by_position.threshold) == (1, 20)
    x = torch.linspace(-20, 19, 100, dtype=torch.float64)
    torch.testing.assert_close(by_position(x), nn.Softplus(1, 20)(x), rtol=1e-14, atol=0)
    torch.testing.assert_close(Softplus(3, 5)(x), nn.Softplus(3, 5)(x), rtol=1e-14, atol=0)
    torch.testing.assert_close(LogSigmoid()(x), nn.LogSigmoid()(x), rtol=1e-14, atol=0)
    with pytest.raises(TypeError, match="positional"):
        Softplus(1, 20, True)


def test_state_dicts_load_both_ways():
    def model(activation):
        return nn.Sequential(nn.Linear(3, 4), activation, nn.Linear(4, 1))

    for theirs, ours in (
        (nn.Softplus(2), Softplus(2)),
        (nn.LogSigmoid(), LogSigmoid()),
        (nn.ReLU(), ShiftedSoftplus(2)),
    ):
        assert ours.state_dict() == {}
        assert list(ours.parameters()) == []
        for source, target in itertools.permutations([model(theirs), model(ours)]):
            target.load_state_dict(source.state_dict(), strict=True)
            assert torch.equal(target[0].weight, source[0].weight)
    x = normal(5, 3)
    theirs, ours = model(nn.Softplus(2)), model(Softplus(2))
    ours.load_state_dict(theirs.state_dict())
    torch.testing.assert_close(ours(x), theirs(x))


def test_a_learned_beta_is_saved_and_loaded():
    source = Softplus(3.0, learnable=True, num_parameters=2)
    assert list(source.state_dict()) == ["raw_beta"]
    target = Softplus(learnable=True, num_parameters=2)
    target.load_state_dict(source.state_dict(), strict=True)
    assert torch.equal(target.beta, source.beta)
    with pytest.raises(RuntimeError, match="raw_beta"):
        Softplus().load_state_dict(source.state_dict(), strict=True)


@each_form
def test_copies_and_pickles(build, function):
    module, x = build(), normal(5, 3)
    wanted = function(x)
    saved = io.BytesIO()
    torch.save(module, saved)
    saved.seek(0)
    for other in (
        copy.deepcopy(module),
        pickle.loads(pickle.dumps(module)),  # noqa: S301 -- our own bytes
        torch.load(saved, weights_only=False),
    ):
        assert type(other) is type(module)
        assert repr(other) == repr(module)
        assert same(other(x.clone()), wanted)
        ours, theirs = list(module.parameters()), list(other.parameters())
        assert all(map(same, ours, theirs))
        assert not {id(parameter) for parameter in ours} & {id(parameter) for parameter in theirs}


def test_a_log_sigmoid_pickled_without_inplace():
    module, x = LogSigmoid(), normal(4)
    del vars(module)["inplace"]
    other = pickle.loads(pickle.dumps(module))  # noqa: S301 -- our own bytes
    assert repr(other) == "LogSigmoid()"
    assert torch.equal(other(x), logsigmoid(x))
    assert torch.equal(torch.jit.script(other)(x), nn.LogSigmoid()(x))


@pytest.mark.parametrize("kind", [Softplus, ShiftedSoftplus, LogSigmoid])
def test_each_kind_is_made_as_a_block_makes_its_activation(kind):
    activation, x = kind(inplace=True), normal(4)
    assert activation(x) is x


@pytest.mark.parametrize(
    ("module", "text"),
    [
        (Softplus(), "Softplus(beta=1)"),
        (Softplus(1, 20), "Softplus(beta=1, threshold=20)"),
        (Softplus(0.5, inplace=True), "Softplus(beta=0.5, inplace=True)"),
        (Softplus(2, learnable=True), "Softplus(learnable=True, num_parameters=1)"),
        (
            Softplus(2, 5, learnable=True, num_parameters=3, inplace=True),
            "Softplus(learnable=True, num_parameters=3, inplace=True, threshold=5)",
        ),
        (ShiftedSoftplus(2), "ShiftedSoftplus(beta=2)"),
        (ShiftedSoftplus(2, 0.5), "ShiftedSoftplus(beta=2, shift=0.5)"),
        (LogSigmoid(), "LogSigmoid()"),
        (LogSigmoid(inplace=True), "LogSigmoid(inplace=True)"),
    ],
    ids=str,
)
def test_repr(module, text):
    assert repr(module) == text


def test_a_fixed_beta_can_be_set():
    module, x = Softplus(2), normal(4)
    module.beta = 5.0
    assert torch.equal(module(x), softplus(x, 5.0))
    with pytest.raises(ValueError, match=exactly("beta must be a finite number other than 0")):
        module.beta = 0.0
    assert module.beta == 5.0


# A learnable beta


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


# In place and traced


@each_form
def test_autograd_in_place_and_out_of_place_agree(build, function):
    del function
    module = build().double()
    if not getattr(module, "inplace", False):
        return
    results = []
    for in_place in (True, False):
        module.inplace = in_place
        x = normal(5, 3, dtype=torch.float64).requires_grad_()
        inputs = (x, *module.parameters())
        y = module(x * 2)
        first = torch.autograd.grad(y.square().sum(), inputs, create_graph=True)
        results.append([y, *first, *torch.autograd.grad(first[0].square().sum(), inputs)])
    assert all(map(same, *results))


@each_form
def test_in_place_on_a_leaf(build, function):
    del function
    module, leaf = build(), normal(5, 3).requires_grad_()
    before = leaf.detach().clone()
    if getattr(module, "inplace", False):
        with pytest.raises(RuntimeError, match=r"leaf Variable that requires grad|view of a leaf"):
            module(leaf)
    else:
        module(leaf)
    assert torch.equal(leaf.detach(), before)


class Model(nn.Module):
    """A model around an activation, as users write them."""

    def __init__(self, activation: nn.Module) -> None:
        super().__init__()
        self.first, self.activation, self.last = nn.Linear(4, 3), activation, nn.Linear(3, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.activation(self.first(x)))


def assert_trains_the_same(traced: nn.Module, model: nn.Module) -> None:
    """Assert equal values and gradients in every parameter, on values that were not traced."""
    x = -2 * normal(5, 4)
    parameters = list(model.parameters())
    results = []
    for module in (traced, model):
        y = module(x)
        results.append([y, *torch.autograd.grad(y.square().sum(), parameters)])
    for result, wanted in zip(*results, strict=True):
        torch.testing.assert_close(result, wanted)
    assert any(gradient.abs().sum() > 0 for gradient in results[0][1:])


@each_form
def test_fx_symbolic_trace(build, function):
    del function
    model = Model(build())
    traced = torch.fx.symbolic_trace(model)
    traced.graph.lint()
    assert_trains_the_same(traced, model)
    names = {str(node.target) for node in traced.graph.nodes if node.op == "call_function"}
    assert any("softplus" in name or "logsigmoid" in name for name in names)


@each_form
def test_compile(build, function):
    del function
    torch.compiler.reset()
    model = Model(build())
    assert_trains_the_same(torch.compile(model, fullgraph=True, backend="eager"), model)


@each_form
def test_export(build, function):
    del function
    model = Model(build())
    exported = torch.export.export(model, (normal(5, 4),))
    x = -2 * normal(5, 4)
    torch.testing.assert_close(exported.module()(x), model(x))


@each_form
@pytest.mark.filterwarnings(
    # Deprecated and still in use; what it records must be right.
    "ignore:`torch.jit.trace:DeprecationWarning"
)
def test_jit_trace(build, function):
    del function
    model = Model(build())
    traced = torch.jit.trace(model, (normal(5, 4),))
    x = -2 * normal(5, 4)
    torch.testing.assert_close(traced(x), model(x))
