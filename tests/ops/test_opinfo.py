"""PyTorch's own test database, run through this package: its samples of softplus and logsigmoid."""

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.autograd import gradcheck, gradgradcheck
from torch.testing._internal.common_methods_invocations import op_db
from torch.testing._internal.common_modules import module_db
from torch.testing._internal.opinfo.core import OpInfo, SampleInput

import softplus
from marks import each_dtype

# Each info with what a user writes in the place of PyTorch's.
FUNCTIONS = {
    "nn.functional.softplus": softplus.softplus,
    "nn.functional.logsigmoid": softplus.logsigmoid,
}
MODULES = {nn.Softplus: softplus.Softplus, nn.LogSigmoid: softplus.LogSigmoid}
FUNCTION_INFOS = [info for info in op_db if info.name in FUNCTIONS]
MODULE_INFOS = [info for info in module_db if info.module_cls in MODULES]
each_function = pytest.mark.parametrize("info", FUNCTION_INFOS, ids=lambda info: info.name)
each_module = pytest.mark.parametrize(
    "info", MODULE_INFOS, ids=lambda info: info.module_cls.__name__
)


def ours(info: OpInfo, sample: SampleInput, **options) -> Tensor:
    """Return our result for a sample."""
    return FUNCTIONS[info.name](sample.input, *sample.args, **sample.kwargs, **options)


def theirs(info: OpInfo, sample: SampleInput) -> Tensor:
    """Return PyTorch's result for a sample."""
    return info.op(sample.input, *sample.args, **sample.kwargs)


def samples(info: OpInfo, dtype: torch.dtype, *, requires_grad: bool = False) -> list[SampleInput]:
    """Return the samples of an info, and each once more with memory that is not contiguous."""
    given = list(info.sample_inputs("cpu", dtype, requires_grad=requires_grad))
    assert given
    return [*given, *(sample.noncontiguous() for sample in given)]


def exact_too(info: OpInfo, dtype: torch.dtype) -> list[SampleInput]:
    """Return the samples that require grad, and each once more without its threshold."""
    given = samples(info, dtype, requires_grad=True)
    plain = [copy.copy(sample) for sample in given if "threshold" in sample.kwargs]
    for sample in plain:
        sample.kwargs = {key: value for key, value in sample.kwargs.items() if key != "threshold"}
    return given + plain


def test_the_database_has_them():
    assert {info.name for info in FUNCTION_INFOS} == set(FUNCTIONS)
    assert {info.module_cls for info in MODULE_INFOS} == set(MODULES)


@each_function
def test_dtypes(info):
    """Ours are theirs: each is accepted, and any other is refused by both."""
    for dtype in (torch.float64, torch.float32, torch.bfloat16, torch.float16):
        assert info.supports_dtype(dtype, "cpu")
    for dtype in (torch.int64, torch.uint8, torch.bool, torch.complex64):
        assert not info.supports_dtype(dtype, "cpu")
        x = torch.ones(3, dtype=dtype)
        with pytest.raises(TypeError, match="input must be float32, float64, bfloat16 or float16"):
            FUNCTIONS[info.name](x)


@each_function
@each_dtype
def test_forward(info, dtype):
    for sample in [*samples(info, dtype), *info.reference_inputs("cpu", dtype)]:
        result, wanted = ours(info, sample), theirs(info, sample)
        torch.testing.assert_close(result, wanted, equal_nan=True)
        # PyTorch's logsigmoid makes every result contiguous, its softplus keeps the layout.
        assert result.stride() == nn.functional.softplus(sample.input).stride()


@each_function
@each_dtype
def test_reference(info, dtype):
    """Against the NumPy formula of the database, in float64."""
    for sample in samples(info, dtype):
        array = sample.input.double().numpy()
        wanted = torch.as_tensor(info.ref(array, *sample.args, **sample.kwargs))
        torch.testing.assert_close(ours(info, sample), wanted.to(dtype), check_stride=False)


@each_function
@each_dtype
def test_out(info, dtype):
    assert info.supports_out
    for sample in samples(info, dtype):
        wanted = ours(info, sample)
        for out in (torch.empty_like(wanted), torch.empty(0, dtype=dtype)):
            assert ours(info, sample, out=out) is out
            assert torch.equal(out, wanted)
        address = (out := torch.empty_like(wanted)).data_ptr()
        ours(info, sample, out=out)
        assert out.data_ptr() == address


