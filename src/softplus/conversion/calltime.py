"""Activations replaced, or only seen, while a model runs.

Replaced so are those whose source cannot be rewritten: there is none (code typed at a prompt or
generated), or the call stands outside of the model's classes, or reading does not show what it
calls. A `TorchFunctionMode` around the methods of the module then sees every torch function and
replaces those at the known places, for about 2 microseconds for each torch function that runs and
35 for each activation.
"""

import functools
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import FrameType, FunctionType
from typing import Any, NamedTuple

import torch
from torch import fx, nn
from torch._guards import TracingContext
from torch.compiler import is_dynamo_compiling
from torch.overrides import TorchFunctionMode

from softplus import functional
from softplus import modules as softplus_modules
from softplus.conversion import spellings
from softplus.conversion.source import Place

# Where a call on the way from the user's code may pass, and where one belongs to a module.
_LIBRARIES = (
    f"{Path(torch.__file__).parent}{os.sep}",
    f"{Path(functional.__file__).parent}{os.sep}",
)
_MODULES = (f"{Path(nn.__file__).parent / 'modules'}{os.sep}", str(softplus_modules.__file__))


def under_mode(method: FunctionType, attributes: Mapping[Any, str | None]) -> Callable[..., Any]:
    """Return the method with the activations at these places replaced by attributes of self."""

    @functools.wraps(method)
    def converted(self: nn.Module, *args: Any, **kwargs: Any) -> Any:
        if any(isinstance(argument, fx.Proxy) for argument in (*args, *kwargs.values())):
            raise NotImplementedError(
                f"the activations of {type(self).__name__} are replaced while it runs, for its "
                "source cannot be rewritten; fx.symbolic_trace cannot follow that: use torch.export"
            )
        with _Replacing(self, attributes):
            return method(self, *args, **kwargs)

    return converted


class _Replacing(TorchFunctionMode):
    """Calls an attribute of the owner in place of an activation at a known place."""

    def __init__(self, owner: nn.Module, attributes: Mapping[Any, str | None]) -> None:
        super().__init__()
        self.owner, self.attributes = owner, attributes

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        del types
        kwargs = kwargs or {}
        call = spellings.read(func, args, kwargs)
        if call is not None and call.input.is_floating_point():
            # No `place is None` between: the compiler would guard it, and fails to.
            attribute = self.attributes.get(_place(call.family, is_dynamo_compiling()))
            if attribute is not None:
                activation = getattr(self.owner, attribute)
                if call.inplace:
                    return functional.overwrite(call.input, activation)
                return activation(call.input)
        return func(*args, **kwargs)


class Seen(NamedTuple):
    """An activation that ran: where the user's code led to it, in the code of which module.

    `module` is the one of torch or of this package that computes it, None if the code does.
    """

    call: spellings.Call
    place: Place
    owner: nn.Module | None
    module: nn.Module | None


class Recording(TorchFunctionMode):
    """Collects the activations that run under it."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Seen] = []

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        del types
        kwargs = kwargs or {}
        call = spellings.read(func, args, kwargs)
        if call is not None and call.input.is_floating_point():
            frames = list(_frames(sys._getframe(1)))  # noqa: SLF001 -- inspect.stack does so too
            files = [frame.f_code.co_filename for frame in frames]
            user = next(i for i, file in enumerate(files) if not file.startswith(_LIBRARIES))
            modules = [
                _self_of(frame)
                for frame, file in zip(frames[:user], files, strict=False)
                if file.startswith(_MODULES)
            ]
            owners = filter(None, map(_self_of, frames[user:]))
            place = Place(files[user], frames[user].f_lineno, call.family)
            self.seen.append(Seen(call, place, next(owners, None), next(iter(modules), None)))
        return func(*args, **kwargs)


def _place(family: str, compiling: bool) -> Place | None:
    """Return where the user's code makes the call in progress, None if a module makes it."""
    if compiling:
        # The frames are those of the compiler, which keeps a stack of what it traces.
        stack = ((frame.filename, frame.lineno) for frame in TracingContext.extract_stack()[::-1])
    else:
        frames = _frames(sys._getframe(1))  # noqa: SLF001 -- what inspect.stack reads too
        stack = ((frame.f_code.co_filename, frame.f_lineno) for frame in frames)
    next(stack)  # the mode that asks
    for file, line in stack:
        # Another mode has left the call alone, as the module that makes it wants.
        if file == __file__ or file.startswith(_MODULES):
            return None
        if not file.startswith(_LIBRARIES):
            return Place(file, line or 0, family).short
    return None


# What torch.compiler.assume_constant_result sets; calling that loads the compiler, which takes
# seconds and is not needed otherwise.
vars(_place)["_dynamo_marked_constant"] = True


def _frames(frame: FrameType | None) -> Iterator[FrameType]:
    while frame is not None:
        yield frame
        frame = frame.f_back


def _self_of(frame: FrameType) -> nn.Module | None:
    first = frame.f_locals.get(next(iter(frame.f_code.co_varnames), ""))
    return first if isinstance(first, nn.Module) else None
