"""patch(): what it reaches, that results are right under it, and that nothing stays behind."""

import math
import os
import pickle
import subprocess
import sys
import threading

import pytest
import torch
from torch import Tensor, func, nn
from torch.autograd import forward_ad
from torch.distributions import transforms
from torch.nn import functional
from torch.nn.functional import logsigmoid as bound_logsigmoid
from torch.nn.functional import softplus as bound_softplus

import references
import softplus
from marks import with_kernels
from softplus import patch
from softplus.ops import cpu

SETS = cpu.available()
DTYPES = [torch.float32, torch.float64, torch.bfloat16, torch.float16]
each_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: str(dtype)[6:])

# Every operator that PyTorch has a CPU kernel for.
OPERATORS = [
    "aten::softplus",
    "aten::softplus.out",
    "aten::softplus_backward",
    "aten::softplus_backward.grad_input",
    "aten::log_sigmoid_forward",
    "aten::log_sigmoid_forward.output",
    "aten::log_sigmoid_backward",
    "aten::log_sigmoid_backward.grad_input",
]
# In float64 PyTorch reverts to x above 20 where 9 digits of the result are still below it; in
# float32 its log-sigmoid of 90 is subnormal. So one value shows whose kernel answers.
AT_SOFTPLUS, AT_LOGSIGMOID = torch.tensor(20.5, dtype=torch.float64), torch.tensor(90.0)
EXACT = float(references.softplus(20.5))


def patched(function=functional.softplus) -> bool:
    """Whether a function that computes Softplus runs on this package's kernels."""
    y = function(AT_SOFTPLUS).item()
    assert y in {20.5, EXACT}
    return y == EXACT


def patched_logsigmoid(function=functional.logsigmoid) -> bool:
    """Whether a function that computes log-sigmoid runs on this package's kernels."""
    y = function(AT_LOGSIGMOID).item()
    assert y == 0 or y == pytest.approx(-math.exp(-90), rel=1e-4)
    return y == 0


def dispatcher() -> list[str]:
    """Return what PyTorch's dispatcher holds for each operator."""
    return [torch._C._dispatch_dump(name) for name in OPERATORS]


@pytest.fixture(autouse=True)
def nothing_stays():
    """Hold of every test that PyTorch is afterwards as it was before."""
    before = dispatcher()
    assert not patched()
    yield
    assert dispatcher() == before
    assert not patched()
    assert not patched_logsigmoid()


@pytest.fixture
def in_force():
    """Run the test under a patch."""
    with patch():
        yield


@pytest.fixture(params=SETS)
def isa(request):
    """Run the test on one instruction set, and put the chosen one back."""
    before = cpu.instruction_set()
    cpu.use(request.param)
    yield request.param
    cpu.use(before)