@each_dtype
@pytest.mark.parametrize("info", [i for i in FUNCTION_INFOS if "softplus" in i.name])
def test_in_place(info, dtype):
    """The database lists PyTorch's softplus as without an in-place form: nn.ReLU has one."""
    for sample in samples(info, dtype):
        wanted = ours(info, sample)
        assert ours(info, sample, inplace=True) is sample.input
        assert torch.equal(sample.input, wanted)


@each_function
@each_dtype
def test_gradients(info, dtype):
    for sample in samples(info, dtype, requires_grad=True):
        results = [ours(info, sample), theirs(info, sample)]
        g = torch.randn_like(results[1])
        gradients = [
            torch.autograd.grad(result, sample.input, g, create_graph=True)[0] for result in results
        ]
        torch.testing.assert_close(*gradients)
        if dtype in (torch.float64, torch.float32):
            second = [torch.autograd.grad(gradient, sample.input, g)[0] for gradient in gradients]
            torch.testing.assert_close(*second)


@each_function
def test_gradcheck(info):
    """Reverse mode, forward mode, both batched, against finite differences."""
    assert info.supports_forward_ad
    for sample in exact_too(info, torch.float64):
        assert gradcheck(
            lambda x, sample=sample: FUNCTIONS[info.name](x, *sample.args, **sample.kwargs),
            sample.input,
            check_batched_grad=True,
            check_forward_ad=True,
            check_batched_forward_grad=True,
            check_undefined_grad=True,
        )


@each_function
def test_gradgradcheck(info):
    assert info.supports_gradgrad
    for sample in exact_too(info, torch.float64):
        assert gradgradcheck(
            lambda x, sample=sample: FUNCTIONS[info.name](x, *sample.args, **sample.kwargs),
            sample.input,
            check_batched_grad=True,
        )


@each_function
def test_forward_over_reverse(info):
    assert info.supports_fwgrad_bwgrad
    for sample in exact_too(info, torch.float64):
        assert gradgradcheck(
            lambda x, sample=sample: FUNCTIONS[info.name](x, *sample.args, **sample.kwargs),
            sample.input,
            check_fwd_over_rev=True,
        )


@each_function
def test_error_inputs(info):
    """PyTorch 2.13 lists none: those of this package stand in test_arguments.py."""
    for error in info.error_inputs("cpu") if info.error_inputs_func else ():
        with pytest.raises(error.error_type):
            ours(info, error.sample_input)


@each_module
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["float64", "float32"])
@pytest.mark.parametrize("training", [True, False], ids=["training", "evaluation"])
def test_modules(info, dtype, training):
    """Forward, gradients and second derivatives of every sample, beside PyTorch's module."""
    cases = info.module_inputs_func(
        info, device="cpu", dtype=dtype, requires_grad=True, training=training
    )
    assert cases
    for case in cases:
        made = case.constructor_input
        modules = [
            cls(*made.args, **made.kwargs).to(dtype).train(training)
            for cls in (MODULES[info.module_cls], info.module_cls)
        ]
        (x,) = case.forward_input.args
        results = [module(x) for module in modules]
        torch.testing.assert_close(*results)
        if case.reference_fn is not None:
            wanted = case.reference_fn(modules[0], x)
            torch.testing.assert_close(results[0], wanted)
        gradients = [
            torch.autograd.grad(y.square().sum(), x, create_graph=True)[0] for y in results
        ]
        torch.testing.assert_close(*gradients)
        if dtype == torch.float64:
            assert gradcheck(modules[0], x)
            assert gradgradcheck(modules[0], x)


@pytest.mark.parametrize("info", [i for i in MODULE_INFOS if i.module_cls is nn.Softplus])
def test_modules_in_place(info):
    """Where PyTorch's modules have no such option, against our own result."""
    for case in info.module_inputs_func(
        info, device="cpu", dtype=torch.float64, requires_grad=True, training=True
    ):
        made = case.constructor_input
        (x,) = case.forward_input.args
        module = softplus.Softplus(*made.args, **made.kwargs)
        overwriting = softplus.Softplus(*made.args, **made.kwargs, inplace=True)
        wanted, hidden = module(x), x * 1
        assert overwriting(hidden) is hidden
        assert torch.equal(hidden, wanted)
        gradients = [torch.autograd.grad(y.square().sum(), x)[0] for y in (hidden, wanted)]
        torch.testing.assert_close(*gradients)
