"""The class of a converted module: a subclass of its own that replaces calls of activations."""

import copyreg
import functools
import pickle
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from softplus.conversion import calltime, functions, source, spellings

# Where a converted class keeps its recipe.
_RECIPE = "_softplus_recipe"


@dataclass(frozen=True)
class Recipe:
    """What a converted class replaces by an attribute: calls in source, and calls at run time."""

    original: type[nn.Module]
    calls: tuple[tuple[source.Key, str], ...] = ()
    places: tuple[tuple[source.Place, str | None], ...] = ()

    def extended(
        self, calls: Iterable[tuple[source.Key, str]], places: Mapping[source.Place, str | None]
    ) -> "Recipe":
        """Return the recipe with further calls and places."""
        merged = {**dict(self.places), **places}
        return Recipe(self.original, (*self.calls, *calls), tuple(merged.items()))

    def activations(self, module: nn.Module) -> list[nn.Module]:
        """Return what stands in a converted module for the calls of its original."""
        return [module.get_submodule(name) for name in self._attributes()]

    def is_of_relu(self) -> bool:
        """Whether the calls that are replaced are all of ReLU."""
        families = {spellings.family_of(key.spelling) for key, _ in self.calls}
        return families | {place.family for place, name in self.places if name} <= {"relu"}

    def undo(self, module: nn.Module) -> None:
        """Give a converted module its own class back, whose code calls for itself."""
        for name in self._attributes():
            delattr(module, name)
        module.__class__ = self.original

    def _attributes(self) -> list[str]:
        return list(dict.fromkeys(name for _, name in (*self.calls, *self.places) if name))


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
    if not recipe.calls and not recipe.places:
        return cls
    # A method that only super() leads to is overridden next to its own class.
    members: dict[type, dict[str, Any]] = {cls: {}}
    for base, name, function in _rewritten(recipe):
        place = cls if base is _holder(cls, name) else base
        members.setdefault(place, {})[name] = function
    if recipe.places:
        for base, name, function in source.methods(cls):
            if base is _holder(cls, name):
                method = members[cls].get(name, function)
                members[cls][name] = calltime.under_mode(method, dict(recipe.places))
    bases = [_subclass(base, (base,), members[base]) for base in cls.__mro__[1:] if base in members]
    return _subclass(
        cls,
        (cls, *bases),
        members[cls],
        **{
            _RECIPE: recipe,
            "__reduce_ex__": _reduce,
            source.FLOATING_ONLY: staticmethod(_activate),
        },
    )


def _rewritten(recipe: Recipe) -> list[tuple[type, str, Any]]:
    try:
        return source.rewritten(recipe.original, dict(recipe.calls))
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
    return type(cls)(cls.__name__, bases, members)


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


def _activate(activation: Callable[[Tensor], Tensor], input: Any) -> Any:
    """Activate floating-point numbers; an index keeps the bound that its clamp gives it."""
    if isinstance(input, Tensor) and not input.is_floating_point():
        inplace = getattr(activation, "inplace", False)
        return input.clamp_min_(0) if inplace else input.clamp_min(0)
    return activation(input)
