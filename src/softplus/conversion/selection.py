"""Which sites are meant: patterns of names, and what is left and why."""

from collections.abc import Collection, Iterable
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import Any

from torch import nn

from softplus.conversion.sites import Found, Site

Patterns = str | Iterable[str] | None


class Selection:
    """The names that patterns match: of sites, or of the modules that they are in.

    Raises:
        TypeError: A pattern is no string.
        ValueError: A pattern matches neither a site nor a module.
    """

    def __init__(
        self, argument: str, patterns: Patterns, model: nn.Module, sites: Collection[str]
    ) -> None:
        self._patterns = listed(argument, patterns)
        names = [*sites, *(name for name, _ in model.named_modules(remove_duplicate=False))]
        for pattern in self._patterns:
            if not any(fnmatchcase(name, pattern) for name in names):
                raise ValueError(
                    f"{argument} pattern {pattern!r} matches none of the sites "
                    f"{', '.join(sites) or '(there is none)'}, and no module either"
                )

    def __contains__(self, name: str) -> bool:
        parts = name.split(".")
        names = [".".join(parts[:end]) for end in range(1, len(parts) + 1)] or [name]
        return any(fnmatchcase(each, pattern) for pattern in self._patterns for each in names)


def listed(argument: str, patterns: Patterns) -> list[str]:
    """Return patterns as a list, or raise TypeError if one is no string."""
    patterns = () if patterns is None else patterns
    single = isinstance(patterns, str) or not isinstance(patterns, Iterable)
    found: list[Any] = [patterns] if single else [*patterns]
    for pattern in found:
        if not isinstance(pattern, str):
            raise TypeError(
                f"{argument} must be a pattern of names or several, got {pattern!r}: name the site "
                "or the module as find_sites lists it"
            )
    return found


def select(
    model: nn.Module, found: Collection[Found], include: Patterns, exclude: Patterns
) -> tuple[list[Found], list[Site]]:
    """Return which of the sites are to be replaced, and the others, each with the reason.

    Raises:
        ValueError: A pattern matches nothing, or nothing is left, or a site that forward may reach
            cannot be replaced.
    """
    names = [each.name for each in found]
    included = Selection("include", include, model, names)
    excluded = Selection("exclude", exclude, model, names)
    chosen: list[Found] = []
    left: list[Site] = []
    for each in found:
        site = each.site
        if each.name in excluded:
            left.append(replace(site, left="exclude names it"))
        elif include is not None and each.name not in included:
            left.append(replace(site, left="include does not name it"))
        elif include is None and site.left is not None:
            left.append(site)
        elif each.obstacle is None:
            chosen.append(each)
        elif each.reached:
            raise ValueError(
                f"site {site} cannot be replaced: {each.obstacle}; pass exclude={each.name!r} to "
                "leave it"
            )
        else:
            left.append(replace(site, left="it cannot be replaced, and forward does not reach it"))
    if left and not chosen and (include is not None or exclude is not None):
        raise ValueError(f"include and exclude leave none of the sites {', '.join(names)}")
    return chosen, left


def matched(model: nn.Module, selection: Selection) -> set[nn.Module]:
    """Return the modules that a selection names, by any of their names."""
    modules = model.named_modules(remove_duplicate=False)
    return {module for name, module in modules if name in selection}
