"""The CPU kernels: loads the compiled library where it fits, and says what is live and why."""

import os
import re
import warnings
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

_HOW_TO_BUILD = (
    "with a C++ compiler and PyTorch installed: "
    "pip install --no-build-isolation --force-reinstall --no-deps softplus"
)


def _none(*_: Any) -> None:
    """Stand in for an entry where there are no kernels: no call is theirs."""


softplus: Callable[..., torch.Tensor | None] = _none
shifted_softplus: Callable[..., torch.Tensor | None] = _none
inverse_softplus: Callable[..., torch.Tensor | None] = _none

# Why the kernels are absent; None where they are live.
absent: str | None = None


def _load() -> str | None:
    """Load the compiled library, or return why it cannot serve."""
    library = find_spec("softplus.ops.cpu._kernels")
    if library is None or library.origin is None:
        return f"they were not built; {_HOW_TO_BUILD}"
    # The library says in plain text what it was built for: loading one that does not fit could
    # crash.
    mark = re.search(rb"softplus-built-for:([^;]*);", Path(library.origin).read_bytes())
    built_for = mark[1].decode() if mark else "an unknown version"
    if built_for == torch.__version__:
        try:
            import_module("softplus.ops.cpu._kernels")
        except ImportError as error:
            why = f"they do not load: {error}"
        else:
            return None
    else:
        why = f"they were built for PyTorch {built_for}, and this is {torch.__version__}"
    reason = f"{why}; to build them anew, {_HOW_TO_BUILD}"
    warnings.warn(f"softplus runs without its CPU kernels: {reason}", stacklevel=2)
    return reason


def instruction_set() -> str | None:
    """Return the instruction set whose kernels are live, None where there are none."""
    return None if absent else _kernels.chosen()


def available() -> list[str]:
    """Return the instruction sets whose kernels this CPU can run, the plainest first."""
    return [] if absent else _kernels.available()


def use(name: str) -> None:
    """Make one of the available instruction sets the live one; any other is a ValueError."""
    _kernels.use(name)


def patch() -> None:
    """Put the kernels in the place of PyTorch's own, until `unpatch` has been called as often."""
    _kernels.patch()


def unpatch() -> None:
    """Take one call of `patch` back."""
    _kernels.unpatch()


absent = _load()
if absent is None:
    from softplus.ops.cpu import _kernels  # type: ignore[attr-defined]  # compiled

    if wanted := os.environ.get("SOFTPLUS_ISA"):
        try:
            use(wanted)
        except ValueError as error:
            raise ValueError(f"SOFTPLUS_ISA={wanted}: {error}") from None
    softplus = _kernels.softplus
    shifted_softplus = _kernels.shifted_softplus
    inverse_softplus = _kernels.inverse_softplus
