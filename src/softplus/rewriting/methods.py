"""The code of a model's classes: its methods, what they reach, and what they use."""

import ast
import functools
from collections.abc import Iterator
from types import FunctionType, ModuleType
from typing import Any, NamedTuple

from torch import nn

from softplus.rewriting import functions, holders
from softplus.rewriting.functions import UNKNOWN, UnreadableError


class Place(NamedTuple):
    """A line of a file."""

    file: str
    line: int


def own_methods(cls: type) -> Iterator[tuple[type, str, FunctionType]]:
    """Yield each function of the user's that runs as a method or property, and where it is held.

    An overridden one runs only where super() leads to it. What a library hangs on nn.Module itself
    is no code of the class.
    """
    bases = [base for base in cls.__mro__ if base not in (nn.Module, object)]
    for name in dict.fromkeys(name for base in bases for name in vars(base)):
        if name.startswith("__") and name != "__call__":
            continue
        for base in (base for base in bases if name in vars(base)):
            member = vars(base)[name]
            function = member.fget if isinstance(member, property) else member
            if not functions.is_users(function):
                break
            yield base, name, function
            if "__class__" not in functions.innermost(function).__code__.co_freevars:
                break


def method_name(cls: type, base: type, function: FunctionType) -> str:
    """Return what tells a method from the others of a class, which may inherit from a namesake."""
    return f"{cls.__mro__.index(base)}:{functions.innermost(function).__qualname__}"


def names(cls: type) -> set[str]:
    """Return the names that the methods of a class use: of globals and of attributes."""
    return {name for used in _names_by_method(cls).values() for name in used}


def reached_methods(cls: type) -> set[str]:
    """Return the names of the methods that forward may call, by way of others too."""
    names_of = _names_by_method(cls)
    if "forward" not in names_of:  # torch's own, which calls what it likes
        return set(names_of)
    reached: set[str] = set()
    ahead = {"forward", "__call__"} & names_of.keys()
    while ahead:
        name = ahead.pop()
        reached.add(name)
        # By getattr any method may be called.
        called = names_of.keys() if "getattr" in names_of[name] else names_of[name]
        ahead |= (called & names_of.keys()) - reached
    return reached


def _names_by_method(cls: type) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for _, name, function in own_methods(cls):
        used = functions.Scope(functions.innermost(function)).names
        found.setdefault(name, set()).update(used)
    return found


@functools.cache
def uses(cls: type) -> dict[str, Place]:
    """Return where the methods of a class, torch's included, first use each attribute of self."""
    found: dict[str, Place] = {}
    for base in cls.__mro__[: cls.__mro__.index(nn.Module)]:
        for name, function in vars(base).items():
            if not isinstance(function, FunctionType) or name.startswith("__"):
                continue
            inner = functions.innermost(function)
            try:
                nodes = ast.walk(functions.definition(inner))
            except UnreadableError:
                continue
            for node in nodes:
                if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "self":
                    place = Place(inner.__code__.co_filename, node.end_lineno or 0)
                    found.setdefault(node.attr, place)
    return found


def class_attribute(cls: type, name: str) -> Any:
    """Return what an attribute of the class is to an instance, UNKNOWN where that is a method."""
    member = holders.class_member(cls, name)
    if isinstance(member, (staticmethod, classmethod)):
        return member.__func__
    return UNKNOWN if isinstance(member, (FunctionType, property)) else member


def used(function: FunctionType, cls: type) -> list[Any]:
    """Return what the names in a function may stand for: globals, and members of those."""
    scope = functions.Scope(function)
    values = [scope[name] for name in scope.names]
    namespaces = [value for value in values if isinstance(value, (ModuleType, type))]
    values += [vars(space).get(name) for space in namespaces for name in scope.names]
    return values + [class_attribute(cls, name) for name in scope.names]
