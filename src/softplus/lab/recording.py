"""`record`: a training script tells the comparison that runs it what it achieved."""

import os
from pathlib import Path
from typing import SupportsFloat

from softplus.lab.scripts import account


def record(value: SupportsFloat | None = None, /, **named: SupportsFloat) -> None:
    """Tell `softplus compare` the score of this training; in a script run by itself, do nothing.

    >>> record(0.93)
    >>> record(val_acc=0.93, val_loss=0.21)  # `--metric val_acc` chooses

    The last value of a name counts, so a call after every epoch is fine. Where torchrun runs
    several processes, rank 0's counts.

    Args:
        value: The score, where there is one: a number, or a tensor of one.
        named: Scores by their name.

    Raises:
        TypeError: No value is given, or one that is no number.
    """
    if value is not None:
        named = {"": value, **named}
    if not named:
        raise TypeError("record needs a value: record(0.93), or record(val_acc=0.93)")
    values = {name: _number(name, each) for name, each in named.items()}
    folder = os.environ.get("SOFTPLUS_TRIAL")
    if folder is not None and os.environ.get("RANK", "0") == "0":
        account.write_record(Path(folder), values)


def _number(name: str, value: SupportsFloat) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        raise TypeError(
            f"record needs a number{name and f' as {name}'}, got {value!r} of type "
            f"{type(value).__name__}"
        ) from None
