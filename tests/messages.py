"""How tests compare error messages: to the letter, from the start."""

import re


def exactly(message: str) -> str:
    """Return the pattern of a message that starts so."""
    return "^" + re.escape(message)
