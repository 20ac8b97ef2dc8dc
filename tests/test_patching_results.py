"""`patch()`: results are right under it, and what the kernels do not serve is PyTorch's."""

import math
from functools import partial

import pytest
import torch
from torch import Tensor, func
from torch.autograd import forward_ad
from torch.nn import functional

import references
import softplus
from calls import normal
from instruction_sets import isa  # noqa: F401 -- a fixture
from marks import each_dtype, with_kernels
from patches import in_force, nothing_stays  # noqa: F401 -- fixtures
from softplus import patch

values = partial(normal, scale=6.0)


def samples(dtype: torch.dtype) -> Tensor:
    """Return values over the whole range where the functions curve, densest at 0."""
    x = torch.linspace(-9, 9, 601, dtype=torch.float64) ** 3 / 9
    return torch.cat([x.to(dtype), torch.tensor([0.0, 20.5, 35.0, -20.5], dtype=dtype)])


def gradient(function, x: Tensor) -> Tensor:
    """Return the gradient of a function, ones arriving."""
    x = x.detach().requires_grad_()
    y = function(x)
    return torch.autograd.grad(y, x, torch.ones_like(y))[0]


def identical(a: Tensor, b: Tensor) -> bool:
    """Whether two tensors without NaN hold the same numbers in the same layout."""
    return a.dtype == b.dtype and a.stride() == b.stride() and torch.equal(a, b)


# Right results


@with_kernels
@pytest.mark.usefixtures("in_force")
@each_dtype
@pytest.mark.parametrize("beta", [1, 1.0, 0.1, -1, 100.0, True])
def test_softplus_is_that_of_this_package(dtype, beta):
    x = samples(dtype)
    assert identical(functional.softplus(x, beta), softplus.softplus(x, float(beta)))
    exact = [references.sigmoid_and_tail(v, float(beta))[0] for v in x.tolist()]
    subnormal = torch.tensor([s < torch.finfo(dtype).tiny for s in exact])
    result = gradient(lambda x: functional.softplus(x, beta), x)
    errors = torch.tensor(references.ulp_errors(result, exact))
    assert errors[~subnormal].max() <= 3
    assert (result[subnormal] <= torch.finfo(dtype).tiny).all()


@with_kernels
@pytest.mark.usefixtures("isa", "in_force")
@pytest.mark.parametrize(
    ("dtype", "bound"),
    [(torch.float32, 1), (torch.float64, 2), (torch.bfloat16, 0.5), (torch.float16, 0.5)],
)
def test_logsigmoid_and_its_buffer(dtype, bound):
    x = samples(dtype)
    y, buffer = torch.ops.aten.log_sigmoid_forward(x)
    exact_y = [-references.softplus(-v) for v in x.tolist()]
    assert max(references.ulp_errors(y, exact_y)) <= bound
    exact_buffer = [references.ctx.exp(-abs(references.ctx.mpf(v))) for v in x.tolist()]
    assert max(references.ulp_errors(buffer, exact_buffer)) <= max(bound, 0.51)
    exact_s = [references.sigmoid_and_tail(v)[1] for v in x.tolist()]
    assert max(references.ulp_errors(gradient(functional.logsigmoid, x), exact_s)) <= 2.5


@with_kernels
@pytest.mark.usefixtures("in_force")
@each_dtype
def test_special_values(dtype):
    x = torch.tensor([math.nan, math.inf, -math.inf, 0.0], dtype=dtype)
    ln2 = torch.tensor(math.log(2), dtype=dtype).item()
    assert functional.softplus(x)[1:].tolist() == [math.inf, 0, ln2]
    assert functional.logsigmoid(x)[1:].tolist() == [0, -math.inf, -ln2]
    assert functional.softplus(x)[0].isnan()
    assert functional.logsigmoid(x)[0].isnan()
    assert gradient(functional.softplus, x)[1:].tolist() == [1, 0, 0.5]
    assert gradient(functional.logsigmoid, x)[1:].tolist() == [0, 1, 0.5]