def values(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Return values of both signs, the same on every call."""
    generator = torch.Generator().manual_seed(0)
    return (6 * torch.randn(shape, generator=generator, dtype=torch.float64)).to(dtype)


def samples(dtype: torch.dtype) -> Tensor:
    """Return values over the whole range where the functions curve, densest at 0."""
    x = torch.linspace(-9, 9, 601, dtype=torch.float64) ** 3 / 9
    return torch.cat([x.to(dtype), torch.tensor([0.0, 20.5, 35.0, -20.5], dtype=dtype)])


def gradient(function, x: Tensor) -> Tensor:
    """Return the gradient of a function, ones arriving."""
    x = x.detach().requires_grad_()
    y = function(x)
    return torch.autograd.grad(y, x, torch.ones_like(y))[0]


def same_bits(a: Tensor, b: Tensor) -> bool:
    """Whether two tensors without NaN hold the same numbers in the same layout."""
    return a.dtype == b.dtype and a.stride() == b.stride() and torch.equal(a, b)


# What it reaches


@with_kernels
def test_it_overrides_every_cpu_kernel_of_both_functions():
    with_a_cpu_kernel = {
        name
        for name in torch._C._dispatch_get_all_op_names()
        if name.startswith(("aten::softplus", "aten::log_sigmoid"))
        and torch._C._dispatch_has_kernel_for_dispatch_key(name, "CPU")
    }
    assert with_a_cpu_kernel == set(OPERATORS)
    with patch():
        for held in dispatcher():
            (live,) = [line for line in held.splitlines() if line.startswith("CPU:")]
            assert "patch.cpp" in live


@with_kernels
@pytest.mark.filterwarnings("ignore:`torch.jit.*` is deprecated:DeprecationWarning")
def test_every_spelling_is_reached():
    module, log_module = nn.Softplus(), nn.LogSigmoid()
    scripted = torch.jit.script(nn.Softplus()), torch.jit.script(nn.LogSigmoid())
    traced = torch.jit.trace(nn.Softplus(), torch.zeros(3))
    with patch():
        assert patched(bound_softplus)
        assert patched(module)
        assert patched(nn.Softplus())
        assert patched(scripted[0])
        assert patched(traced)
        assert patched(torch.ops.aten.softplus)
        assert patched(torch.ops.aten.softplus.default)
        assert patched(transforms.SoftplusTransform())
        assert patched(lambda x: functional.softplus(x, out=torch.empty_like(x)))
        assert patched(lambda x: functional.softplus(x.unsqueeze(0).expand(3, 1))[1])
        assert patched_logsigmoid(bound_logsigmoid)
        assert patched_logsigmoid(log_module)
        assert patched_logsigmoid(scripted[1])
        assert patched_logsigmoid(lambda x: torch._C._nn.log_sigmoid(x, out=torch.empty_like(x)))
        assert patched_logsigmoid(
            lambda x: -functional.binary_cross_entropy_with_logits(x, torch.ones_like(x))
        )


@with_kernels
@pytest.mark.usefixtures("in_force")
def test_other_threads_are_reached():
    seen = []
    thread = threading.Thread(target=lambda: seen.extend([patched(), patched_logsigmoid()]))
    thread.start()
    thread.join()
    assert seen == [True, True]


@with_kernels
def test_modules_and_names_stay_what_they_are():
    module = nn.Softplus(beta=2, threshold=5)
    before = pickle.dumps(module), functional.softplus, functional.logsigmoid, nn.Softplus
    with patch():
        assert (pickle.dumps(module), functional.softplus, functional.logsigmoid, nn.Softplus) == (
            before
        )
        assert type(pickle.loads(before[0])) is nn.Softplus  # noqa: S301  # written above
        assert isinstance(module, nn.Softplus)
        assert not isinstance(module, softplus.Softplus)
        assert repr(module) == "Softplus(beta=2, threshold=5)"
        assert module.state_dict() == {}
        pickled = pickle.dumps(module)
    assert pickle.loads(pickled).beta == 2  # noqa: S301  # written above


# Right results


@with_kernels
@pytest.mark.usefixtures("in_force")
@each_dtype
@pytest.mark.parametrize("beta", [1, 1.0, 0.1, -1, 100.0, True])
def test_softplus_is_that_of_this_package(dtype, beta):
    x = samples(dtype)
    assert same_bits(functional.softplus(x, beta), softplus.softplus(x, float(beta)))
    exact = [references.sigmoid_and_tail(v, float(beta))[0] for v in x.tolist()]
    normal = torch.tensor([s >= torch.finfo(dtype).tiny for s in exact])
    result = gradient(lambda x: functional.softplus(x, beta), x)
    errors = torch.tensor(references.ulp_errors(result, exact))
    assert errors[normal].max() <= 3
    assert (result[~normal] <= torch.finfo(dtype).tiny).all()


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


# Taken back


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
    assert all(map(same_bits, before, results()))
    assert not all(map(same_bits, before, inside))


@with_kernels
def test_patches_nest_and_overlap():
    with patch():
        with patch():
            assert patched()
        assert patched()
        first, second = patch(), patch()
        first.remove()
        assert patched()
    assert patched()
    first.remove()  # once more: not the second's
    assert patched()
    second.remove()
    assert not patched()
    with patch():
        assert patched()


@with_kernels
def test_an_exception_leaves_nothing_behind():
    def fail():
        with patch():
            assert patched()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert not patched()


@with_kernels
def test_as_a_function_it_holds_until_it_is_removed():
    handle = patch()
    assert patched()
    with handle:
        assert patched()
    assert not patched()
    handle.remove()
    with pytest.raises(RuntimeError, match=r"was removed.*`with patch\(\):`"):
        handle.__enter__()
    assert not patched()


@with_kernels
def test_one_handle_removed_by_several_threads_is_removed_once():
    with patch():
        for _ in range(50):
            handle = patch()
            start = threading.Barrier(4)
            threads = [
                threading.Thread(target=lambda s=start, h=handle: (s.wait(), h.remove()))
                for _ in range(4)
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        assert patched()


@with_kernels
def test_threads_patch_and_compute_at_once():
    x = values(3000).requires_grad_()
    exact = torch.sigmoid(x.detach().double())
    wrong = []

    def work(patches: bool) -> None:
        for _ in range(150):
            if patches:
                with patch():
                    if not patched():
                        wrong.append("not in force inside the block")
            y = functional.softplus(x)
            (g,) = torch.autograd.grad(y, x, torch.ones_like(y))
            if (g.double() - exact).abs().max() > 1e-6:
                wrong.append("a wrong gradient")

    threads = [threading.Thread(target=work, args=(k < 3,)) for k in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def run(source: str) -> None:
    """Run a program in a new interpreter: all goes well, without a word."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", source],
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


PROGRAM = """
import os, warnings
import torch
from softplus import patch
from torch.nn.functional import softplus
x = torch.tensor(20.5, dtype=torch.float64)
"""


@with_kernels
def test_a_program_may_end_under_it():
    run(PROGRAM + "patch()\nassert softplus(x) > x")


@with_kernels
@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_process_inherits_it():
    run(
        PROGRAM
        + """
with patch():
    child = os.fork()
    if not child:
        os._exit(0 if softplus(x) > x else 1)
    assert os.waitpid(child, 0)[1] == 0
"""
    )


@with_kernels
def test_pytorch_s_one_warning_about_overriding_is_kept_for_others():
    run(
        PROGRAM
        + """
with patch():
    pass
library = torch.library.Library("aten", "IMPL")
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    library.impl("mish", lambda x: x, "CPU")
assert "Overriding a previously registered kernel" in str(caught[0].message), caught
"""
    )


def test_without_kernels_it_says_so_and_changes_nothing(monkeypatch):
    monkeypatch.setattr(cpu, "absent", cpu._HOW_TO_BUILD)
    with pytest.raises(RuntimeError, match=r"pip install.*`python -m softplus`"):
        patch()
