"""A GPU that is not there: Triton compiles for it, and launches are listed in place of made.

For a process of its own: one in which Triton is an interpreter has no compiler.
"""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
import triton
from torch import Tensor
from triton.backends.compiler import GPUTarget
from triton.runtime import driver

TARGETS = {"cuda": GPUTarget("cuda", 90, 32), "hip": GPUTarget("hip", "gfx942", 64)}


@dataclass(frozen=True)
class Launch:
    """One launch: of which kernel, where, and with what."""

    kernel: str
    device: int
    stream: int
    grid: int
    arguments: tuple[Any, ...]
    metadata: Any


launches: list[Launch] = []
current = [0]  # the current device


class _Utils:
    """What Triton asks of a driver about binaries and devices."""

    def load_binary(self, *_: Any) -> tuple[Any, ...]:
        return object(), object(), 32, 0, 1024

    def unload_module(self, _: Any) -> None:
        """Nothing was loaded."""

    def get_device_properties(self, _: int) -> dict[str, int]:
        return {"max_shared_mem": 227 << 10}


class _Launcher:
    """What Triton has for each kernel that it compiled."""

    def __init__(self, _: Any, metadata: Any) -> None:
        self._metadata = metadata

    def __call__(self, x: int, y: int, z: int, stream: int, *rest: Any) -> None:
        assert (y, z) == (1, 1)
        found = Launch(self._metadata.name, current[0], stream, x, rest[5:], self._metadata)
        launches.append(found)


class _Driver:
    launcher_cls = _Launcher
    utils = _Utils()

    def __init__(self, target: GPUTarget) -> None:
        self._target = target

    def get_current_device(self) -> int:
        return current[0]

    def get_current_stream(self, device: int) -> int:
        return 1000 + device

    def get_current_target(self) -> GPUTarget:
        return self._target

    def get_active_torch_device(self) -> torch.device:
        return torch.device("cuda", current[0])


class OnGpu(Tensor):
    """A tensor of the CPU that says it is one of a GPU's."""

    is_cuda = True
    is_cpu = False
    at = 0

    def get_device(self) -> int:
        return self.at


class OnSecondGpu(OnGpu):
    """The same of another GPU."""

    at = 1


@contextlib.contextmanager
def _device(index: int) -> Iterator[None]:
    before, current[0] = current[0], index
    try:
        yield
    finally:
        current[0] = before


def launcher(target: str = "cuda") -> Any:
    """Return softplus.ops.triton.launch, for GPUs of a target."""
    assert not triton.knobs.runtime.interpret
    torch.version.cuda = "0"  # of a PyTorch that knows GPUs
    driver.set_active(_Driver(TARGETS[target]))
    torch.cuda.current_device = lambda: current[0]
    torch.cuda.device = _device
    from softplus.ops.triton import launch  # noqa: PLC0415 -- after the line above

    return launch
