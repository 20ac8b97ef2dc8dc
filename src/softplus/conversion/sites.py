"""A site: a place where a model computes an activation, and what replacing it takes."""

from dataclasses import dataclass
from enum import Enum

from softplus.conversion.spellings import Call
from softplus.rewriting.expressions import Key
from softplus.rewriting.methods import Place


@dataclass(frozen=True)
class Site:
    """A place where a model computes an activation.

    Attributes:
        name: The path of the module or the attribute. For a call: the path of the module whose code
            makes it and the name of the function, numbered where there are several; `convert` puts
            the replacement there as a submodule.
        family: What is computed: "relu", "softplus" or "shifted_softplus".
        spelling: How the model writes it.
        file: The source file that calls it; None where that cannot be told.
        line: The line there.
        left: Why `convert` leaves it, unless `include` names it; None where it does not.
        obstacle: Why it cannot be replaced; None where it can be.
    """

    name: str
    family: str
    spelling: str
    file: str | None = None
    line: int | None = None
    left: str | None = None
    obstacle: str | None = None

    def __str__(self) -> str:
        where = "" if self.file is None else f", {self.file}:{self.line}"
        return f"{self.name!r} ({self.spelling}{where})"


class Kind(Enum):
    """How a site is replaced."""

    MODULE = "the module gives way to another"
    HELD = "the function, an attribute, gives way to a module"
    SOURCE = "the expression is rewritten in the source"


@dataclass(frozen=True)
class Found:
    """A site, and what replacing it takes.

    `owner` is the path of the module that has, or is to have, the `attribute`; `place` is where
    source calls it; `key` names the expression that is to be rewritten; `reached` says whether
    forward may lead there.
    """

    kind: Kind
    owner: str
    attribute: str
    call: Call
    place: Place | None = None
    key: Key | None = None
    obstacle: str | None = None
    reached: bool = True

    @property
    def name(self) -> str:
        """The path of the attribute."""
        return f"{self.owner}.{self.attribute}".strip(".")

    @property
    def family(self) -> str:
        """What is computed."""
        return self.call.spelling.family

    @property
    def site(self) -> Site:
        """What the user sees of it."""
        spelling = self.call.spelling
        left = _PARAMETRIZATION if in_parametrization(self.owner) else spelling.left
        file, line = self.place or (None, None)
        return Site(self.name, self.family, spelling.text, file, line, left, self.obstacle)


_PARAMETRIZATION = "it is part of a parametrization, which is no activation"


def in_parametrization(path: str) -> bool:
    """Whether a module of that path makes a parameter, and so is no activation."""
    return "parametrizations" in path.split(".")
