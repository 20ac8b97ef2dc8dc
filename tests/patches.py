"""Whether a patch is in force, and fixtures: a test under a patch, and nothing stays behind."""

import math

import pytest
import torch
from torch.nn import functional

import references
from softplus import patch

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
    """Check after every test that PyTorch is as it was before."""
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
