"""Where the tests of tests/gpu run: on a GPU, or under `-p interpreted` in Triton's interpreter."""

import sys

import pytest
import torch
from torch import Tensor

from softplus.ops import cpu, entry, triton

INTERPRETED = "interpreted" in sys.modules
DEVICE = "cpu" if INTERPRETED else "cuda"
if not INTERPRETED and torch.cuda.is_available():
    # the kernels serve small tensors too
    triton.from_bytes = 0
    if cpu.entry_absent is None:
        cpu.serve_gpu(entry._softplus, 0)

_absent = None if INTERPRETED else "no GPU" if not torch.cuda.is_available() else triton.absent()
on_gpu = pytest.mark.skipif(_absent is not None, reason=str(_absent))
on_real_gpu = pytest.mark.skipif(
    INTERPRETED or _absent is not None, reason=str(_absent or "Triton's interpreter is no GPU")
)


def here(function, x: Tensor, *arguments, **options):
    """Return what a function makes of a tensor on the device, back on the CPU."""

    def back(result):
        return result.cpu() if isinstance(result, Tensor) else [each.cpu() for each in result]

    return back(function(x.to(DEVICE), *arguments, **options))
