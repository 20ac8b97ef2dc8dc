"""The marks that tests share: what needs the kernels or the entry, and what runs in every dtype."""

import pytest
import torch

from softplus.ops import cpu

with_kernels = pytest.mark.skipif(
    cpu.entry_absent is not None, reason=f"no C++ entry to the kernels: {cpu.entry_absent}"
)
with_library = pytest.mark.skipif(cpu.absent is not None, reason=f"no kernels: {cpu.absent}")

DTYPES = [torch.float64, torch.float32, torch.bfloat16, torch.float16]
each_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: str(dtype)[6:])
computing_dtypes = pytest.mark.parametrize(
    "dtype", [torch.float64, torch.float32], ids=["float64", "float32"]
)
half_dtypes = pytest.mark.parametrize(
    "dtype", [torch.bfloat16, torch.float16], ids=["bfloat16", "float16"]
)
