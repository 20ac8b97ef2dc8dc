"""Hardening: an exact ReLU for every Softplus of a model, and nothing of this package left."""

from collections.abc import Mapping
from types import FunctionType
from typing import Any, TypeVar

from torch import nn
from torch.overrides import TorchFunctionMode

from softplus import folding, functional, samples
from softplus.annealing import activations
from softplus.conversion import counting, finding
from softplus.conversion.replacements import build, take_hooks
from softplus.conversion.selection import Patterns, Selection, listed, matched
from softplus.conversion.sites import Found, Kind
from softplus.modules import LogSigmoid, ShiftedSoftplus, Softplus
from softplus.rewriting import classes

_Model = TypeVar("_Model", bound=nn.Module)
_KINDS = (nn.Softplus, Softplus, ShiftedSoftplus)
_CALLS = (
    "the model calls a function of this package, which harden cannot replace: give it a module "
    "instead, such as softplus.Softplus(), or name the module that calls it in exclude"
)


def harden(
    model: _Model, sample: Any = None, *, include: Patterns = None, exclude: Patterns = None
) -> _Model:
    """Return a copy of the model with an exact `torch.nn.ReLU` for every Softplus module.

    >>> import torch
    >>> model = nn.Sequential(nn.Linear(4, 8), Softplus(beta=1000), nn.Linear(8, 1))
    >>> hardened = harden(model, sample=torch.randn(64, 4))
    >>> hardened
    Sequential(
      (0): Linear(in_features=4, out_features=8, bias=True)
      (1): ReLU()
      (2): Linear(in_features=8, out_features=1, bias=True)
    )
    >>> hardened.difference < 1e-3
    True

    Softplus lies above ReLU, by ln2/beta at 0 and by less elsewhere: that bounds what each
    activation changes. What the network makes of it is measured: `.difference` is the largest
    difference between the two models' outputs on the sample, as in `convert`. Anneal beta first,
    with `BetaAnnealing`.

    Nothing of this package is left: the result saves, loads, exports and runs without it. The model
    itself stays as it is. Found are the modules that `BetaAnnealing` finds; PyTorch's F.softplus,
    where the model calls it, stays. A `LogSigmoid` becomes PyTorch's, out of place, and a module in
    which `convert` replaced calls of ReLU calls ReLU itself again. Hooks, names and parameters
    stay, other than those of a learnable beta.

    A `shift` is folded into the bias of the next layers (a layer without one gets one): `Linear`
    and convolutions, with flattening, dropout, maximum or adaptive average pooling in between;
    dropout in training keeps it on average. The default shift ln2/beta is folded where it can be
    and left out where not: the bound holds.

    Args:
        model: The model to harden.
        sample: What to measure on, as in `convert`.
        include: As in `convert`: patterns for the names of activations, or of modules around them.
        exclude: Patterns for what stays as it is, of this package or not.

    Raises:
        ValueError: The model has no such activation, or something that cannot be hardened: a
            negative beta (the limit is min(x, 0), which is not ReLU) or threshold, a subclass, a
            shift that no bias can take (one before the zero padding of a convolution, or before a
            sum), another module of this package, or a call of one of its functions. The message
            names it; the model is unchanged.
    """
    own = getattr(model, "difference", None)
    if own is not None and type(own) is not float:
        raise ValueError(
            f"this {type(model).__name__} has an attribute `difference` of its own, where harden "
            "puts what it measures: rename it"
        )
    exclude = listed("exclude", exclude)  # it is asked twice
    hardened: Any = samples.copied(model)
    chosen = activations(hardened, include, exclude)
    _check_limits(chosen)
    excluded = Selection("exclude", exclude, hardened, chosen)
    staying = matched(hardened, excluded)
    if include is not None:
        staying |= {module for module in hardened.modules() if isinstance(module, _KINDS)}
    found = finding.find(hardened)
    replacements = {
        module: build(nn.ReLU, each, hardened)
        for each in found
        if each.kind is Kind.MODULE
        if (module := hardened.get_submodule(each.name)) in chosen.values()
    }
    for module in hardened.modules():
        if type(module) is LogSigmoid and module not in staying:
            replacements[module] = nn.LogSigmoid().train(module.training)
            take_hooks(replacements[module], module)
    if _is_ours(vars(hardened).get("conversion")):  # the record of softplus.convert
        del vars(hardened)["conversion"]
    calling_relu = _calling_relu(hardened, replacements)
    _check_nothing_else(hardened, {*replacements, *staying, *calling_relu})
    _check_calls([each for each in found if each.name not in excluded])
    folding.fold_shifts(hardened, chosen)
    for name, module in list(hardened.named_modules(remove_duplicate=False)):
        if module in replacements and name:
            hardened.set_submodule(name, replacements[module])
    hardened = replacements.get(hardened, hardened)
    for module, made in calling_relu.items():
        made.undo(module)
    hardened.difference = None if sample is None else _difference(model, hardened, sample, excluded)
    return hardened  # type: ignore[no-any-return]  # the model's type, unless it was a Softplus


