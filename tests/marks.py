"""The mark of what needs the compiled kernels."""

import pytest

from softplus.ops import cpu

with_kernels = pytest.mark.skipif(cpu.absent is not None, reason=f"no CPU kernels: {cpu.absent}")
