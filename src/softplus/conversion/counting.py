"""What a run still computes: the activations that PyTorch dispatches, counted with where they are."""

import os
import sys
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from softplus import samples
from softplus.conversion.sites import Found, Kind, Site
from softplus.conversion.source import Place
from softplus.ops import definition

_TORCH = f"{Path(torch.__file__).parent}{os.sep}"
_OURS = f"{Path(definition.__file__).parents[1]}{os.sep}"
_ADVICE = {
    "relu": "reading does not find it: keep it as an attribute of its module, or call it in a method",
    "softplus": "reading does not find it: run the model under softplus.patch(), keep it as an "
    "attribute of its module, or call it in a method",
    "clamp": "a clamp at zero, which is seldom an activation: where it is one, call it in a method "
    "and name it in include",
}


@dataclass(frozen=True)
class _Counted:
    """An activation that ran: the operator, and the modules and lines on the way to it."""

    family: str
    operator: str
    modules: tuple[nn.Module, ...]
    places: tuple[Place, ...]


class _Counter(TorchDispatchMode):
    """Collects the activations that run under it, but for those inside of this package."""

    def __init__(self) -> None:
        super().__init__()
        self.counted: list[_Counted] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        del types
        kwargs = kwargs or {}
        family = _family(func, args, kwargs)
        if family is not None:
            frames = list(_frames(sys._getframe(1)))  # noqa: SLF001 -- inspect.stack does so too
            files = [frame.f_code.co_filename for frame in frames]
            if not any(file.startswith(_OURS) for file in _until_user(files)):
                places = tuple(map(Place, files, (frame.f_lineno for frame in frames)))
                modules = tuple(filter(None, map(_self_of, frames)))
                self.counted.append(_Counted(family, str(func), modules, places))
        return func(*args, **kwargs)


def remaining(
    model: nn.Module,
    sample: Any,
    families: Collection[str],
    *,
    replaced: Collection[Found] = (),
    known: Collection[Found] = (),
) -> list[Site]:
    """Return the activations that a trial computes on a sample beside those of the known sites.

    Clamps come last. What the replaced sites have now may compute what it likes.
    """
    with _Counter() as counter:
        samples.run(model, sample)
    paths = {module: path for path, module in model.named_modules()}
    wanted = {*families, *(["clamp"] if "relu" in families else [])}
    sites: dict[Site, None] = {}
    for each in counter.counted:
        chain = [paths[module] for module in each.modules if module in paths]
        if each.family not in wanted or any(_explains(one, chain, each) for one in known):
            continue
        if any(one.name in chain for one in replaced):
            continue
        users = (place for place in each.places if not place.file.startswith((_TORCH, _OURS)))
        file, line = next(users, (None, None))
        name = chain[0] if chain else ""
        family = "relu" if each.family == "clamp" else each.family
        sites[Site(name, family, each.operator, file, line, _ADVICE[each.family])] = None
    return sorted(sites, key=lambda site: site.left == _ADVICE["clamp"])


def _explains(found: Found, chain: list[str], counted: _Counted) -> bool:
    """Whether a site is what was counted."""
    if found.kind is Kind.SOURCE:
        return found.owner in chain and found.place in counted.places
    return (found.name if found.kind is Kind.MODULE else found.owner) in chain


def _family(func: Callable[..., Any], args: Any, kwargs: Any) -> str | None:
    """Return what an operator computes: "relu", fused ones too, "softplus", "clamp" or nothing."""
    name = str(func).split(".")[1].rstrip("_")
    words = name.split("_")
    if "relu" in words and "leaky" not in words:
        return "relu"
    if name == "softplus":
        return "softplus"
    if name == "threshold":
        return "relu" if args[1:3] == (0, 0) else None
    if name == "_transformer_encoder_layer_fwd":
        return None if args[7] else "relu"  # use_gelu
    if name in {"clamp", "clamp_min"}:
        low, high = (*args[1:3], None, None)[:2]
        low, high = kwargs.get("min", low), kwargs.get("max", high)
        is_zero = isinstance(low, (int, float)) and low == 0 and high is None
        return "clamp" if is_zero and args[0].is_floating_point() else None
    return None


def _until_user(files: list[str]) -> Iterator[str]:
    """Yield the files on the way to the user's code."""
    for file in files:
        yield file
        if not file.startswith((_TORCH, _OURS)):
            return


def _frames(frame: FrameType | None) -> Iterator[FrameType]:
    while frame is not None:
        yield frame
        frame = frame.f_back


def _self_of(frame: FrameType) -> nn.Module | None:
    first = frame.f_locals.get(next(iter(frame.f_code.co_varnames), ""))
    return first if isinstance(first, nn.Module) else None
