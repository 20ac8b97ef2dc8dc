"""`find_sites`: what a model holds and its source calls."""

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import fx, nn

from softplus import arguments
from softplus.conversion import reading, spellings
from softplus.conversion.sites import Found, Kind, Site
from softplus.conversion.spellings import TORCHSCRIPT, Call, Spelling
from softplus.rewriting import classes, holders, methods
from softplus.rewriting.methods import Place


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
    obstacle = "it is the model itself: use the replacement in its place"
    found = [replace(each, obstacle=obstacle) for each in _held(model, "", [("", model)])]
    scripted: tuple[str, ...] = ()
    for path, owner in model.named_modules():
        if path.startswith(scripted):
            continue
        found += _opaque(path, owner)
        if isinstance(owner, torch.jit.ScriptModule):
            scripted += (f"{path}." if path else "",)
            continue
        # Not named_children(), which leaves out further names. An attribute hides a submodule.
        members = {**owner._modules, **vars(owner)}  # noqa: SLF001 -- no other way
        found += _held(model, path, members.items())
        if not isinstance(owner, fx.GraphModule):
            for each in _called(model, path, owner):
                found.append(replace(each, attribute=_free_name(owner, each, found)))
    return found


def _held(model: nn.Module, path: str, members: Iterable[tuple[str, Any]]) -> Iterator[Found]:
    """Yield the activations among the members of a module."""
    for name, member in members:
        call = spellings.read_member(member)
        if call is not None:
            kind = Kind.MODULE if isinstance(member, nn.Module) else Kind.HELD
            yield Found(kind, path, name, call, _caller(model, f"{path}.{name}".strip(".")))


def _caller(model: nn.Module, name: str) -> Place | None:
    """Return where source calls the member of that name, or else the nearest module that has it."""
    while name:
        path, _, attribute = name.rpartition(".")
        cls: Any = classes.original(model.get_submodule(path))
        place = methods.uses(cls).get(attribute)
        if place is not None:
            return place
        name = path
    return None


def _called(model: nn.Module, path: str, owner: nn.Module) -> Iterator[Found]:
    """Yield the calls in the code of a module that are not replaced already, each place once."""
    recipe = classes.recipe(type(owner))
    seen: set[Any] = {key for key, _ in recipe.calls}
    for each in reading.calls(path, owner, recipe.original):
        identity = each.key or (each.place, each.call.spelling.text)
        if identity not in seen and not _is_idle(model, recipe.original, each):
            own = "it has a forward of its own" if "forward" in vars(owner) else None
            yield replace(each, obstacle=own or each.obstacle)
        seen.add(identity)


def _is_idle(model: nn.Module, cls: type, found: Found) -> bool:
    """Whether it is in a method of torch's own modules, FloatFunctional's, that nothing calls."""
    if found.reached or found.key is None or not cls.__module__.startswith("torch."):
        return False
    method = found.key.method.rpartition(".")[2]
    others = {classes.original(module) for module in model.modules()} - {cls}
    return not any(method in methods.names(other) for other in others)


def _free_name(owner: nn.Module, call: Found, found: list[Found]) -> str:
    """Return a name for a call that no attribute of its module has, nor another site."""
    taken = {each.attribute for each in found if each.owner == call.owner}
    name = call.call.spelling.name
    names = itertools.chain([name], (f"{name}_{number}" for number in itertools.count(1)))
    return next(name for name in names if name not in taken and not holders.has(owner, name))


def _opaque(path: str, owner: nn.Module) -> Iterator[Found]:
    """Yield the activations that no conversion reaches."""
    if isinstance(owner, (nn.RNN, nn.RNNCell)) and owner.nonlinearity == "relu":
        call = Call(Spelling("relu", "relu", f'nn.{type(owner).__name__}(nonlinearity="relu")'))
        yield Found(Kind.MODULE, path, "", call, obstacle="it is a part of one operator")
    elif isinstance(owner, torch.jit.ScriptModule):
        if "aten::relu" in str(owner.inlined_graph):
            obstacle = "it is compiled: convert the model before that"
            yield Found(Kind.MODULE, path, "", Call(TORCHSCRIPT), obstacle=obstacle)
    elif isinstance(owner, fx.GraphModule):
        obstacle = "fx writes this code from its graph: convert the model before tracing it"
        for node in owner.graph.nodes:
            function = spellings.METHODS.get(node.target, node.target)
            found = spellings.read(function, node.args, node.kwargs)
            if found is not None:
                yield Found(Kind.SOURCE, path, node.name, found, obstacle=obstacle)
