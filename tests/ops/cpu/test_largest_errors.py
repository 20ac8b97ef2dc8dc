"""The largest errors that the C++ states above functions: reached, and not exceeded.

A search of all float32 numbers (beta = 1) or of millions of points found the points below, each on
the instruction set named with it.
"""

import importlib
from types import ModuleType

import pytest
import torch
from torch import Tensor

import beta_of_each
import references
from cpp_build import ROOT
from instruction_sets import SETS, each_half, each_isa, running
from marks import with_kernels
from ops.cpu.test_checksums import WITHOUT_FMA
from softplus import inverse_softplus, patch, shifted_softplus, softplus
from ulp import all_halves, exact, worst

pytestmark = with_kernels

# By function, dtype, and beta (1, or any): where the largest error is
POINTS = {
    ("softplus", "float32", "1"): ("-0x1.8ffa8cp+2", "0x1p+0", "avx2"),
    ("softplus", "float32", "any"): ("-0x1.1aff82p-3", "0x1.b22f6d3a8ab25p+4", "avx2"),
    ("softplus", "float64", "1"): ("0x1.135a5cef09bafp-4", "0x1p+0", "baseline"),
    ("softplus", "float64", "any"): ("0x1.945661d28c0cbp-3", "0x1.c3db07dca8386p+0", "baseline"),
    ("sigmoid_of_output", "float32", "1"): ("-0x1.5b281p+1", "0x1p+0", "avx2"),
    ("sigmoid_of_output", "float32", "any"): ("-0x1.a72902p+6", "0x1.e3eb3103cf9ffp-5", "avx2"),
    ("sigmoid_of_output", "float64", "1"): ("-0x1.b99aed8560683p+1", "0x1p+0", "avx2"),
    ("sigmoid_of_output", "float64", "any"): (
        "0x1.1c95c722d19bep+6",
        "-0x1.09aba12c4f2d8p-6",
        "baseline",
    ),
    ("derivative_of_input", "float32", "1"): ("-0x1.1a2812p+0", "0x1p+0", "baseline"),
    ("derivative_of_input", "float32", "any"): (
        "-0x1.2de3d6p+4",
        "0x1.e5bbcd9e8ebb4p-5",
        "baseline",
    ),
    ("derivative_of_input", "float64", "1"): ("-0x1.1e34bc97d05d2p+0", "0x1p+0", "baseline"),
    ("derivative_of_input", "float64", "any"): (
        "0x1.621fe7b9ca666p-5",
        "-0x1.a073ea2f70d93p+4",
        "baseline",
    ),
    ("exponential", "float32", "1"): ("0x1.1bfedcp+6", "0x1p+0", "avx2"),
    ("exponential", "float64", "1"): ("-0x1.1d4889ff82d14p+2", "0x1p+0", "avx2"),
    ("shifted_of_float", "float32", "1"): ("0x1.44b304p+0", "0x1p+0", "avx2"),
    ("shifted_of_float", "float32", "any"): ("-0x1.410ed6p+0", "0x1.7c86f292795fbp-1", "avx2"),
    ("shifted_to_zero", "float64", "1"): ("0x1.9d461a3c14a98p-1", "0x1p+0", "baseline"),
    ("shifted_to_zero", "float64", "any"): (
        "-0x1.9e31251e759e2p-5",
        "-0x1.2f2c18a9500f6p+4",
        "avx2",
    ),
    ("softplus_in_double", "float32", "any"): (
        "-0x1.49de92p-4",
        "0x1.77d30e9a2c93cp+5",
        "baseline",
    ),
    ("shifted_in_double", "float32", "any"): ("-0x1.22a2fp-1", "0x1.ec26471eea0d4p-1", "baseline"),
    ("softplus_in_float", "float32", "any"): (
        "-0x1.4a722ap+8",
        "0x1.fe2001d273f5dp-9",
        "avx2",
    ),
    ("shifted_in_float", "float32", "any"): ("0x1.87c55ep+4", "0x1.abbf0f4609b67p-5", "avx2"),
    ("first_of_both", "float32", "any"): ("0x1.33ec9ep+4", "0x1.43b78bced97ccp-10", "avx2"),
    ("derivative_of_both", "float64", "any"): (
        "-0x1.3b190ce81469cp-2",
        "-0x1.a828471c456d0p+4",
        "baseline",
    ),
    ("inverse", "float32", "1"): ("0x1.983484p-17", "0x1p+0", "baseline"),
    ("inverse", "float32", "any"): ("0x1.5b8d2cp+6", "0x1.493d717e1199cp-6", "baseline"),
    ("inverse", "float64", "1"): ("0x1.e8fbecbfe5708p-1", "0x1p+0", "avx2"),
    ("inverse", "float64", "any"): ("-0x1.9ffeb96fe3e1p+2", "-0x1.35794f10896c7p-3", "avx2"),
}
ANY_BETA = [0.1, -3.3, 57.0]
HALF_BETAS = [0.1, 0.015824738889932632, 0.33366939425468445, 3.0, -10.0, 131.26683044433594]


def backward(saved: Tensor, beta: float, *, of_output: bool) -> Tensor:
    """Return the derivative that the kernels give."""
    return torch.ops.softplus.backward(torch.ones_like(saved), saved, beta, 20.0, of_output)


def exponential(x: Tensor, _: float) -> Tensor:
    """Return e^-|x|, which log-sigmoid keeps for its backward."""
    with patch():
        return torch.ops.aten.log_sigmoid_forward(x)[1]


