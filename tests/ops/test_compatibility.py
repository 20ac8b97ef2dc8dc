"""docs/compatibility.md says what the code does: every row of its matrix is measured again."""

import math
from functools import partial

import pytest
import torch
from torch.autograd import forward_ad
from torch.func import jacfwd

import compatibility
from calls import CALLS
from compiling import nothing_compiled_before  # noqa: F401 -- a fixture
from marks import with_kernels
from softplus import Softplus, softplus, softplus_


@pytest.mark.parametrize("name", compatibility.TRANSFORMS)
def test_a_row_of_the_page(name):
    assert compatibility.row(name) == compatibility.committed()[name]


@pytest.mark.slow
@pytest.mark.parametrize("name", compatibility.SLOW_TRANSFORMS)
def test_a_row_of_the_page_that_takes_a_compiler(name):
    pytest.importorskip("onnxruntime" if "ONNX" in name else "torch")
    assert compatibility.row(name) == compatibility.committed()[name]


def test_the_page_has_no_other_rows():
    rows = compatibility.committed()
    names = [*compatibility.TRANSFORMS, *compatibility.SLOW_TRANSFORMS]
    assert [name for name in rows if name in names] == names
    heads = next(line for line in rows.values() if line.startswith("| transform |"))
    assert heads.count("|") == len(CALLS) + 3


def test_a_row_tells_what_is_wrong(monkeypatch):
    """A constant in the place of a derivative, a lost tangent, a changed dtype, an error."""
    transforms = {
        "constant": compatibility.right(1, lambda _call: torch.zeros_like),
        "lost": compatibility.right(1, lambda _call: lambda _x: None),
        "dtype": compatibility.right(0, lambda call: lambda x: call(x).double()),
        "error": compatibility.right(0, lambda call: lambda x: call(x.no_such_thing)),
    }
    monkeypatch.setattr(compatibility, "TRANSFORMS", transforms)
    for name, cell in (("constant", "no"), ("lost", "no"), ("dtype", "f64"), ("error", "no")):
        assert compatibility.row(name) == f"| {name} |  | {' | '.join([cell] * len(CALLS))} |"


# What the page says raises an error, and whether it takes the way out there: by the start of a row.


def changed_in_place(*, way_out):
    y = softplus(torch.zeros(3, requires_grad=True), threshold=math.inf if way_out else None)
    y += 1
    y.sum().backward()


def twice_forward(*, way_out):
    function = softplus if way_out else softplus_
    jacfwd(jacfwd(lambda x: function(x * 1.0)))(torch.zeros(3))


def compiled_tangent(*, way_out):
    function = softplus if way_out else softplus_
    compiled = torch.compile(lambda x: function(x * 1.5), backend="aot_eager")
    with forward_ad.dual_level():
        compiled(forward_ad.make_dual(torch.zeros(3), torch.ones(3)))


def out_with_grad(*, way_out):
    softplus(torch.zeros(3, requires_grad=True), out=None if way_out else torch.empty(3))


def scripted(*, way_out):
    compile_or_trace = torch.jit.script
    if way_out:
        compile_or_trace = partial(torch.jit.trace, example_inputs=torch.zeros(3))
    compile_or_trace(Softplus(learnable=True))


def whole_numbers(*, way_out):
    x = torch.zeros(3, dtype=torch.int64)
    softplus(x.float() if way_out else x)


EXCEPTIONS = {
    "a result that is changed in place": changed_in_place,
    "in place in `jacfwd` of `jacfwd`": twice_forward,
    "a tangent from outside into a compiled `softplus_`": compiled_tangent,
    "`out=` with an argument that requires grad": out_with_grad,
    "`torch.jit.script` of a learnable `Softplus`": scripted,
    "integer, bool": whole_numbers,
}


@with_kernels  # PyTorch's own softplus keeps the input
@pytest.mark.parametrize("start", EXCEPTIONS)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_an_exception_of_the_page_raises_and_its_way_out_does_not(start):
    assert any(line.startswith(f"| {start}") for line in compatibility.committed().values())
    with pytest.raises((RuntimeError, TypeError)):
        EXCEPTIONS[start](way_out=False)
    EXCEPTIONS[start](way_out=True)
