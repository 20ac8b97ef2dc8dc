"""The one exception whose message is written for the person at the keyboard."""

import difflib
import traceback
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path


class UsageError(ValueError):
    """Something the user gave cannot be used; the command line prints the message and exits 2."""


class TheirError(UsageError):
    """Code of the user's raised: the command line shows its traceback, then the message."""

    def __init__(self, message: str, traceback: str = "") -> None:
        super().__init__(message, traceback)

    def __str__(self) -> str:
        return str(self.args[0])

    @property
    def traceback(self) -> str:
        """The traceback, from the user's code on."""
        return str(self.args[1])


@contextmanager
def their_code(what: str) -> Iterator[None]:
    """Turn whatever the user's code raises inside into one error that has its traceback."""
    try:
        yield
    except UsageError:
        raise
    except Exception as error:
        frames = error.__traceback__
        while frames and frames.tb_next and _is_ours(frames.tb_frame.f_code.co_filename):
            frames = frames.tb_next
        shown = "".join(traceback.format_exception(type(error), error, frames))
        last = traceback.format_exception_only(error)[-1].strip()
        raise TheirError(f"{what} raised {last}", shown) from error


def _is_ours(file: str) -> bool:
    """Whether a file on the way to the user's code is of this package or of Python's machinery."""
    package = str(Path(__file__).parents[1])
    return file.startswith((package, "<frozen importlib"))


def unknown(what: str, name: str, known: Iterable[str]) -> UsageError:
    """Return the error for a name that is not known: it lists the known ones and the nearest."""
    known = list(known)
    nearest = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f"; did you mean {nearest[0]}?" if nearest else ""
    return UsageError(f"unknown {what} {name!r}{hint} (known: {', '.join(known)})")