@with_kernels
@each_dtype
@pytest.mark.parametrize("threshold", [-3, 0, 2.5, 19])
@pytest.mark.parametrize("beta", [1.0, 0.3, 5])
def test_a_threshold_below_20_is_pytorch_s(dtype, threshold, beta):
    x = samples(dtype)

    def function(x):
        return functional.softplus(x, beta, threshold)

    theirs, their_gradient = function(x), gradient(function, x)
    with patch():
        ours, our_gradient = function(x), gradient(function, x)
    linear = x.to(torch.promote_types(dtype, torch.float32)) * beta > threshold
    assert linear.any()
    assert (ours[linear] == x[linear]).all()
    assert (our_gradient[linear] == their_gradient[linear]).all()
    # PyTorch's own error where beta·x is rounded before the exponential, 33 ULP in float32, counts
    torch.testing.assert_close(ours, theirs, rtol=64 * torch.finfo(dtype).eps, atol=1e-37)
    torch.testing.assert_close(
        our_gradient, their_gradient, rtol=64 * torch.finfo(dtype).eps, atol=1e-37
    )


@with_kernels
@pytest.mark.usefixtures("in_force")
@each_dtype
def test_any_layout(dtype):
    x = values(4, 6, 10, 8, dtype=dtype)
    layouts = [
        x.to(memory_format=torch.channels_last),
        x.transpose(0, 2),
        x[:, ::2, 1:],
        x[0, 0, 0, 0],
        x[:0],
        x[:1].expand(5, 6, 10, 8),
    ]
    for layout in layouts:
        dense = layout.contiguous()
        wanted = torch.ops.aten.softplus.default(dense)
        result = functional.softplus(layout)
        assert torch.equal(result, wanted)
        assert result.stride() == torch.relu(layout).stride()
        assert torch.equal(functional.logsigmoid(layout), functional.logsigmoid(dense))
        out = torch.empty(layout.shape, dtype=dtype).mT if layout.dim() > 1 else None
        if out is not None and out.shape == layout.shape:
            assert torch.equal(functional.softplus(layout, out=out), wanted)


@with_kernels
@each_dtype
@pytest.mark.parametrize("function", [functional.softplus, functional.logsigmoid])
def test_a_gradient_of_any_strides(dtype, function):
    x = values(40, 50, dtype=dtype).requires_grad_()
    arriving = values(50, 40, dtype=dtype).T
    with patch():
        (wanted,) = torch.autograd.grad(function(x), x, torch.ones_like(x))
        assert torch.equal(torch.autograd.grad(function(x).sum(), x)[0], wanted)
        row = torch.ones((1, 50), dtype=dtype).expand(40, 50)
        assert torch.equal(torch.autograd.grad(function(x), x, row)[0], wanted)
        (strided,) = torch.autograd.grad(function(x), x, arriving)
        (dense,) = torch.autograd.grad(function(x), x, arriving.contiguous())
        assert torch.equal(strided, dense)


@with_kernels
@each_dtype
@pytest.mark.parametrize("function", [functional.softplus, functional.logsigmoid])
def test_the_result_may_be_changed_in_place_before_backward(dtype, function):
    x = values(100, dtype=dtype).requires_grad_()
    with patch():
        (wanted,) = torch.autograd.grad(function(x).mul(3), x, torch.ones_like(x))
        y = function(x)
        y.mul_(3)
        y.add_(1)
        y.backward(torch.ones_like(y))
    assert torch.equal(x.grad, wanted)


@with_kernels
def test_what_backward_keeps_is_what_pytorch_s_keeps():
    def kept(function) -> list[tuple[int, ...]]:
        sizes = []
        with torch.autograd.graph.saved_tensors_hooks(
            lambda tensor: sizes.append(tuple(tensor.shape)) or tensor, lambda tensor: tensor
        ):
            function(values(30).requires_grad_())
        return sizes

    before = kept(functional.softplus), kept(functional.logsigmoid)
    with patch():
        assert (kept(functional.softplus), kept(functional.logsigmoid)) == before
    assert before[0] == [(30,)]


