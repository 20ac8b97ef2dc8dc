"""The sites of a model: the places where it computes an activation."""

import functools
import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from enum import Enum
from types import FunctionType
from typing import Any

import torch
from torch import fx, nn

from softplus.conversion import calltime, classes, functions, source, spellings, trials


@dataclass(frozen=True)
class Site:
    """A place where a model computes an activation.

    Attributes:
        name: The path of the module or the attribute. For a call: the path of the module whose code
            makes it and the name of the function, numbered where there are several; `convert` puts
            the replacement there as a submodule.
        family: What is computed: "relu", "softplus" or "shifted_softplus".
        spelling: How the model writes it.
        file: The source file that calls it; None where that cannot be told.
        line: The line there.
        obstacle: Why it cannot be replaced; None where it can be.
    """

    name: str
    family: str
    spelling: str
    file: str | None = None
    line: int | None = None
    obstacle: str | None = None


class Kind(Enum):
    """How a site is replaced."""

    MODULE = "the module gives way to another"
    FUNCTION = "the function, an attribute, gives way to a module"
    SOURCE = "the call is rewritten in the source"
    RUNNING = "the call is replaced while the model runs"


@dataclass(frozen=True)
class Found:
    """A site, and what replacing it takes.

    `owner` is the path of the module that has, or is to have, the `attribute`; `place` is where
    source calls it, or the first of the lines up to `last` that may; `key` names a call that is to
    be rewritten.
    """

    kind: Kind
    owner: str
    attribute: str
    call: spellings.Call
    place: source.Place | None = None
    key: source.Key | None = None
    last: int = 0
    obstacle: str | None = None

    @property
    def places(self) -> list[source.Place]:
        """Where the call may run."""
        if self.place is None:
            return []
        lines = range(self.place.line, max(self.place.line, self.last) + 1)
        return [self.place._replace(line=line) for line in lines]

    @property
    def name(self) -> str:
        """The path of the attribute."""
        return f"{self.owner}.{self.attribute}".strip(".")

    @property
    def site(self) -> Site:
        """What the user sees of it."""
        file, line, _ = self.place or (None, None, None)
        return Site(self.name, self.call.family, self.call.spelling, file, line, self.obstacle)


def find_sites(model: nn.Module, sample: Any = None) -> list[Site]:
    """Return the places where a model computes ReLU or Softplus, however it writes them.

    >>> for site in find_sites(nn.Sequential(nn.Linear(2, 2), nn.ReLU())):
    ...     print(site.name, site.spelling)
    1 nn.ReLU

    Modules and function attributes are found by looking, calls by reading the source of the model's
    classes: every branch of every method. Where there is no source, the bytecode is read, which
    does not show whether a clamp is a ReLU.

    Args:
        model: Any module. It is not changed.
        sample: An input, a tuple of arguments or a dict of keyword arguments. A copy of the model
            runs on it once, in eval mode. That shows the calls that reading does not: of a function
            taken from a list, say, or chosen by its name.

    Returns:
        The sites in the order of `named_modules()`, in each module first what it holds, then what
        its code calls.
    """
    return [found.site for found in find(model, sample)]


def find(model: nn.Module, sample: Any = None) -> list[Found]:
    """Return the sites of a model, and what replacing them takes."""
    found = [
        replace(each, obstacle="it is the model itself: use the replacement in its place")
        for each in _held(model, "", [("", model)])
    ]
    scripted: tuple[str, ...] = ()
    for path, owner in model.named_modules():
        if path.startswith(scripted):
            continue
        found += _opaque(path, owner)
        if isinstance(owner, torch.jit.ScriptModule):
            scripted += (f"{path}." if path else "",)
            continue
        # Not named_children(), which leaves out a module that it has met under another name.
        found += _held(model, path, owner._modules.items())  # noqa: SLF001 -- no other way
        found += _held(model, path, vars(owner).items())
        if not isinstance(owner, fx.GraphModule):
            for each in _source_calls(owner):
                name = _free(owner, path, each.call, found)
                kind = Kind.RUNNING if each.key is None else Kind.SOURCE
                obstacle = _obstacle(owner, kind)
                found.append(
                    Found(kind, path, name, each.call, each.place, each.key, each.last, obstacle)
                )
    if sample is not None:
        _add_seen(model, found, sample)
    return found


def _held(model: nn.Module, path: str, members: Iterable[tuple[str, Any]]) -> Iterator[Found]:
    """Yield the activations among the members of a module."""
    for name, member in members:
        call = spellings.read_member(member)
        if call is not None:
            kind = Kind.MODULE if isinstance(member, nn.Module) else Kind.FUNCTION
            yield Found(kind, path, name, call, _caller(model, f"{path}.{name}".strip(".")))