def _check_limits(activations: dict[str, Any]) -> None:
    """Raise unless every activation has ReLU as its limit."""
    for name, module in activations.items():
        kind = type(module)
        if kind not in _KINDS or "forward" in vars(module):
            what = "a subclass" if kind not in _KINDS else "with a forward of its own"
            raise ValueError(
                f"{name} is a {kind.__name__}, {what}, which may compute anything: replace it "
                "by a Softplus, or name it in exclude"
            )
        beta = folding.smallest_beta(module)
        if not beta > 0:
            raise ValueError(
                f"{name} has beta={beta:g}, whose limit is min(x, 0) and not ReLU: write "
                f"-softplus(-x) with beta={-beta:g} around it, or name it in exclude"
            )
        threshold = getattr(module, "threshold", None)
        if threshold is not None and threshold < 0:
            raise ValueError(
                f"{name} has threshold={threshold:g}, below which it is x itself for some x < 0, "
                "and so not near ReLU: give it a threshold of 0 or more, or name it in exclude"
            )


def _calling_relu(
    model: nn.Module, replacements: Mapping[nn.Module, nn.Module]
) -> dict[nn.Module, classes.Recipe]:
    """Return the modules whose calls of ReLU `convert` replaced by what becomes ReLU again."""
    recipes = {module: classes.recipe(type(module)) for module in model.modules()}
    return {
        module: made
        for module, made in recipes.items()
        if made.original is not type(module) and made.is_all("relu")
        if replacements.keys() >= set(made.submodules(module))
    }


def _check_calls(found: list[Found]) -> None:
    """Raise if forward may call a function of this package."""
    for each in (each for each in found if each.kind is not Kind.MODULE and each.reached):
        if each.call.spelling.text.startswith("softplus."):
            raise ValueError(f"at site {each.site} {_CALLS}")


def _check_nothing_else(model: nn.Module, expected: set[nn.Module]) -> None:
    """Raise if any other module is, or holds, a thing of this package."""
    for name, module in model.named_modules():
        if module in expected:
            continue
        kind = type(module)
        for held in (*kind.__mro__, *vars(kind).values(), *vars(module).values()):
            if _is_ours(held):
                what: Any = held if isinstance(held, (type, FunctionType)) else type(held)
                made = "a class made by convert" if what is classes.Recipe else what.__name__
                raise ValueError(
                    f"{name or 'the model'} uses {made} of this package, and harden "
                    "replaces modules of Softplus alone: give it a module in place of a function, "
                    "remove a parametrization (torch.nn.utils.parametrize.remove_parametrizations),"
                    " load a converted model's state_dict into the model that it was converted "
                    "from, or name it in exclude"
                )


def _is_ours(thing: object) -> bool:
    home = thing if isinstance(thing, (type, FunctionType)) else type(thing)
    return str(home.__module__).partition(".")[0] == __package__


class _NoCalls(TorchFunctionMode):
    """Raises where a function of this package is called outside of the modules that stay."""

    def __init__(self, staying: set[nn.Module]) -> None:
        super().__init__()
        self._staying = staying

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        ours = getattr(func, "__module__", None) == functional.__name__
        if ours and self._staying.isdisjoint(counting.modules_at_work()):
            raise ValueError(f"at {func.__name__} {_CALLS}")
        return func(*args, **(kwargs or {}))


def _difference(model: nn.Module, hardened: nn.Module, sample: Any, excluded: Selection) -> Any:
    before = samples.run(samples.evaluation_copy(model), sample)
    copied = samples.evaluation_copy(hardened)
    with _NoCalls(matched(copied, excluded)):
        return samples.largest_difference(before, samples.run(copied, sample))
