"""What a run still computes: the activations that PyTorch dispatches, and where they are."""

import os
import sys
import traceback
from collections.abc import Collection
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from softplus import samples
from softplus.conversion.sites import Found, Kind, Site
from softplus.rewriting.methods import Place

_TORCH = f"{Path(torch.__file__).parent}{os.sep}"
_OURS = f"{Path(samples.__file__).parent}{os.sep}"
# Where no line of the user's is.
LIBRARIES = (_TORCH, _OURS)
_OPS = f"{_OURS}ops{os.sep}"
_READING = "reading does not find it: keep it as an attribute of its module, or call it in a method"
_ADVICE = {
    "relu": _READING,
    "softplus": f"{_READING}, or run the model under softplus.patch()",
    "clamp": "a clamp at zero, seldom an activation: where it is one, name it in include",
}


_Sites = Collection[Found]
# An activation that ran: its family, the operator, and the modules and lines on the way to it.
_Counted = tuple[str, str, list[nn.Module], list[Place]]


class Counter(TorchDispatchMode):  # type: ignore[no-untyped-call]  # how torch registers modes
    """Collects the activations that run under it, but for those inside of this package."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.counted: list[_Counted] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        del types
        kwargs = kwargs or {}
        family = _family(func, args, kwargs)
        if family is not None:
            stack = traceback.walk_stack(sys._getframe(1))  # noqa: SLF001 -- inspect does so too
            places = [Place(frame.f_code.co_filename, line) for frame, line in stack]
            callers = (place.file for place in places if not place.file.startswith(_TORCH))
            if not next(callers, "").startswith(_OPS):
                self.counted.append((family, str(func), modules_at_work(), places))
        return func(*args, **kwargs)


def remaining(
    copied: nn.Module,
    sample: Any,
    families: Collection[str],
    replaced: _Sites = (),
    known: _Sites = (),
) -> list[Site]:
    """Return the activations that a copy computes on a sample beside those of the known sites.

    Clamps come last. What the replaced sites have now may compute what it likes.
    """
    with Counter() as counter:
        samples.run(copied, sample)
    paths = {module: path for path, module in copied.named_modules()}
    names = {each.name for each in replaced}
    sites: dict[Site, None] = {}
    for kind, operator, modules, places in counter.counted:
        family = "relu" if kind == "clamp" else kind
        chain = [paths[module] for module in modules if module in paths]
        explained = any(_explains(one, chain, places) for one in known)
        if family not in families or explained or not names.isdisjoint(chain):
            continue
        users = (place for place in places if not place.file.startswith(LIBRARIES))
        file, line = next(users, (None, None))
        sites[Site(next(iter(chain), ""), family, operator, file, line, _ADVICE[kind])] = None
    return sorted(sites, key=lambda site: site.left == _ADVICE["clamp"])


def _explains(found: Found, chain: list[str], places: list[Place]) -> bool:
    """Whether a site is what was counted."""
    if found.kind is Kind.SOURCE:
        return found.owner in chain and found.place in places
    return (found.name if found.kind is Kind.MODULE else found.owner) in chain


def _family(func: Any, args: Any, kwargs: Any) -> str | None:
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


def modules_at_work() -> list[nn.Module]:
    """Return the modules whose code is running, the innermost first."""
    stack = traceback.walk_stack(sys._getframe(1))  # noqa: SLF001 -- inspect does so too
    code = ((frame.f_locals, frame.f_code.co_varnames) for frame, _ in stack)
    selves = (variables.get(next(iter(names), "")) for variables, names in code)
    return [each for each in selves if isinstance(each, nn.Module)]
