"""The class of a converted module: a subclass of its own that calls submodules instead."""

import copyreg
import functools
import pickle
from collections.abc import Iterable
from dataclasses import dataclass
from types import MethodType
from typing import Any

from torch import nn

from softplus.rewriting import expressions, functions
from softplus.rewriting.expressions import Key

# Where a converted class keeps its recipe.
_RECIPE = "_softplus_recipe"


@dataclass(frozen=True)
class Recipe:
    """What a converted class replaces: expressions of its source, and functions that it held."""

    original: type[nn.Module]
    calls: tuple[tuple[Key, str], ...] = ()
    held: tuple[str, ...] = ()

    def extended(self, calls: Iterable[tuple[Key, str]] = (), held: Iterable[str] = ()) -> "Recipe":
        """Return the recipe with more of either."""
        return Recipe(self.original, (*self.calls, *calls), (*self.held, *held))

    def submodules(self, module: nn.Module) -> list[nn.Module]:
        """Return what stands in a converted module for what its original called and held."""
        names = (*(name for _, name in self.calls), *self.held)
        return [module.get_submodule(name) for name in names]

    def is_all(self, label: str) -> bool:
        """Whether the expressions that are replaced have all the same label."""
        return all(key.label == label for key, _ in self.calls)

    def undo(self, module: nn.Module) -> None:
        """Give a converted module its own class back, whose code calls for itself."""
        for _, name in self.calls:
            delattr(module, name)
        module.__class__ = self.original


def recipe(cls: type[nn.Module]) -> Recipe:
    """Return how a class was made; an ordinary one is its own original."""
    found: Recipe = getattr(cls, _RECIPE, Recipe(cls))
    return found


def original(module: nn.Module) -> type[nn.Module]:
    """Return the class of a module as the user wrote it."""
    return recipe(type(module)).original


@functools.cache
def converted(recipe: Recipe) -> type[nn.Module]:
    """Return the class that a recipe describes, each time the same one.

    Raises:
        RuntimeError: The source of the original is no longer the one that the recipe was made for.
    """
    cls = recipe.original
    if not recipe.calls and not recipe.held:
        return cls
    # A method that only super() leads to is overridden next to its own class.
    members: dict[type, dict[str, Any]] = {cls: {}}
    for base, name, function in _rewritten(recipe):
        place = cls if base is _holder(cls, name) else base
        members.setdefault(place, {})[name] = function
    bases = [_subclass(base, (base,), members[base]) for base in cls.__mro__[1:] if base in members]
    own = {_RECIPE: recipe, "__reduce_ex__": _reduce}
    if recipe.held:
        own["__setstate__"] = functools.partialmethod(_set_state, cls)
    return _subclass(cls, (cls, *bases), members[cls], **own)


def _rewritten(recipe: Recipe) -> list[tuple[type, str, Any]]:
    try:
        return expressions.rewritten(recipe.original, dict(recipe.calls))
    except (functions.UnreadableError, LookupError) as error:
        raise RuntimeError(
            f"the source of {recipe.original.__qualname__} has changed since the model was "
            "converted: build the model, load its state_dict, and convert it anew"
        ) from error


def _holder(cls: type, name: str) -> type:
    """Return the class whose attribute of that name an instance gets."""
    return next(base for base in cls.__mro__ if name in vars(base))


def _subclass(cls: type, bases: tuple[type, ...], methods: dict[str, Any], **members: Any) -> type:
    """Return a class of the same name in which other methods run."""
    for name, function in methods.items():
        old = vars(_holder(cls, name))[name]
        members[name] = old.getter(function) if isinstance(old, property) else function
    for name in ("__module__", "__qualname__", "__doc__"):
        members[name] = getattr(cls, name)
    if isinstance(cls.__init_subclass__, MethodType):
        # The user's own would register the class as one more, or ask for arguments.
        root = nn.Module if issubclass(cls, nn.Module) else object
        bases = (type("Unannounced", (root,), {"__init_subclass__": lambda _: None}), *bases)
    return type(cls)(cls.__name__, bases, members)


def _set_state(self: nn.Module, cls: type[nn.Module], state: Any) -> None:
    """Drop what the class puts back where a replacement stands, as a transformer's layers do."""
    cls.__setstate__(self, state)  # type: ignore[no-untyped-call]
    for name in recipe(type(self)).held:
        vars(self).pop(name, None)


def _reduce(self: nn.Module, protocol: Any) -> tuple[Any, ...]:
    """Pickle the recipe: a class made at run time cannot be found by its name."""
    made = recipe(type(self))
    reduced: Any = made.original.__reduce_ex__(self, max(protocol, 2))
    if reduced[0] is not copyreg.__newobj__:  # type: ignore[attr-defined]  # what object returns
        raise pickle.PicklingError(
            f"{made.original.__qualname__} pickles itself in a way of its own, which would lose "
            "the conversion: save the state_dict"
        )
    return _new, (made,), *reduced[2:]


def _new(recipe: Recipe) -> nn.Module:
    cls = converted(recipe)
    return cls.__new__(cls)
