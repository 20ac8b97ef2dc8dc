"""`patch()`: PyTorch's own softplus and logsigmoid on these CPU kernels, in existing code."""

import functools
import threading
from collections.abc import Callable
from types import TracebackType
from typing import ParamSpec, Self, TypeVar

from softplus.ops import cpu

_Parameters = ParamSpec("_Parameters")
_Result = TypeVar("_Result")


class Patch:
    """What `patch()` returns: leaving its `with` block, or `remove()`, takes it back."""

    def __init__(self) -> None:
        cpu.patch()
        self._removed = threading.Lock()  # held once it is: of several threads one is the first

    def remove(self) -> None:
        """Take the patch back; any further call does nothing."""
        if self._removed.acquire(blocking=False):
            cpu.unpatch()

    def __enter__(self) -> Self:
        if self._removed.locked():
            raise RuntimeError(
                "this patch was removed and is not in force: write `with patch():` anew"
            )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.remove()

    def __call__(self, function: Callable[_Parameters, _Result]) -> Callable[_Parameters, _Result]:
        """Return the function under a patch of its own, for as long as a call of it runs."""
        self.remove()

        @functools.wraps(function)
        def patched(*args: _Parameters.args, **kwargs: _Parameters.kwargs) -> _Result:
            with Patch():
                return function(*args, **kwargs)

        return patched


def patch() -> Patch:
    """Run PyTorch's own softplus and logsigmoid on this package's CPU kernels, in all code.

    On a GPU they stay PyTorch's own: what they keep for backward could not be changed there.

    >>> import torch
    >>> model = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.Softplus())
    >>> with patch():
    ...     model(torch.zeros(2, 4)).sum().backward()

    As a decorator it holds while the function runs:

    >>> @patch()
    ... def train_step(x):
    ...     return torch.nn.functional.softplus(model(x))

    As a function it holds from the call on, to the end of the process or to `remove()` of what it
    returned:

    >>> patched = patch()
    >>> patched.remove()

    It overrides the CPU kernels behind `torch.nn.functional.softplus`, `logsigmoid` and their
    backwards in PyTorch's dispatcher. So it reaches whoever calls them: modules that exist already,
    names bound by `from torch.nn.functional import softplus`, scripted code, other threads,
    `torch.func` and PyTorch's own functions (`binary_cross_entropy_with_logits` is one).
    `torch.nn.Softplus` stays the class it is. Patches nest and overlap, in any number of threads:
    when the last is taken back, PyTorch's kernels are in force again, and a graph recorded under a
    patch runs backward without it.

    Dtypes: float32, float64, bfloat16 and float16, in any strides. Everything else runs as before:
    other dtypes, devices other than the CPU, code that `torch.compile` generates, other processes
    unless forked (a data loader's spawned workers call `patch()` themselves).

    Results keep the bounds of `softplus.softplus`, so they are not PyTorch's bits. A threshold of
    20 (PyTorch's default) or more is the exact function; a smaller one reverts to x as PyTorch
    does. Backward keeps what PyTorch's keeps, the input, so that the result may be changed in place
    afterwards; double backward is PyTorch's own formula.

    Raises:
        RuntimeError: There is no C++ entry to the kernels here; `python -m softplus` says why.
    """
    if cpu.entry_absent is not None:
        raise RuntimeError(
            f"patch() needs this package's C++ entry to its kernels: {cpu.entry_absent}; "
            "`python -m softplus` says how to get it"
        )
    return Patch()