@with_kernels
@each_dtype
@pytest.mark.parametrize("function", [functional.softplus, functional.logsigmoid])
def test_a_graph_may_go_forward_and_backward_on_different_sides(dtype, function):
    x = samples(dtype).requires_grad_()
    ones = torch.ones_like(x)
    (theirs,) = torch.autograd.grad(function(x), x, ones)
    with patch():
        inside = function(x)
        (ours,) = torch.autograd.grad(inside, x, ones, retain_graph=True)
    outside = function(x)
    (left,) = torch.autograd.grad(inside, x, ones)
    with patch():
        (entered,) = torch.autograd.grad(outside, x, ones)
    assert torch.equal(entered, ours)
    limits = torch.finfo(dtype)
    # From its own buffer PyTorch computes 1 - z/(1 + z) and z/(1 + z), rounded in the dtype
    torch.testing.assert_close(left, theirs, rtol=4 * limits.eps, atol=2 * limits.tiny)
    torch.testing.assert_close(left, ours, rtol=1e-8 + 4 * limits.eps, atol=1e-8)


@with_kernels
@each_dtype
def test_results_afterwards_are_those_of_before_to_the_bit(dtype):
    x = samples(dtype)

    def results():
        return [
            functional.softplus(x),
            functional.softplus(x, 3, 5),
            gradient(functional.softplus, x),
            functional.logsigmoid(x),
            gradient(functional.logsigmoid, x),
        ]

    before = results()
    with patch():
        inside = results()
    assert all(map(identical, before, results()))
    assert not all(map(identical, before, inside))


# Calls that the kernels do not serve are PyTorch's


def outcome(call) -> object:
    """Return the bits of a result, or the message of the error."""
    try:
        result = call()
    except (RuntimeError, NotImplementedError, TypeError) as error:
        # The dispatcher's list of kernels names each one's source
        return type(error), str(error).split("CPU: registered", maxsplit=1)[0]
    return result.dtype, result.nan_to_num(123.0).tolist()


@with_kernels
@pytest.mark.parametrize(
    "call",
    [
        lambda: functional.softplus(values(40), 0),
        lambda: functional.softplus(values(40), 1e-30),
        lambda: functional.softplus(values(40), math.inf),
        lambda: functional.softplus(values(40), math.nan),
        lambda: functional.softplus(values(40), 1, math.nan),
        lambda: functional.softplus(values(40), 1j),
        lambda: functional.softplus(values(40), 0, out=torch.empty(40)),
        lambda: functional.softplus(values(40), out=torch.empty(40, dtype=torch.float64)),
        lambda: functional.softplus(values(40), out=values(1).expand(40)),
        lambda: functional.softplus(torch.arange(4)),
        lambda: functional.softplus(values(4).to(torch.complex64)),
        lambda: functional.softplus(values(4).to_sparse()),
        lambda: functional.logsigmoid(torch.arange(4)),
        lambda: functional.logsigmoid(values(4).to(torch.complex64)),
        lambda: functional.logsigmoid(values(4).to_sparse()),
        lambda: torch._C._nn.log_sigmoid(values(9), out=torch.empty(9, dtype=torch.float64)),
        lambda: gradient(lambda x: functional.softplus(x, 1e-30), values(40)),
        lambda: torch.ops.aten.softplus_backward(
            values(40), values(40, dtype=torch.bfloat16), 1, 20
        ),
        lambda: torch.ops.aten.softplus_backward(
            values(9).to(torch.complex64), values(9).to(torch.complex64), 1, 20
        ),
        lambda: torch.ops.aten.log_sigmoid_backward(
            torch.arange(4), torch.arange(4), torch.arange(4)
        ),
    ],
)
def test_what_the_kernels_do_not_serve_is_as_before(call):
    before = outcome(call)
    with patch():
        assert outcome(call) == before


