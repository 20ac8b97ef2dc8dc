"""The fixture that runs a test of the kernels once for each instruction set."""

import pytest

from instruction_sets import SETS
from softplus.ops import cpu


@pytest.fixture(params=SETS)
def isa(request):
    """Run the test on one instruction set, and put the chosen one back."""
    before = cpu.instruction_set()
    cpu.use(request.param)
    yield request.param
    cpu.use(before)
