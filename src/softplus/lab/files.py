"""The files that a command writes: refused before the work is done, written whole."""

import os
import tempfile
from pathlib import Path

from softplus.lab.errors import UsageError


def prepare_folder(option: str, folder: Path) -> None:
    """Make the folder and make sure that it can be written, before any work is done.

    Raises:
        UsageError: It cannot.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise UsageError(
            f"{option} {folder} cannot be written ({error.strerror}): choose a folder of yours"
        ) from None


def check(option: str, path: Path) -> None:
    """Raise UsageError if the file cannot be written, before minutes are spent on its contents."""
    if path.is_dir() or not os.access(path.parent, os.W_OK | os.X_OK):
        raise UsageError(f"{option} {path} cannot be written: choose a file in a folder of yours")


def write(path: Path, text: str) -> None:
    """Write a file that appears whole or not at all."""
    part = path.with_name(f"{path.name}.part")
    part.write_text(text, encoding="utf-8")
    part.replace(path)