@with_kernels
@pytest.mark.usefixtures("in_force")
@pytest.mark.parametrize("where", ["input", "result"])
def test_out_variants_of_the_backwards(where):
    x, g = values(20), values(20).flip(0)
    into = x.clone() if where == "input" else torch.empty(0)
    saved = into if where == "input" else x
    torch.ops.aten.softplus_backward.grad_input(g, saved, 2, 20, grad_input=into)
    assert torch.equal(into, torch.ops.aten.softplus_backward(g, x, 2, 20))
    y, buffer = torch.ops.aten.log_sigmoid_forward(x)
    into = torch.empty(0)
    torch.ops.aten.log_sigmoid_backward.grad_input(g, x, buffer, grad_input=into)
    assert torch.equal(into, torch.ops.aten.log_sigmoid_backward(g, x, buffer))
    outputs = torch.empty(0), torch.empty(0)
    torch.ops.aten.log_sigmoid_forward.output(x, output=outputs[0], buffer=outputs[1])
    assert torch.equal(outputs[0], y)
    assert torch.equal(outputs[1], buffer)


# Transforms


FUNCTIONS = {
    "softplus": functional.softplus,
    "beta": lambda x: functional.softplus(x, 3.0),
    "threshold": lambda x: functional.softplus(x, 2.0, 3.0),
    "logsigmoid": functional.logsigmoid,
}
each_function = pytest.mark.parametrize("function", FUNCTIONS.values(), ids=FUNCTIONS)


@with_kernels
@pytest.mark.usefixtures("in_force")
@each_function
def test_gradcheck(function):
    x = (values(12, dtype=torch.float64) / 4).requires_grad_()
    torch.autograd.gradcheck(
        function, x, check_forward_ad=True, check_batched_grad=True, check_batched_forward_grad=True
    )
    torch.autograd.gradgradcheck(function, x, check_fwd_over_rev=True, check_batched_grad=True)


@with_kernels
@each_function
def test_every_transform_gives_what_it_gives_without(function):
    x, t = values(6, 5, dtype=torch.float64) / 4, values(6, 5, dtype=torch.float64)

    def summed(x):
        return function(x).sum()

    def forward_mode():
        with forward_ad.dual_level():
            return forward_ad.unpack_dual(function(forward_ad.make_dual(x, t))).tangent

    calls = {
        "grad": lambda: func.grad(summed)(x),
        "grad of grad": lambda: func.grad(lambda x: func.grad(summed)(x).sum())(x),
        "vmap": lambda: func.vmap(function, in_dims=1, out_dims=1)(x),
        "vmap of grad": lambda: func.vmap(func.grad(summed))(x),
        "jvp": lambda: func.jvp(function, (x,), (t,))[1],
        "vjp": lambda: func.vjp(function, x)[1](t)[0],
        "jacrev": lambda: func.jacrev(function)(x),
        "jacfwd": lambda: func.jacfwd(function)(x),
        "hessian": lambda: func.hessian(summed)(x[0]),
        "forward mode": forward_mode,
        "compile": lambda: torch.compile(function, backend="aot_eager", fullgraph=True)(x),
        "autocast": lambda: func.grad(
            lambda x: torch.autocast("cpu", torch.bfloat16)(function)(x).sum()
        )(x),
    }
    for name, call in calls.items():
        before = call()
        with patch():
            under = call()
        torch.testing.assert_close(under, before, rtol=1e-12, atol=1e-14, msg=name)


@with_kernels
@pytest.mark.usefixtures("in_force")
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@each_function
def test_compiled_by_inductor(function):
    x = (values(1000, dtype=torch.float64) / 4).requires_grad_()
    wanted = gradient(function, x)
    assert torch.allclose(
        gradient(torch.compile(function, fullgraph=True), x), wanted, rtol=1e-9, atol=1e-12
    )
