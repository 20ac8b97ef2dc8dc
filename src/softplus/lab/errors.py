"""The one exception whose message is written for the person at the keyboard."""

import difflib
from collections.abc import Iterable


class UsageError(ValueError):
    """Something the user gave cannot be used; the command line prints the message and exits 2."""


def unknown(what: str, name: str, known: Iterable[str]) -> UsageError:
    """Return the error for a name that is not known: it lists the known ones and the nearest."""
    known = list(known)
    nearest = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f"; did you mean {nearest[0]}?" if nearest else ""
    return UsageError(f"unknown {what} {name!r}{hint} (known: {', '.join(known)})")
