"""What a holder of things, such as a list or a configuration, has under a name or an index."""

import dataclasses
from collections.abc import Iterable, Mapping
from types import ModuleType
from typing import Any

from torch import Tensor, nn

from softplus.rewriting.functions import UNKNOWN


def parts(holder: Any) -> Iterable[Any]:
    """Return what a container or a plain object holds."""
    if type(holder) is dict:
        return tuple(holder.values())
    return tuple(holder if isinstance(holder, (list, tuple)) else _fields(holder).values())


def attribute(holder: Any, name: str) -> Any:
    """Return an attribute of a module of Python, a class or a plain object; UNKNOWN if none."""
    if isinstance(holder, (ModuleType, type)):
        return getattr(holder, name, UNKNOWN)
    return _fields(holder).get(name, UNKNOWN)


def item(holder: Any, index: Any) -> Any:
    """Return an item of a container of Python itself; UNKNOWN if there is none."""
    try:
        return holder[index] if type(holder) in (list, tuple, dict) else UNKNOWN
    except (LookupError, TypeError):
        return UNKNOWN


def _fields(holder: Any) -> Mapping[str, Any]:
    """Return the attributes of a plain object, a dataclass with slots or a named tuple."""
    if isinstance(holder, (nn.Module, Tensor, type)):
        return {}
    fields = dataclasses.fields(holder) if dataclasses.is_dataclass(holder) else ()
    names = [*getattr(type(holder), "_fields", ()), *(field.name for field in fields)]
    inside = {name: getattr(holder, name) for name in names if hasattr(holder, name)}
    return {**getattr(holder, "__dict__", {}), **inside}
