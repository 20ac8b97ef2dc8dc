"""The GPU kernels: whether Triton is here to run them, which calls are theirs, their operators.

Triton itself is imported when the first tensor on a GPU comes that is large enough.
"""

import functools
import os
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor

from softplus.ops import operators
from softplus.ops.composed import COMPOSED

# Whether this PyTorch knows GPUs for which Triton compiles.
POSSIBLE = torch.version.cuda is not None or torch.version.hip is not None

# From this many bytes of input on the kernels serve an eager call. Below, PyTorch's operator is the
# faster way: it is launched from C++, in about 5 microseconds, a Triton kernel from Python in 22
# (measured on a driver that does nothing), and 32 MiB are read and written in 16 at 4 TB/s. An
# estimate, not yet measured on a GPU: `python benchmarks/gpu.py` finds the size. 0 has the kernels
# serve every call.
_VARIABLE = "SOFTPLUS_TRITON_FROM"
try:
    from_bytes = int(os.environ.get(_VARIABLE, "") or 32 << 20)
except ValueError:
    raise ValueError(
        f"{_VARIABLE}={os.environ[_VARIABLE]}: the variable must be a number of bytes, from which "
        "on Triton's kernels serve a call on a GPU; 0 is for every call"
    ) from None


@functools.cache
def absent() -> str | None:
    """Return why there are no GPU kernels; None where there are."""
    if not POSSIBLE:
        return "this PyTorch is built for the CPU alone"
    if find_spec("triton") is None:
        return "Triton is not installed: pip install triton"
    try:
        import_module(f"{__name__}.launch")
    except Exception as error:  # noqa: BLE001 -- whatever another version of Triton makes of it
        return f"Triton does not load: {error}"
    return None


def serves(tensor: Tensor) -> bool:
    """Whether the kernels serve an eager call of this tensor."""
    return (
        tensor.is_cuda
        and tensor.nbytes >= from_bytes
        and absent() is None
        and _compiled_for(tensor.get_device())
    )


@functools.cache
def _compiled_for(device: int) -> bool:
    """Whether Triton compiles for a device: not for those before Volta, nor a fake one."""
    return torch.cuda.is_available() and torch.cuda.get_device_capability(device)[0] >= 7


@functools.cache
def implementations() -> dict[str, Callable[..., Any]]:
    """Return the operators on tensors of a GPU, by name: where Triton is absent, PyTorch's."""
    if absent() is not None:
        return COMPOSED
    found: dict[str, Callable[..., Any]] = import_module(f"{__name__}.launch").OPERATORS
    return found


def forward_into(output: Tensor, input: Tensor, beta: float, threshold: float) -> Tensor:
    """Write softplus(input) into dense memory: the input's own, or laid out like it."""
    result: Tensor = import_module(f"{__name__}.launch").forward_into(
        output, input, beta, threshold
    )
    return result


def _register(key: str) -> None:
    """Have the kernels serve the operators on tensors of a dispatch key."""
    for name in COMPOSED:
        if name.endswith("_at"):
            operators.library.impl(name, operators.AT_RUN_TIME[name], key)
        else:
            operators.library.impl(name, functools.partial(_run, name), key)


def _run(name: str, *arguments: Any) -> Any:
    compiles = _compiled_for(arguments[0].get_device())
    return (implementations() if compiles else COMPOSED)[name](*arguments)


if POSSIBLE:
    _register("CUDA")
