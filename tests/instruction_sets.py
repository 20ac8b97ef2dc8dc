"""The instruction sets and dtypes that the kernels are tested on."""

import pytest
import torch

from softplus.ops import cpu

SETS = cpu.available()
DTYPES = [torch.float32, torch.float64, torch.bfloat16, torch.float16]
HALVES = [torch.bfloat16, torch.float16]
each_isa = pytest.mark.usefixtures("isa")
each_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: str(dtype)[6:])
each_half = pytest.mark.parametrize("dtype", HALVES, ids=lambda dtype: str(dtype)[6:])
