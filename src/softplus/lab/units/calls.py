"""Where an activation is called, and the name that `find_sites` gives the place."""

import itertools
import sys
from types import CodeType, FrameType
from typing import Any, NamedTuple

from torch import nn

from softplus.conversion import finding
from softplus.conversion.counting import LIBRARIES
from softplus.conversion.sites import Kind


class Call(NamedTuple):
    """Where an activation is called.

    The path of the module whose code is at work, the instruction of the user's code that called,
    whether that is the module's own, and the layer before.
    """

    path: str
    code: CodeType | None
    instruction: int
    own: bool
    after: str

    @property
    def place(self) -> tuple[str, int, int] | None:
        """The file, the line and the column where the expression ends; None of a module's call."""
        if self.code is None or not self.own:
            return None
        positions = next(itertools.islice(self.code.co_positions(), self.instruction // 2, None))
        line, _, _, end = positions
        return self.code.co_filename, line or 0, end or 0


def caller(names: dict[int, str], after: str) -> Call | None:
    """Return where the activation that is being watched was called; None outside of the model."""
    path, code, instruction, own = None, None, 0, False
    frame: FrameType | None = sys._getframe(3)  # noqa: SLF001 -- inspect does so too
    while frame is not None and (path is None or code is None):
        here = frame.f_code
        if code is None and not here.co_filename.startswith(LIBRARIES):
            code, instruction, own = here, frame.f_lasti, path is None
        if path is None and here.co_argcount:
            path = names.get(id(frame.f_locals.get(here.co_varnames[0])))
        frame = frame.f_back
    return None if path is None else Call(path, code, instruction, own, after)


def site_names(model: nn.Module | None) -> dict[tuple[Any, ...], str]:
    """Return the names that `find_sites` gives.

    They are found by where the source's calls end; of functions that modules hold by the line that
    calls them, or by the module, if it holds no other.
    """
    names: dict[tuple[Any, ...], str] = {}
    for found in [] if model is None else finding.find(model):
        if found.place and found.key:
            names[found.owner, *found.place, found.key.column] = found.name
        elif found.kind is Kind.HELD:
            names[found.owner, *(found.place or ())] = found.name
            names.setdefault((found.owner,), found.name)
    return names