def _caller(model: nn.Module, name: str) -> source.Place | None:
    """Return where source calls the member of that name, or else the nearest module that has it."""
    while name:
        path, _, attribute = name.rpartition(".")
        cls: Any = classes.original(model.get_submodule(path))
        place = _uses(cls).get(attribute)
        if place is not None:
            return place
        name = path
    return None


@functools.cache
def _uses(cls: type) -> dict[str, source.Place]:
    """Return where the methods of a class, torch's included, first use each attribute of self."""
    places: dict[str, source.Place] = {}
    for base in cls.__mro__[: cls.__mro__.index(nn.Module)]:
        for name, function in vars(base).items():
            if isinstance(function, FunctionType) and not name.startswith("__"):
                inner = functions.innermost(function)
                for attribute, before, place in source.loads(inner):
                    if before in inner.__code__.co_varnames[:1]:
                        places.setdefault(attribute, place)
    return places


def _source_calls(owner: nn.Module) -> list[source.SourceCall]:
    """Return the calls in the code of a module that are not replaced already, each place once."""
    recipe = classes.recipe(type(owner))
    replaced = {key for key, _ in recipe.calls} | {place for place, name in recipe.places if name}
    held = filter(functions.is_users, vars(owner).values())
    found: dict[source.Key | source.Place, source.SourceCall] = {}
    for each in source.calls(recipe.original, held):
        found.setdefault(each.key or each.place.short, each)
    return [each for identity, each in found.items() if identity not in replaced]


def _free(owner: nn.Module, path: str, call: spellings.Call, found: list[Found]) -> str:
    """Return a name for a call that no attribute of its module has, nor another site."""
    taken = {each.attribute for each in found if each.owner == path}
    numbered = (f"{call.name}_{number}" for number in itertools.count(1))
    names = itertools.chain([call.name], numbered)
    return next(name for name in names if name not in taken and not hasattr(owner, name))


def _add_seen(model: nn.Module, found: list[Found], sample: Any) -> None:
    """Add the calls that a run shows and reading does not."""
    trial = trials.trial(model)
    paths: dict[nn.Module | None, str] = {module: path for path, module in trial.named_modules()}
    with calltime.Recording() as recording:
        trials.run(trial, sample)
    for seen in recording.seen:
        path = paths.get(seen.owner, "")
        owner = model.get_submodule(path)
        if seen.module in paths or any(_is_seen(each, path, seen) for each in found):
            continue
        obstacle = _obstacle(owner, Kind.RUNNING)
        if seen.module is not None:
            paths[seen.module] = path
            obstacle = (
                "its module is none of the model's: keep it as an attribute or in a ModuleList"
            )
        name = _free(owner, path, seen.call, found)
        found.append(Found(Kind.RUNNING, path, name, seen.call, seen.place, obstacle=obstacle))


def _is_seen(found: Found, path: str, seen: calltime.Seen) -> bool:
    """Whether a call that ran in the code of the module at a path is a site that is found."""
    if found.owner != path or seen.module is not None or seen.place not in found.places:
        return False
    return found.kind is Kind.RUNNING or (
        found.kind is Kind.SOURCE and found.call.spelling == seen.call.spelling
    )


def _obstacle(owner: nn.Module, kind: Kind) -> str | None:
    """Return why the calls of a module cannot be replaced, if so."""
    if "forward" in vars(owner):
        return "the module has a forward of its own, which is not that of its class"
    if kind is Kind.RUNNING and "checkpoint" in source.names(classes.original(owner)):
        return (
            "its source cannot be rewritten, and checkpoint computes it once more in backward, "
            "when nothing is there to replace it"
        )
    return None


def _opaque(path: str, owner: nn.Module) -> Iterator[Found]:
    """Yield the activations that no conversion reaches."""
    if isinstance(owner, (nn.RNN, nn.RNNCell)) and owner.nonlinearity == "relu":
        spelling = f'nn.{type(owner).__name__}(nonlinearity="relu")'
        call = spellings.Call("relu", "relu", spelling)
        yield Found(Kind.MODULE, path, "", call, obstacle="it is a part of one operator")
    elif isinstance(owner, torch.jit.ScriptModule):
        if "aten::relu" in str(owner.inlined_graph):
            call = spellings.Call("relu", "relu", "TorchScript")
            yield Found(
                Kind.MODULE,
                path,
                "",
                call,
                obstacle="it is compiled: convert the model before that",
            )
    elif isinstance(owner, fx.GraphModule):
        for node in owner.graph.nodes:
            function = spellings.METHODS.get(node.target, node.target)
            found = spellings.read(function, node.args, node.kwargs)
            if found is not None:
                obstacle = "fx writes this code from its graph: convert the model before tracing it"
                yield Found(Kind.SOURCE, path, node.name, found, obstacle=obstacle)