def derivative(x: float, beta: float) -> references.mpf:
    """Return the exact sigmoid(beta·x)."""
    return references.derivatives(x, beta)[1]


def for_each(x: Tensor, beta: float) -> Tensor:
    """Return a beta for each element."""
    return torch.full_like(x, beta, dtype=torch.float64)


PLAIN = (
    lambda x, beta: beta_of_each.forward(x, for_each(x, beta)),
    references.softplus,
)
SHIFTED = (
    lambda x, beta: beta_of_each.forward(x, for_each(x, beta), shifted=True),
    references.shifted_softplus,
)
TOWARDS_BETA = (
    lambda x, beta: beta_of_each.backward(torch.ones_like(x), x, for_each(x, beta))[1].to(x.dtype),
    lambda x, beta: references.beta_derivatives(x, beta)[0],
)
FUNCTIONS = {
    "softplus_in_double": PLAIN,
    "softplus_in_float": PLAIN,
    "shifted_in_double": SHIFTED,
    "shifted_in_float": SHIFTED,
    "derivative_of_both": TOWARDS_BETA,
    "first_of_both": TOWARDS_BETA,
    "softplus": (softplus, references.softplus),
    "sigmoid_of_output": (
        lambda x, beta: backward(softplus(x, beta), beta, of_output=True),
        derivative,
    ),
    "derivative_of_input": (lambda x, beta: backward(x, beta, of_output=False), derivative),
    "shifted_to_zero": (shifted_softplus, references.shifted_softplus),
    "shifted_of_float": (shifted_softplus, references.shifted_softplus),
    "inverse": (inverse_softplus, references.inverse_softplus),
    "exponential": (exponential, lambda x, _: references.ctx.exp(-abs(references.ctx.mpf(x)))),
}


def tool(name: str) -> ModuleType:
    """Return a module of tools/."""
    with pytest.MonkeyPatch.context() as patched:
        patched.syspath_prepend(ROOT / "tools")
        return importlib.import_module(name)


STATED = tool("stated_errors").largest_errors()
# With a beta for each element float32 goes one way with FMA, and another without.
WITH_FMA = {"softplus_in_float", "shifted_in_float", "first_of_both"}
ONLY_WITHOUT_FMA = {"softplus_in_double", "shifted_in_double"}


def error(function: str, x: Tensor, beta: float) -> float:
    """Return the largest error of a function at some points, in ULP."""
    kernel, reference = FUNCTIONS[function]
    return max(references.ulp_errors(kernel(x, beta), [reference(v, beta) for v in x.tolist()]))


def sample(function: str, dtype: torch.dtype, beta: float) -> Tensor:
    """Return inputs that give normal results."""
    lowest = -80 if dtype == torch.float32 else -690
    # next to 0 twenty in each segment of width 1/2
    v = torch.cat([torch.linspace(lowest, 40, 101), torch.linspace(-8, 8, 641)]).double() + 1e-3
    return ((v.abs() if function == "inverse" else v) / beta).to(dtype)


def test_every_figure_has_its_point():
    assert len(STATED) > 20
    assert {key for key in STATED if "16" not in key[1]} == set(POINTS)


@pytest.mark.parametrize("key", POINTS, ids=" ".join)
def test_a_stated_error_is_reached(key):
    function, dtype, _ = key
    x, beta, isa = POINTS[key]
    x, beta = float.fromhex(x), float.fromhex(beta)
    if isa not in SETS:
        pytest.skip(f"no {isa} here")
    with running(isa):
        reached = error(function, torch.tensor([x], dtype=getattr(torch, dtype)), beta)
    assert STATED[key] - 0.01 <= reached <= STATED[key]


@each_isa
@pytest.mark.parametrize("key", POINTS, ids=" ".join)
def test_no_stated_error_is_exceeded(key, isa):
    function, dtype, beta = key
    if function in (WITH_FMA if isa in WITHOUT_FMA else ONLY_WITHOUT_FMA):
        pytest.skip(f"not what runs on {isa}")
    for value in [1.0] if beta == "1" else ANY_BETA:
        x = sample(function, getattr(torch, dtype), value)
        assert error(function, x, value) <= STATED[key]


@pytest.mark.slow
def test_the_table_of_float32_has_the_stated_error():
    """Computed without the kernels, for every float that the table serves."""
    segments = tool("fit_segments")
    above, below = segments.largest(segments.table())
    assert above <= 0.70
    assert below == pytest.approx(STATED["softplus", "float32", "1"], abs=2e-4)


@each_half
def test_the_stated_errors_of_half_types(dtype):
    x = all_halves(dtype)
    x = x[x.isfinite()]

    def largest(beta: float) -> float:
        y = exact(x, beta)[0]
        limits = torch.finfo(dtype)
        inside = y.abs() < limits.max
        if dtype == torch.bfloat16:
            inside &= y.abs() >= limits.tiny * (1 + 1e-6)
        return worst(softplus(x, beta)[inside], y[inside])

    name = str(dtype).removeprefix("torch.")
    reached = []
    for isa in SETS:
        with running(isa):
            assert largest(1.0) <= STATED["softplus", name, "1"]
            reached.append(max(map(largest, HALF_BETAS)))
    any_beta = STATED["softplus", name, "any"]
    assert max(reached) <= any_beta
    assert max(reached) >= any_beta - 0.02 or len(SETS) == 1
