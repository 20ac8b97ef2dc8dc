"""The CPU kernels: finds the library and the C++ entry to it, and says what is live and why."""

import os
import re
import struct
import warnings
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

from softplus.ops.cpu import installation

_NOT_BUILT = "none was built for this PyTorch and this Python"


def warn_of_absence() -> None:
    """Warn, once in a process, that there are no kernels, and say what brings them."""
    global _warned  # noqa: PLW0603 -- a process's state
    if absent is not None and not _warned:
        _warned = True
        message = f"softplus runs at PyTorch's speed, without its CPU kernels: {absent}"
        warnings.warn(message, stacklevel=4)


_warned = False


# The C++ entry, where it is live: each function returns None where a call is no plain eager one.
softplus: Callable[..., torch.Tensor | None]
shifted_softplus: Callable[..., torch.Tensor | None]
inverse_softplus: Callable[..., torch.Tensor | None]

# Why there are no kernels at all, and why there is no entry to them; None for what is live.
absent: str | None = None
entry_absent: str | None = None


def _entry_module(version: str) -> str:
    """Return the name of the entry for a version of PyTorch, as in setup.py.

    One for another PyTorch, which could crash it, has another name and is not found.
    """
    release = re.fullmatch(r"([\d.]+)(?:\+.*)?", version)
    return "_torch_" + re.sub(r"\W", "_", release[1] if release else version)


def _cut_short(file: Path) -> bool:
    """Whether an ELF file ends before what its header says is in it: loaded, it could crash."""
    with file.open("rb") as opened:
        size = os.fstat(opened.fileno()).st_size
        header = opened.read(64)
        if header[:5] != b"\x7fELF\x02":
            return size < 64
        if size < 64:
            return True
        start, entry_size, entries = struct.unpack_from("<32xQ14xHH", header)
        opened.seek(start)
        table = opened.read(entry_size * entries)
    if len(table) < entry_size * entries:
        return True
    segments = [struct.unpack_from("<8xQ16xQ", table, i) for i in range(0, len(table), entry_size)]
    return any(offset + length > size for offset, length in segments)


def _load(name: str) -> ModuleType | str:
    """Load a compiled module of this package, or return why that cannot be."""
    spec = find_spec(f"{__name__}.{name}")
    if spec is None or spec.origin is None:
        return _NOT_BUILT
    if _cut_short(Path(spec.origin)):
        return f"{spec.origin} is cut short"
    try:
        return import_module(spec.name)
    except Exception as error:  # noqa: BLE001 -- whatever a file of another build makes of it
        return f"{spec.origin} does not load: {str(error).removeprefix(f'{spec.origin}: ')}"


def instruction_set() -> str | None:
    """Return the instruction set whose kernels are live, None where there are none."""
    return None if absent else _kernels.chosen()


def available() -> list[str]:
    """Return the instruction sets whose kernels this CPU can run, the plainest first."""
    return [] if absent else _kernels.available()


def use(name: str) -> None:
    """Make one of the available instruction sets the live one; any other is a ValueError."""
    _kernels.use(name)


def serve_gpu(function: Callable[..., torch.Tensor | None], from_bytes: int) -> None:
    """Have the C++ entry leave calls of softplus on a GPU to a function, from a size on."""
    _entry.serve_gpu(function, from_bytes)


def patch() -> None:
    """Put the kernels in the place of PyTorch's own, until `unpatch` has been called as often."""
    _entry.patch()


def unpatch() -> None:
    """Take one call of `patch` back."""
    _entry.unpatch()


if torch._C._dispatch_has_kernel("softplus::forward"):  # noqa: SLF001 -- it has no public name
    raise ImportError(
        "softplus is loaded already in this process, from another folder or before it was taken "
        f"out of sys.modules, and PyTorch keeps its operators: {__file__} cannot be loaded beside "
        "it. Leave one copy of softplus on sys.path, and start Python anew"
    )
_kernels: Any = _load("_kernels")
if _kernels == _NOT_BUILT:
    absent = f"they were not built; with a C++ compiler: {installation.to_build_kernels()}"
elif isinstance(_kernels, str):
    absent = f"{_kernels}; to install it again: {installation.to_install_again()}"
elif wanted := os.environ.get("SOFTPLUS_ISA"):
    try:
        use(wanted)
    except ValueError as error:
        raise ValueError(f"SOFTPLUS_ISA={wanted}: {error}") from None

_entry: Any = "there are no kernels" if absent else _load(_entry_module(torch.__version__))
if isinstance(_entry, str):
    entry_absent = _entry
else:
    softplus = _entry.softplus
    shifted_softplus = _entry.shifted_softplus
    inverse_softplus = _entry.inverse_softplus
