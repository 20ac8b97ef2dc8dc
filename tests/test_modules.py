"""The modules: drop-ins for torch.nn's, copied, pickled, in place, traced and compiled."""

import copy
import io
import itertools
import math
import pickle
from functools import partial

import pytest
import torch
from torch import Tensor, nn

from calls import normal
from marks import each_dtype
from messages import exactly
from references import same
from softplus import LogSigmoid, ShiftedSoftplus, Softplus, logsigmoid, shifted_softplus, softplus
from softplus.ops import cpu

# The forms that a model may hold, each with the function of input and beta that it computes.
FORMS = {
    "Softplus()": (Softplus, softplus),
    "Softplus(2)": (lambda: Softplus(2), softplus),
    "Softplus(2, 5)": (lambda: Softplus(2, 5), lambda x, beta: softplus(x, beta, 5)),
    "Softplus(inplace)": (lambda: Softplus(2, inplace=True), softplus),
    "Softplus(learnable)": (lambda: Softplus(2, learnable=True), softplus),
    "Softplus(learnable, inplace)": (
        lambda: Softplus(2, learnable=True, inplace=True),
        softplus,
    ),
    "Softplus(channels)": (
        lambda: Softplus(2, learnable=True, num_parameters=3),
        softplus,
    ),
    "Softplus(channels, inplace)": (
        lambda: Softplus(2, learnable=True, num_parameters=3, inplace=True),
        softplus,
    ),
    "ShiftedSoftplus()": (ShiftedSoftplus, shifted_softplus),
    "ShiftedSoftplus(2, 0.5)": (
        lambda: ShiftedSoftplus(2, 0.5),
        lambda x, beta: shifted_softplus(x, beta, 0.5),
    ),
    "ShiftedSoftplus(inplace)": (lambda: ShiftedSoftplus(2, inplace=True), shifted_softplus),
    "ShiftedSoftplus(learnable)": (lambda: ShiftedSoftplus(2, learnable=True), shifted_softplus),
    "ShiftedSoftplus(learnable, inplace)": (
        lambda: ShiftedSoftplus(2, learnable=True, inplace=True),
        shifted_softplus,
    ),
    "ShiftedSoftplus(channels, inplace)": (
        lambda: ShiftedSoftplus(2, learnable=True, num_parameters=3, inplace=True),
        shifted_softplus,
    ),
    "LogSigmoid()": (LogSigmoid, lambda x, _: logsigmoid(x)),
    "LogSigmoid(inplace)": (lambda: LogSigmoid(inplace=True), lambda x, _: logsigmoid(x)),
}
each_form = pytest.mark.parametrize(("build", "function"), FORMS.values(), ids=FORMS.keys())


def beta_of(module: nn.Module) -> float:
    """Return the one number that beta is; learnable without kernels, it starts a digit off."""
    (beta,) = set(torch.as_tensor(getattr(module, "beta", 1.0)).flatten().tolist())
    return beta


@each_form
@each_dtype
def test_each_form_is_its_function(build, function, dtype):
    module, x = build(), normal(5, 3, dtype=dtype)
    wanted = function(x, beta_of(module))
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
    wanted = function(x, beta_of(module))
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


@pytest.mark.parametrize("threshold", [None, 20, 60.0, math.inf])
@pytest.mark.filterwarnings("ignore:`torch.jit.script:DeprecationWarning")
def test_a_script_is_exact_with_every_threshold_that_is(threshold):
    """PyTorch's operator, which it compiles, overflows above a threshold of 88."""
    x = torch.tensor([-30.0, 0.0, 15.0, 60.0, 1e4])
    module = Softplus(2, threshold)
    torch.testing.assert_close(torch.jit.script(module)(x), softplus(x, 2), rtol=1e-6, atol=0)


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
    # Without kernels log-sigmoid is PyTorch's own, but in place its softplus.
    close = partial(torch.allclose, rtol=1e-12, atol=1e-12)
    assert all(map(same if cpu.absent is None else close, *results))


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
