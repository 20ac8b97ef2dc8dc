"""Elements that 32 bits do not count, in Triton's interpreter, of memory that is never touched."""

import importlib

import pytest
import torch
from torch import Tensor

from calls import normal
from interpreting import launcher, with_triton
from references import same_bits

pytestmark = [pytest.mark.slow, with_triton]

BLOCK = 1024
FIRST = 2**31 // BLOCK  # the program from which on 32 bits are too few
LAST = BLOCK + 704  # elements from there on; the last program is not full


@pytest.fixture
def launch(monkeypatch):
    """The module that launches, of each kernel the programs from FIRST on alone."""
    found = launcher()
    builder = importlib.import_module("triton.runtime.interpreter").interpreter_builder
    monkeypatch.setattr(builder, "grid_dim", (FIRST + 2, 1, 1), raising=False)
    monkeypatch.setattr(builder, "set_grid_dim", lambda *_: None)
    started = builder.set_grid_idx
    monkeypatch.setattr(builder, "set_grid_idx", lambda x, y, z: started(x + FIRST, y, z))
    monkeypatch.setattr(found, "shape", lambda _: (BLOCK, 4))
    monkeypatch.setattr(found.triton, "cdiv", lambda *_: 2)
    return found


def untouched(*shape: int, dtype: torch.dtype = torch.bfloat16) -> Tensor:
    """Return a tensor whose pages come to be as they are written."""
    try:
        return torch.empty(shape, dtype=dtype)
    except RuntimeError:
        pytest.skip("the system grants no memory beyond what there is")


def at_the_end(x: Tensor, values: Tensor) -> Tensor:
    """Return a tensor with these values as its last ones."""
    x.view(-1)[-values.numel() :] = values
    return x


def test_they_are_reached(launch, monkeypatch):
    values = normal(LAST, dtype=torch.bfloat16)
    x = at_the_end(untouched(2**31 + LAST), values)
    out, gradient = untouched(*x.shape), at_the_end(untouched(*x.shape), values)
    launch.forward_into(out, x, 1.0, 20.0)
    forward = out[-LAST:].clone()
    launch._backward(out, gradient, x, 0.7, 20.0, False)
    monkeypatch.undo()
    operators = launch.OPERATORS
    assert same_bits(forward, operators["forward"](values, 1.0, 20.0))
    assert same_bits(out[-LAST:], operators["backward"](values, values, 0.7, 20.0, False))


def test_rows_are_reached_too(launch, monkeypatch):
    rows, width = (2**31 + LAST) // 64, 64
    assert rows * width == 2**31 + LAST
    values = normal(LAST // width, width, dtype=torch.bfloat16)
    x = untouched(rows, width + 5)[:, :width]
    x[-len(values) :] = values
    out = untouched(rows, width)
    launch.forward_into(out, x, 1.0, 20.0)
    monkeypatch.undo()
    assert same_bits(out[-len(values) :], launch.OPERATORS["forward"](values, 1.0, 20.0))


def test_a_beta_for_each_element(launch, monkeypatch):
    values = normal(LAST, dtype=torch.bfloat16)
    x, out = (untouched(2**31 + LAST) for _ in range(2))
    at_the_end(x, values)
    beta = torch.tensor(0.7, dtype=torch.float64).expand(x.shape)
    launch._FILL["forward_each"](out, x, beta, 20.0, False)
    monkeypatch.undo()
    few = beta[:LAST]
    assert same_bits(out[-LAST:], launch.OPERATORS["forward_each"](values, few, 20.0, False))


def test_rows_farther_apart_than_32_bits_count():
    base = untouched(2 * (2**31 + 5))
    x = base.as_strided((2, 100), (2**31 + 5, 1))
    x[:] = normal(2, 100, dtype=torch.bfloat16)
    forward = launcher().OPERATORS["forward"]
    assert same_bits(forward(x, 1.0, 20.0), forward(x.contiguous(), 1.0, 20.0))
