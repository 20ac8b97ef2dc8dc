"""The matrix of docs/compatibility.md is what the code does: every row is measured again."""

import pytest
import torch

import compatibility
from calls import CALLS


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
