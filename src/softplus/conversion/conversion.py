"""`convert`: a model with its activations replaced, and the record of that."""

import copy
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from softplus import functional
from softplus.conversion import measure, sites, spellings, trials
from softplus.conversion.replacements import Change, build, install, undo
from softplus.conversion.sites import Found, Kind, Site
from softplus.modules import ShiftedSoftplus, Softplus

Replacement = nn.Module | type[nn.Module]
Patterns = str | Iterable[str] | None


@dataclass
class Conversion:
    """What `convert` did to a model; its attribute `conversion`.

    Attributes:
        sites: The sites that were replaced. `model.get_submodule(site.name)` is the replacement.
        betas: By the name of the site, the beta of a Softplus that went there.
        differences: By the name of the site, the largest difference of the replacement from what it
            replaced, on what it receives when the converted model runs on the sample. A site that
            the sample does not reach has none.
        difference: The largest difference between the outputs for the sample before and after; None
            without a sample.
    """

    sites: tuple[Site, ...]
    betas: dict[str, float | list[float]]
    differences: dict[str, float] = field(default_factory=dict)
    difference: float | None = None
    _model: nn.Module | None = field(default=None, repr=False)
    _changes: list[Change] = field(default_factory=list, repr=False)
    _earlier: "Conversion | None" = field(default=None, repr=False)

    def revert(self) -> None:
        """Undo a conversion in place; the weights stay what they are now.

        Raises:
            RuntimeError: The model is a converted copy, or was reverted already, or was converted
                again since.
        """
        if self._model is None:
            raise RuntimeError(
                "there is nothing to revert: the model is a copy, and the one that it was made of "
                "is as it was; only convert(..., inplace=True) can be reverted, and once"
            )
        if vars(self._model).get("conversion") is not self:
            raise RuntimeError(
                "the model was converted again since: call model.conversion.revert() first"
            )
        undo(self._changes)
        del vars(self._model)["conversion"]
        if self._earlier is not None:
            vars(self._model)["conversion"] = self._earlier
        self._model = None


