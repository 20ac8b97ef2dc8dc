"""The instruction sets and dtypes that the kernels are tested on, and how a test runs on one."""

import contextlib
from collections.abc import Iterator

import pytest
import torch

from softplus.ops import cpu

SETS = cpu.available()
DTYPES = [torch.float32, torch.float64, torch.bfloat16, torch.float16]
HALVES = [torch.bfloat16, torch.float16]
each_isa = pytest.mark.usefixtures("isa")
each_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: str(dtype)[6:])
each_half = pytest.mark.parametrize("dtype", HALVES, ids=lambda dtype: str(dtype)[6:])


@contextlib.contextmanager
def running(isa: str) -> Iterator[str]:
    """Run on an instruction set, and put the chosen one back."""
    before = cpu.instruction_set()
    cpu.use(isa)
    try:
        yield isa
    finally:
        cpu.use(before)


@pytest.fixture(params=SETS)
def isa(request):
    """Run the test once on each instruction set."""
    with running(request.param) as chosen:
        yield chosen
