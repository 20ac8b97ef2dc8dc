"""The sites of a model: the places where it computes an activation."""

import functools
import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

import torch
from torch import fx, nn

from softplus import arguments
from softplus.conversion import classes, reading, source, spellings
from softplus.conversion.rewriting import Key


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
        left: Why `convert` leaves it, unless `include` names it; None where it does not.
        obstacle: Why it cannot be replaced; None where it can be.
    """

    name: str
    family: str
    spelling: str
    file: str | None = None
    line: int | None = None
    left: str | None = None
    obstacle: str | None = None

    def __str__(self) -> str:
        where = "" if self.file is None else f", {self.file}:{self.line}"
        return f"{self.name!r} ({self.spelling}{where})"


class Kind(Enum):
    """How a site is replaced."""

    MODULE = "the module gives way to another"
    HELD = "the function, an attribute, gives way to a module"
    SOURCE = "the expression is rewritten in the source"


@dataclass(frozen=True)
class Found:
    """A site, and what replacing it takes.

    `owner` is the path of the module that has, or is to have, the `attribute`; `place` is where
    source calls it; `key` names the expression that is to be rewritten; `reached` says whether
    forward may lead there.
    """

    kind: Kind
    owner: str
    attribute: str
    call: spellings.Call
    place: source.Place | None = None
    key: Key | None = None
    obstacle: str | None = None
    reached: bool = True

    @property
    def name(self) -> str:
        """The path of the attribute."""
        return f"{self.owner}.{self.attribute}".strip(".")

    @property
    def site(self) -> Site:
        """What the user sees of it."""
        left = self.call.spelling.left
        if in_parametrization(self.owner):
            left = "it is part of a parametrization, which is no activation"
        file, line = self.place or (None, None)
        spelling = self.call.spelling
        return Site(self.name, spelling.family, spelling.text, file, line, left, self.obstacle)


def in_parametrization(path: str) -> bool:
    """Whether a module of that path makes a parameter, and so is no activation."""
    return "parametrizations" in path.split(".")


def find_sites(model: nn.Module) -> list[Site]:
    """Return the places where a model computes ReLU or Softplus, however it writes them.

    >>> for site in find_sites(nn.Sequential(nn.Linear(2, 2), nn.ReLU())):
    ...     print(site.name, site.spelling)
    1 nn.ReLU

    Modules and function attributes are found by looking, calls by reading the source of the model's
    classes: every branch of every method. Listed too, with a reason in `left`, is what `convert`
    leaves unless `include` names it: a clamp at zero, and what is nearly ReLU, as nn.ReLU6 is.

    Args:
        model: Any module. It is not changed.

    Returns:
        The sites in the order of `named_modules()`, in each module first what it holds, then what
        its code calls.

    Raises:
        TypeError: `model` is no module.
    """
    return [found.site for found in find(model)]


def find(model: nn.Module) -> list[Found]:
    """Return the sites of a model, and what replacing them takes."""
    arguments.check_model(model)
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
            for each in _source_calls(model, owner):
                name = _free(owner, path, each.call, found)
                obstacle = _forward_of_its_own(owner) or each.obstacle
                found.append(
                    Found(
                        Kind.SOURCE, path, name, each.call, each.place, each.key, obstacle,
                        each.reached,
                    )
                )  # fmt: skip
    return found


def _held(model: nn.Module, path: str, members: Iterable[tuple[str, Any]]) -> Iterator[Found]:
    """Yield the activations among the members of a module."""
    for name, member in members:
        call = spellings.read_member(member)
        if call is not None:
            kind = Kind.MODULE if isinstance(member, nn.Module) else Kind.HELD
            yield Found(kind, path, name, call, _caller(model, f"{path}.{name}".strip(".")))


def _caller(model: nn.Module, name: str) -> source.Place | None:
    """Return where source calls the member of that name, or else the nearest module that has it."""
    while name:
        path, _, attribute = name.rpartition(".")
        place = _uses(classes.original(model.get_submodule(path))).get(attribute)
        if place is not None:
            return place
        name = path
    return None


_uses = functools.cache(source.uses)


def _source_calls(model: nn.Module, owner: nn.Module) -> Iterator[reading.SourceCall]:
    """Yield the calls in the code of a module that are not replaced already, each place once."""
    recipe = classes.recipe(type(owner))
    seen: set[Any] = {key for key, _ in recipe.calls}
    for each in reading.calls(owner, recipe.original):
        identity = each.key or (each.place, each.call.spelling.text)
        if identity not in seen and (each.reached or not _is_idle(model, recipe.original, each)):
            yield each
        seen.add(identity)


def _is_idle(model: nn.Module, cls: type, call: reading.SourceCall) -> bool:
    """Whether a method of torch's own modules, FloatFunctional's for one, is never called."""
    if not cls.__module__.startswith("torch.") or call.key is None:
        return False
    method = call.key.method.rpartition(".")[2]
    kinds = {classes.original(module) for module in model.modules()}
    return not any(method in source.names(kind) for kind in kinds - {cls})


def _free(owner: nn.Module, path: str, call: spellings.Call, found: list[Found]) -> str:
    """Return a name for a call that no attribute of its module has, nor another site."""
    taken = {each.attribute for each in found if each.owner == path}
    name = call.spelling.name
    numbered = (f"{name}_{number}" for number in itertools.count(1))
    names = itertools.chain([name], numbered)
    return next(name for name in names if name not in taken and not hasattr(owner, name))


def _forward_of_its_own(owner: nn.Module) -> str | None:
    if "forward" in vars(owner):
        return "the module has a forward of its own, which is not that of its class"
    return None


def _opaque(path: str, owner: nn.Module) -> Iterator[Found]:
    """Yield the activations that no conversion reaches."""
    if isinstance(owner, (nn.RNN, nn.RNNCell)) and owner.nonlinearity == "relu":
        text = f'nn.{type(owner).__name__}(nonlinearity="relu")'
        call = spellings.Call(spellings.Spelling("relu", "relu", text))
        yield Found(Kind.MODULE, path, "", call, obstacle="it is a part of one operator")
    elif isinstance(owner, torch.jit.ScriptModule):
        if "aten::relu" in str(owner.inlined_graph):
            call = spellings.Call(spellings.TORCHSCRIPT)
            obstacle = "it is compiled: convert the model before that"
            yield Found(Kind.MODULE, path, "", call, obstacle=obstacle)
    elif isinstance(owner, fx.GraphModule):
        for node in owner.graph.nodes:
            function = spellings.METHODS.get(node.target, node.target)
            found = spellings.read(function, node.args, node.kwargs)
            if found is not None:
                obstacle = "fx writes this code from its graph: convert the model before tracing it"
                yield Found(Kind.SOURCE, path, node.name, found, obstacle=obstacle)
