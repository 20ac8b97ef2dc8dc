"""The lab: which activation serves a problem better, measured, from Python.

`softplus compare`, `softplus judge` and `softplus audit` do the same from the command line.
"""

from importlib import import_module
from typing import Any

# Each is imported when it is first asked for: some of them bring scipy, polars or matplotlib.
_FACE = {
    "DeadUnits": "softplus.lab.units.watching",
    "Study": "softplus.lab.study",
    "UsageError": "softplus.lab.errors",
    "audit": "softplus.lab.auditing",
    "compare": "softplus.lab.study",
    "judge": "softplus.lab.judging",
    "record": "softplus.lab.recording",
    "script": "softplus.lab.problems.script",
    "task": "softplus.lab.problems.functions",
}
__all__ = list(_FACE)


def __getattr__(name: str) -> Any:
    if name not in _FACE:
        raise AttributeError(f"module 'softplus.lab' has no attribute {name!r}")
    return getattr(import_module(_FACE[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
