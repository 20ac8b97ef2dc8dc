"""What a holder has, such as a list or a configuration, told without running any of its code."""

from collections.abc import Iterable, Mapping
from contextlib import suppress
from types import MemberDescriptorType, ModuleType
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
    if isinstance(holder, ModuleType):
        return vars(holder).get(name, UNKNOWN)
    if isinstance(holder, type):
        member = class_member(holder, name)
        return member.__func__ if isinstance(member, staticmethod) else member
    return _fields(holder).get(name, UNKNOWN)


def class_member(cls: type, name: str) -> Any:
    """Return what a class or one of its bases holds under a name; UNKNOWN if none does."""
    return next((vars(base)[name] for base in cls.__mro__ if name in vars(base)), UNKNOWN)


def item(holder: Any, index: Any) -> Any:
    """Return an item of a container of Python itself; UNKNOWN if there is none."""
    try:
        return holder[index] if type(holder) in (list, tuple, dict) else UNKNOWN
    except (LookupError, TypeError):
        return UNKNOWN


def has(module: nn.Module, name: str) -> bool:
    """Whether a module has an attribute of that name."""
    own = vars(module)
    places = (own, own["_modules"], own["_parameters"], own["_buffers"])
    return any(name in place for place in (*places, *map(vars, type(module).__mro__)))


def _fields(holder: Any) -> Mapping[str, Any]:
    """Return the attributes of a plain object, one with slots or a named tuple."""
    if isinstance(holder, (nn.Module, Tensor, type)):
        return {}
    names = getattr(type(holder), "_fields", ()) if isinstance(holder, tuple) else ()
    found = dict(zip(names, holder, strict=False)) if names else {}
    for base in type(holder).__mro__:
        for name, member in vars(base).items():
            if isinstance(member, MemberDescriptorType):
                with suppress(AttributeError):  # not set
                    found[name] = member.__get__(holder)
    with suppress(AttributeError):
        found.update(object.__getattribute__(holder, "__dict__"))
    return found