def convert(
    model: nn.Module,
    replacements: Mapping[str | type[nn.Module], Replacement],
    *,
    inplace: bool = False,
    include: Patterns = None,
    exclude: Patterns = None,
    tolerance: float | None = None,
    sample: Any = None,
) -> nn.Module:
    """Return a copy of a model with each activation of a kind replaced by another.

    >>> model = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 1))
    >>> convert(model, {"relu": Softplus(beta=10)})
    Sequential(
      (0): Linear(in_features=2, out_features=2, bias=True)
      (1): Softplus(beta=10)
      (2): Linear(in_features=2, out_features=1, bias=True)
    )

    Parameters, buffers, hooks and the keys of the state_dict stay; a learnable replacement adds its
    own. A module whose code calls an activation (`F.relu(x)`) becomes an instance of a subclass of
    its class, of the same name, whose code calls a submodule instead.

    Args:
        model: Any module. An integer tensor that is clamped at zero is no activation and stays one.
        replacements: What goes where: from "relu", "softplus" or "shifted_softplus", or the class
            nn.ReLU, nn.Softplus or ShiftedSoftplus, to a module, of which each site gets a copy, or
            to a class. A class that is an nn.Softplus takes over the beta and the threshold of the
            Softplus that it replaces: {nn.Softplus: Softplus}. The replacement works in place where
            the site did, and only there.
        inplace: Convert the model itself; `model.conversion.revert()` undoes it.
        include: Patterns of `fnmatch` for the names of sites (see `find_sites`); only sites that
            match one are replaced.
        exclude: Patterns for the names of sites that stay.
        tolerance: Give each site the smallest beta with which its output differs from ReLU's by at
            most this, in units of the output, on what the site receives when the converted model
            runs on the sample. ln2/tolerance does for every input, and is what a site gets that the
            sample does not reach; no beta is below a thousandth of it.
        sample: An input, a tuple of arguments or a dict of keyword arguments. Copies of the model
            run on it, in eval mode: to find calls that reading the source does not show, and to
            measure the differences.

    Returns:
        The converted model. Its attribute `conversion` has the `sites`, the `betas`, the measured
        `differences` and `revert()`.

    Raises:
        TypeError: `model` is no module, or a replacement neither a module nor a class of modules
            that is built without arguments.
        ValueError: No site is found, a pattern matches none, a site cannot be replaced, or the
            arguments contradict each other. The model is unchanged then.
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"model must be a torch.nn.Module, got {type(model).__name__}")
    if type(getattr(model, "conversion", None)) not in {Conversion, type(None)}:
        raise ValueError(
            "model has an attribute `conversion` of its own, where the record of the conversion "
            "would go: rename it, or convert the submodules"
        )
    values = _values(replacements)
    _check_tolerance(tolerance, sample, values)
    found = sites.find(model, sample)
    chosen = _chosen(model, found, values, include, exclude)
    names = {each.name for each in chosen}
    left = [each for each in found if each.name not in names]

    def converted(target: nn.Module) -> tuple[dict[str, nn.Module], list[Change]]:
        modules = [build(values[each.call.family], each, target) for each in chosen]
        changes = install(target, list(zip(chosen, modules, strict=True)), left)
        return {each.name: module for each, module in zip(chosen, modules, strict=True)}, changes

    chosen_betas: dict[str, float] = {}
    differences: dict[str, float] = {}
    difference = None
    if sample is not None:
        before = trials.run(trials.trial(model), sample)
        trial = trials.trial(model)
        modules, _ = converted(trial)
        if tolerance is not None:
            chosen_betas = measure.choose_betas(trial, modules, sample, tolerance)
        after, differences = measure.compare(trial, modules, _originals(model, chosen), sample)
        difference = measure.largest_difference(before, after)
    target = model if inplace else copy.deepcopy(model)
    modules, changes = converted(target)
    for name, beta in chosen_betas.items():
        measure.set_beta(modules[name], beta)
    vars(target)["conversion"] = Conversion(
        sites=tuple(each.site for each in chosen),
        betas=measure.betas(modules),
        differences=differences,
        difference=difference,
        _model=target if inplace else None,
        _changes=changes if inplace else [],
        _earlier=vars(target).get("conversion"),
    )
    return target


def _values(replacements: Mapping[str | type[nn.Module], Replacement]) -> dict[str, Replacement]:
    """Return the replacements by family, checked."""
    if not isinstance(replacements, Mapping) or not replacements:
        raise TypeError(
            f"replacements must be a mapping such as {{'relu': Softplus()}}, got {replacements!r}"
        )
    values: dict[str, Replacement] = {}
    for key, value in replacements.items():
        families = [
            name
            for name, cls in spellings.FAMILIES.items()
            if key == name or (isinstance(key, type) and issubclass(key, cls))
        ]
        if not families or families[0] in values:
            raise ValueError(
                "replacements must have each of the keys 'relu' (or nn.ReLU), 'softplus' (or "
                "nn.Softplus) and 'shifted_softplus' (or softplus.ShiftedSoftplus) at most once, "
                f"got {key!r}"
            )
        values[families[0]] = value
        if isinstance(value, type) and issubclass(value, nn.Module):
            try:
                value()
            except TypeError as error:
                raise TypeError(
                    f"the replacement of {key!r} is a class that needs arguments ({error}): "
                    "pass a module of it"
                ) from None
        elif not isinstance(value, nn.Module):
            raise TypeError(
                f"the replacement of {key!r} must be a torch.nn.Module or a class of them, "
                f"got {value!r}: wrap a function in a module"
            )
    return values


def _check_tolerance(
    tolerance: float | None, sample: Any, values: Mapping[str, Replacement]
) -> None:
    if tolerance is None:
        return
    if not 0 < tolerance < math.inf:
        raise ValueError(f"tolerance must be a positive finite number, got {tolerance}")
    if sample is None:
        raise ValueError(
            "tolerance needs a sample to measure on: pass sample=, or take the beta "
            f"ln2/tolerance = {math.log(2) / tolerance:.4g}, which does for every input"
        )
    for family, value in values.items():
        new = value() if isinstance(value, type) else value
        fixed = isinstance(new, ShiftedSoftplus) and new.shift is not None
        if family != "relu" or not isinstance(new, (Softplus, ShiftedSoftplus)) or fixed:
            raise ValueError(
                "tolerance is how far Softplus may be from ReLU: it goes with {'relu': Softplus()} "
                f"or {{'relu': ShiftedSoftplus()}} without a shift, got {family!r}: {value!r}"
            )


def _chosen(
    model: nn.Module,
    found: list[Found],
    values: Mapping[str, Replacement],
    include: Patterns,
    exclude: Patterns,
) -> list[Found]:
    """Return the sites that are to be replaced, and can be."""
    chosen = []
    for family, value in values.items():
        of_family = [
            each
            for each in found
            if each.call.family == family and not _is_there(model, each, value)
        ]
        if not of_family:
            raise ValueError(
                f"no {family} to replace was found in {type(model).__name__}; looked for "
                f"{', '.join(spellings.of(family))}, as modules, as function attributes and in the "
                "source of its classes. Calls that reading does not show are found by a run: pass "
                "sample="
            )
        chosen += of_family
    names = [each.name for each in chosen]
    included = names if include is None else _matching("include", include, names)
    excluded = [] if exclude is None else _matching("exclude", exclude, names)
    chosen = [each for each in chosen if each.name in included and each.name not in excluded]
    if not chosen:
        raise ValueError(f"include and exclude leave none of the sites {', '.join(names)}")
    for each in chosen:
        if each.obstacle is not None:
            raise ValueError(
                f"site {each.name!r} ({each.call.spelling}) cannot be replaced: {each.obstacle}; "
                f"pass exclude={each.name!r} to leave it"
            )
    return chosen


def _matching(argument: str, patterns: str | Iterable[str], names: list[str]) -> set[str]:
    matching: set[str] = set()
    for pattern in [patterns] if isinstance(patterns, str) else patterns:
        matched = {name for name in names if fnmatchcase(name, pattern)}
        if not matched:
            raise ValueError(
                f"{argument} pattern {pattern!r} matches none of the sites {', '.join(names)}"
            )
        matching |= matched
    return matching


def _is_there(model: nn.Module, found: Found, value: Replacement) -> bool:
    """Whether a site has what a class would put there."""
    if not isinstance(value, type):
        return False
    if found.kind is Kind.MODULE:
        return isinstance(model.get_submodule(found.name), value)
    return issubclass(value, Softplus) and found.call.spelling.startswith("softplus.")


def _originals(model: nn.Module, chosen: list[Found]) -> dict[str, Callable[[Tensor], Tensor]]:
    """Return what each site computes before it is replaced, where that is fixed."""
    originals: dict[str, Callable[[Tensor], Tensor]] = {}
    for each in chosen:
        if each.kind is Kind.MODULE:
            module = model.get_submodule(each.name)
            # Not the module itself, whose hooks would run.
            originals[each.name] = module.forward
        elif each.call.family == "relu":
            originals[each.name] = torch.relu
        elif all(isinstance(value, (int, float)) for value in each.call.options.values()):
            function = getattr(functional, each.call.family)
            originals[each.name] = partial(function, **each.call.options)
    return originals
