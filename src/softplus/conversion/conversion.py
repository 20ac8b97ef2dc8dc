"""`convert`: a model with its activations replaced, and the record of that."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Never, TypeVar

from torch import nn

from softplus import arguments, samples
from softplus.conversion import betas, counting, finding, spellings
from softplus.conversion.measuring import Measured, measure
from softplus.conversion.replacements import Change, Replacement, install, undo
from softplus.conversion.selection import Patterns, select
from softplus.conversion.sites import Found, Kind, Site
from softplus.modules import ShiftedSoftplus, Softplus

_Model = TypeVar("_Model", bound=nn.Module)


@dataclass
class Conversion:
    """What `convert` did to a model; its attribute `conversion`.

    Attributes:
        sites: The sites that were replaced. `model.get_submodule(site.name)` is the replacement.
        betas: By the name of the site, the beta of a Softplus that went there.
        differences: By the name of the site, how far at most the replacement is from what it
            replaced, on what it receives of the sample; none where the sample does not lead.
        difference: The largest difference between the outputs for the sample before and after:
            infinite where their shapes differ; None without a sample or without numbers.
        left: What was not replaced, each with the reason in its own `left`: the other sites and,
            with a sample, what the converted model still computed on it, with the module whose code
            does, the operator and the line; clamps come last.
    """

    sites: tuple[Site, ...]
    betas: dict[str, float | list[float]]
    differences: dict[str, float] = field(default_factory=dict)
    difference: float | None = None
    left: tuple[Site, ...] = ()
    _model: nn.Module | None = field(default=None, repr=False)
    _changes: list[Change] = field(default_factory=list, repr=False)
    _earlier: "Conversion | None" = field(default=None, repr=False)

    def revert(self) -> None:
        """Undo a conversion in place; the weights stay what they are now.

        Raises:
            RuntimeError: The model is a copy, was reverted already, or converted again since.
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
    model: _Model,
    replacements: Mapping[Any, Replacement],  # invariant in its keys, so of any type
    *misplaced: Never,
    inplace: bool = False,
    include: Patterns = None,
    exclude: Patterns = None,
    tolerance: float | None = None,
    sample: Any = None,
    keep_inplace: bool = True,
) -> _Model:
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
        model: Any module.
        replacements: What goes where: from "relu", "softplus" or "shifted_softplus", or the class
            nn.ReLU, nn.Softplus or ShiftedSoftplus, to a module, of which each site gets a copy, or
            to a class. A class that is an nn.Softplus takes over the beta and the threshold of the
            Softplus that it replaces: {nn.Softplus: Softplus}. There 20 or more becomes inf, which
            is as exact as None and lets the model change the result in place, as it could before.
        misplaced: Nothing: the other arguments have names.
        inplace: Convert the model itself; `model.conversion.revert()` undoes it.
        include: Patterns of `fnmatch` for the names of sites (see `find_sites`) or of modules that
            hold them; only sites that match one are replaced, and so are clamps and what is nearly
            ReLU.
        exclude: Patterns for what stays.
        tolerance: Give each site the smallest beta with which its output differs from ReLU's by at
            most this, in units of the output, on what it receives of the sample. ln2/tolerance is
            enough for every input, and is for a site that the sample does not reach; no beta is
            below a thousandth of it.
        sample: An input, a tuple of arguments (a named one too) or a mapping of keyword arguments.
            Copies of the model run on copies of it, in eval mode, to count and to measure.
        keep_inplace: Work in place where the site did, and only there; False: nowhere, as full
            backward hooks need, which is right where the model uses what the site returns.

    Returns:
        The converted model. Its attribute `conversion` has the `sites`, what is `left` and why, the
        `betas`, the measured `differences` and `revert()`.

    Raises:
        TypeError: `model` is no module, or a replacement neither a module nor a class of modules
            that is built without arguments.
        ValueError: No site is found, a pattern matches nothing, a site that forward may reach
            cannot be replaced, or arguments contradict each other. The model is then unchanged.
    """
    if misplaced:
        raise TypeError(
            "convert takes a model and a mapping, such as convert(model, {nn.ReLU: Softplus}), and "
            f"the rest by name; got {len(misplaced)} more"
        )
    found = finding.find(model)
    if type(getattr(model, "conversion", None)) not in {Conversion, type(None)}:
        raise ValueError(
            "model has an attribute `conversion` of its own, where the record of the conversion "
            "would go: rename it, or convert the submodules"
        )
    values = _values(replacements)
    _check_tolerance(tolerance, sample, values)
    found = [each for each in found if each.family in values]
    found = [each for each in found if not _is_there(model, each, values[each.family])]
    chosen, left = select(model, found, include, exclude)
    missing = values.keys() - {each.family for each in chosen}
    if missing and (not chosen or include is exclude is None):
        raise ValueError(_nothing_found(model, min(missing), left, sample))

    measured: Measured = {}, {}, None, []
    if sample is not None:
        copied = samples.evaluation_copy(model)
        modules, _ = install(copied, chosen, values, keep_inplace=keep_inplace)
        others = [each for each in found if each not in chosen]
        measured = measure(model, copied, modules, sample, tolerance, chosen=chosen, others=others)
    chosen_betas, differences, difference, remaining = measured
    target = model if inplace else samples.copied(model)
    modules, changes = install(target, chosen, values, keep_inplace=keep_inplace)
    for name, beta in chosen_betas.items():
        betas.set_beta(modules[name], beta)
    vars(target)["conversion"] = Conversion(
        sites=tuple(each.site for each in chosen),
        betas=betas.present_betas(modules),
        differences=differences,
        difference=difference,
        left=(*left, *remaining),
        _model=target if inplace else None,
        _changes=changes if inplace else [],
        _earlier=vars(target).get("conversion"),
    )
    return target


def _values(replacements: Mapping[Any, Replacement]) -> dict[str, Replacement]:
    """Return the replacements by family, checked."""
    if not isinstance(replacements, Mapping) or not replacements:
        raise TypeError(
            "replacements must be a mapping such as {'relu': Softplus()} or {nn.ReLU: Softplus}, "
            f"got {replacements!r}"
        )
    values: dict[str, Replacement] = {}
    for key, value in replacements.items():
        families = [
            name
            for name, cls in spellings.FAMILIES.items()
            if key in (name, cls) or (key is Softplus and cls is nn.Softplus)
        ]
        if not families:
            raise ValueError(
                "a key of replacements must be 'relu' (or nn.ReLU), 'softplus' (or nn.Softplus) or "
                f"'shifted_softplus' (or softplus.ShiftedSoftplus), got {key!r}"
            )
        if families[0] in values:
            raise ValueError(
                f"replacements have {families[0]!r} twice, under {key!r} too: drop one"
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


def _check_tolerance(tolerance: float | None, sample: Any, values: Mapping[str, Any]) -> None:
    if tolerance is None:
        return
    arguments.check_tolerance(tolerance)
    if sample is None:
        raise ValueError(
            "tolerance needs a sample to measure on: pass sample=, or take the beta "
            f"ln2/tolerance = {math.log(2) / tolerance:.4g}, which is enough for every input"
        )
    for family, value in values.items():
        new = value() if isinstance(value, type) else value
        fixed = isinstance(new, ShiftedSoftplus) and new.shift is not None
        if family != "relu" or not isinstance(new, (Softplus, ShiftedSoftplus)) or fixed:
            raise ValueError(
                "tolerance is how far Softplus may be from ReLU: it goes with {'relu': Softplus()} "
                f"or {{'relu': ShiftedSoftplus()}} without a shift, got {family!r}: {value!r}"
            )


def _nothing_found(model: nn.Module, family: str, left: list[Site], sample: Any) -> str:
    """Return what was looked for in vain, and what there is instead."""
    hints = _some([site for site in left if site.family == family])
    if sample is None:
        advice = "With sample=, a run shows what reading does not"
    else:
        seen = counting.remaining(samples.evaluation_copy(model), sample, [family])
        advice = f"On the sample it computes: {_some(seen) or 'none'}"
    looked_for = ", ".join(spellings.texts(family))
    return (
        f"no {family} to replace was found in {type(model).__name__}; looked for {looked_for}, as "
        "modules, as function attributes and in the source of its classes. "
        f"{hints and f'Left, for include to name: {hints}. '}{advice}"
    )


def _some(sites: list[Site]) -> str:
    more = [f"and {len(sites) - 5} more"] if len(sites) > 5 else []
    return "; ".join([*(f"{site}: {site.left}" for site in sites[:5]), *more])


def _is_there(model: nn.Module, found: Found, value: Replacement) -> bool:
    """Whether a site has what a class would put there."""
    if not isinstance(value, type):
        return False
    if found.kind is Kind.MODULE and found.attribute:
        return isinstance(model.get_submodule(found.name), value)
    return issubclass(value, Softplus) and found.call.spelling.text.startswith("softplus.")
