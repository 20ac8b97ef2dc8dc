"""Triton's interpreter as the machine on which the GPU kernels run where there is no GPU.

Its arithmetic is IEEE's, fma included. Its conversions to and from bfloat16 are not: they round
ties away from 0 and lose subnormal numbers. Here PyTorch's take their place.
"""

import importlib
import importlib.util
import os
from typing import Any

import numpy as np
import pytest
import torch

from softplus.ops import cpu

with_triton = pytest.mark.skipif(
    importlib.util.find_spec("triton") is None,
    reason="Triton is not installed: `make test-slow` installs it",
)
# Of tests that compare with the CPU's kernels, which have the same operations where there is FMA
beside_the_cpu = [
    pytest.mark.slow,
    with_triton,
    pytest.mark.skipif(cpu.absent is not None, reason=f"no CPU kernels: {cpu.absent}"),
    pytest.mark.skipif(
        cpu.instruction_set() in {None, "baseline"}, reason="baseline x86-64 has no FMA"
    ),
]


def launcher() -> Any:
    """Return softplus.ops.triton.launch on the interpreter, with programs of many elements."""
    os.environ["TRITON_INTERPRET"] = "1"  # read when the kernels are first imported
    interpreter = importlib.import_module("triton.runtime.interpreter")
    if interpreter._convert_float is not _convert:
        _interpreters.append(interpreter._convert_float)
        interpreter._convert_float = _convert
    np.seterr(all="ignore")  # what no result comes from may overflow or be NaN
    launch = importlib.import_module("softplus.ops.triton.launch")
    # NumPy runs a program: the fewer there are the faster
    launch.shape = lambda like: (min(65_536, 1 << max(like.numel() - 1, 0).bit_length()), 4)
    return launch


_interpreters: list[Any] = []


def _convert(x: np.ndarray, of: Any, to: Any, rounding: Any) -> np.ndarray:
    """Convert elements, which are bits where NumPy has no such type."""
    if (of.name, to.name) == ("fp32", "bf16"):
        return torch.from_numpy(x.view(np.float32)).bfloat16().view(torch.uint16).numpy()
    if (of.name, to.name) == ("bf16", "fp32"):
        return (
            torch.from_numpy(x)
            .view(torch.bfloat16)
            .float()
            .view(torch.int32)
            .numpy()
            .view(np.uint32)
        )
    return _interpreters[0](x, of, to, rounding)
