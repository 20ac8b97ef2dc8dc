"""The modules that go to the sites of a model, how they get there, and how they go again."""

import copy
import itertools
import math
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from torch import Tensor, nn

from softplus import functional
from softplus.conversion.sites import Found, Kind
from softplus.modules import Softplus
from softplus.rewriting import classes, methods

Replacement = nn.Module | type[nn.Module]


class InPlace(nn.Module):
    """Writes what a module computes over its input: at a site in place, for one that cannot."""

    inplace = True

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, input: Tensor) -> Tensor:
        return functional.overwrite(input, self.module)


class Change(NamedTuple):
    """What stood under a key of a module, if anything, or the recipe of its class."""

    module: nn.Module
    where: str  # "submodules", "attributes" or "class"
    key: str
    before: tuple[Any, ...]


def install(
    model: nn.Module, chosen: list[Found], values: Mapping[str, Replacement], *, keep_inplace: bool
) -> tuple[dict[str, nn.Module], list[Change]]:
    """Put a module to each site, by the values of the families; return them and what changed."""
    modules = {
        each.name: build(values[each.family], each, model, keep_inplace=keep_inplace)
        for each in chosen
    }
    return modules, _install(model, [(each, modules[each.name]) for each in chosen])


def build(
    value: Replacement, found: Found, model: nn.Module, *, keep_inplace: bool = True
) -> nn.Module:
    """Return the module for one site: a copy of `value`, or a new one of that class.

    It works in place where the site did and only there, and is on the device of the parameters.

    Raises:
        ValueError: A new Softplus needs the beta of a call, and that is no number.
    """
    owner = model.get_submodule(found.owner)
    if isinstance(value, nn.Module):
        module = copy.deepcopy(value)
    elif found.family == "softplus" and issubclass(value, nn.Softplus):
        module = value(**_options(found, value))
    else:
        module = value()
    inplace = found.call.inplace and keep_inplace
    if hasattr(module, "inplace"):
        module.inplace = inplace  # type: ignore[assignment]  # no submodule
    elif inplace:
        module = InPlace(module)
    module.train(owner.training)
    if found.kind is Kind.MODULE:
        take_hooks(module, model.get_submodule(found.name))
    parameter = next(owner.parameters(), next(model.parameters(), None))
    return module if parameter is None else module.to(parameter.device)


def take_hooks(module: nn.Module, original: nn.Module) -> None:
    """Give a module the hooks of another, whose handles go on removing them."""
    hooks = {key: value for key, value in vars(original).items() if "hook" in key and value}
    vars(module).update(hooks)


def _install(model: nn.Module, plan: Iterable[tuple[Found, nn.Module]]) -> list[Change]:
    """Put modules to the sites of a model and return what that changed.

    Raises:
        ValueError: A site cannot take its module; the model is as before.
    """
    changes: list[Change] = []
    calls: dict[nn.Module, list[tuple[Any, str]]] = {}
    held: dict[nn.Module, list[str]] = {}
    try:
        for found, module in plan:
            owner = model.get_submodule(found.owner)
            _register(changes, owner, found, module)
            if found.key is not None:
                calls.setdefault(owner, []).append((found.key, found.attribute))
            elif found.kind is Kind.HELD and type(owner).__setstate__ is not nn.Module.__setstate__:
                held.setdefault(owner, []).append(found.attribute)
        for owner in calls | held:
            recipe = classes.recipe(type(owner))
            changes.append(Change(owner, "class", "", (recipe,)))
            extended = recipe.extended(calls.get(owner, ()), held.get(owner, ()))
            owner.__class__ = classes.converted(extended)
        for encoder in model.modules():
            if isinstance(encoder, nn.TransformerEncoder) and not all(
                getattr(layer, "activation_relu_or_gelu", 0) for layer in encoder.layers
            ):
                # It would hand its layers nested tensors, for which they have the fused ReLU alone.
                _set(changes, encoder, "attributes", "use_nested_tensor", False)
    except BaseException:
        undo(changes)
        raise
    return changes


def undo(changes: list[Change]) -> None:
    """Put back what changes took, the last one first, and forget them."""
    while changes:
        module, where, key, before = changes.pop()
        if where == "class":
            module.__class__ = classes.converted(*before)
        elif before:
            _members(module, where)[key] = before[0]
        else:
            del _members(module, where)[key]


def _register(changes: list[Change], owner: nn.Module, found: Found, module: nn.Module) -> None:
    attributes = vars(owner)
    if found.kind is Kind.MODULE:
        registered = found.attribute not in attributes
    else:
        registered = not _runs_its_children(owner)
    if not registered and any(True for _ in itertools.chain(module.parameters(), module.buffers())):
        raise ValueError(
            f"site {found.site} cannot take a module with parameters: {type(owner).__name__} "
            "runs its submodules one after the other, so this one must stay outside of them; use "
            "a replacement without parameters, or exclude the site"
        )
    if registered and found.attribute in attributes:
        before = attributes.pop(found.attribute)
        changes.append(Change(owner, "attributes", found.attribute, (before,)))
    _set(changes, owner, "submodules" if registered else "attributes", found.attribute, module)
    if found.attribute == "activation" and "activation_relu_or_gelu" in attributes:
        # The fused operator of nn.TransformerEncoderLayer knows these two only.
        _set(changes, owner, "attributes", "activation_relu_or_gelu", 0)


def _runs_its_children(owner: nn.Module) -> bool:
    """Whether a further submodule would change what a module computes."""
    ways = {"children", "named_children", "_modules"}
    return isinstance(owner, (nn.Sequential, nn.ModuleList, nn.ModuleDict)) or bool(
        ways & methods.names(classes.original(owner))
    )


def _set(changes: list[Change], module: nn.Module, where: str, key: str, value: Any) -> None:
    members = _members(module, where)
    changes.append(Change(module, where, key, (members[key],) if key in members else ()))
    members[key] = value


def _members(module: nn.Module, where: str) -> dict[str, Any]:
    # Past nn.Module's own setter, which would take a module for a submodule.
    return vars(module)["_modules"] if where == "submodules" else vars(module)


def _options(found: Found, value: type[nn.Module]) -> dict[str, float]:
    """Return beta and threshold of a Softplus, which must be numbers."""
    for name, option in found.call.options.items():
        if type(option) not in {int, float}:
            raise ValueError(
                f"site {found.site} has a {name} that is no number yet: map to an instance with "
                "the beta that you want, or exclude the site"
            )
    options = dict(found.call.options)
    if issubclass(value, Softplus) and options.get("threshold", 20.0) >= 20:
        # Exact as with None, and it keeps its input for backward, as PyTorch's own does: the model
        # may change the result in place.
        options["threshold"] = math.inf
    return options
