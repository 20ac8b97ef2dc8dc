"""Under autocast: dtypes, and what is kept for backward."""

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.autograd.graph import (
    saved_tensors_hooks,
)
from torch.nn import functional

from calls import CALLS, each_call, normal
from marks import with_kernels
from references import same_bits
from softplus import (
    LogSigmoid,
    Softplus,
)

HALVES = [torch.bfloat16, torch.float16]


def kept(call, *arguments: Tensor) -> dict[int, int]:
    """Return the storages that a call keeps for backward, with their bytes, parameters aside."""
    storages = {}

    def pack(tensor: Tensor) -> Tensor:
        if not isinstance(tensor, nn.Parameter):
            storage = tensor.untyped_storage()
            storages[storage.data_ptr()] = storage.nbytes()
        return tensor

    with saved_tensors_hooks(pack, lambda tensor: tensor):
        result = call(*arguments)
    assert result.requires_grad
    return storages


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, *HALVES])
@pytest.mark.parametrize("lower", HALVES)
@each_call
def test_autocast_on_cpu_leaves_the_dtype(call, dtype, lower):
    """There, softplus is on none of PyTorch's lists: it runs in the dtype that arrives."""
    x = normal(8, dtype=dtype)
    with torch.autocast("cpu", dtype=lower):
        assert call(x).dtype == functional.softplus(x).dtype == functional.logsigmoid(x).dtype
        assert same_bits(call(x), call(x.clone()))
    assert call(x).dtype == dtype


@with_kernels
@pytest.mark.parametrize("lower", HALVES)
@pytest.mark.parametrize("activation", [Softplus(2), Softplus(3, 20), LogSigmoid()], ids=str)
def test_what_is_kept_under_autocast(lower, activation):
    """The result, which the next layer keeps too; in float16 the input beside it."""
    rows = 16

    def bytes_kept(activation: nn.Module) -> int:
        torch.manual_seed(0)
        module = nn.Sequential(nn.Linear(8, 8), activation, nn.Linear(8, 8))
        with torch.autocast("cpu", dtype=lower):
            sizes = kept(module, normal(rows, 8)).values()
            module(normal(rows, 8)).float().square().sum().backward()
        assert all(p.grad.dtype == p.dtype == torch.float32 for p in module.parameters())
        assert all(p.grad.isfinite().all() for p in module.parameters())
        return sum(sizes)

    more = rows * 8 * 2 if lower == torch.float16 else 0
    assert bytes_kept(activation) == bytes_kept(nn.ReLU()) + more


@pytest.mark.parametrize(
    "call",
    # A fake multiplication with a number asks for the device itself: those two are left out.
    [call for name, call in CALLS.items() if name not in ("in place", "inverse")],
    ids=[name for name in CALLS if name not in ("in place", "inverse")],
)
@pytest.mark.parametrize("lower", HALVES)
def test_autocast_on_an_accelerator_runs_in_float32(call, lower):
    """As PyTorch's softplus does there; fake tensors show the dtypes without the device."""
    before = torch.is_autocast_enabled("cuda"), torch.get_autocast_dtype("cuda")
    torch.set_autocast_enabled("cuda", True)
    torch.set_autocast_dtype("cuda", lower)
    try:
        with FakeTensorMode():
            for dtype in (torch.float64, torch.float32, *HALVES):
                x = torch.empty(3, dtype=dtype, device="cuda")
                assert call(x).dtype == functional.softplus(x).dtype
    finally:
        torch.set_autocast_enabled("cuda", before[0])
        torch.set_autocast_dtype("cuda", before[1])
