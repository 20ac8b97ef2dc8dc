"""The problems: what `softplus compare` can be asked about, by name or by file."""

from typing import Any

from softplus.lab.errors import unknown
from softplus.lab.problems import networks
from softplus.lab.problems.problem import Metric, Problem

__all__ = ["NAMES", "Metric", "Problem", "load"]

_BUILT_IN = {"digits": networks.digits, "diabetes": networks.diabetes}
NAMES = tuple(_BUILT_IN)


def load(source: str, **changes: Any) -> Problem:
    """Return the problem of that name, with these of its settings changed where not None.

    Raises:
        UsageError: The name is unknown, or a setting is out of range.
    """
    if source not in _BUILT_IN:
        raise unknown("task", source, _BUILT_IN)
    said = {name: value for name, value in changes.items() if value is not None}
    return _BUILT_IN[source](**said)
