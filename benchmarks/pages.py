"""What the pages of figures share: when and where they were measured, tables, marks.

A page has its tables between marks, `<!-- PROGRAM: NAME -->` and `<!-- NAME ends -->`.
"""

import datetime as dt
import importlib.metadata
import platform
from pathlib import Path

PERFORMANCE = Path(__file__).parent.parent / "docs" / "performance.md"


def setting(*libraries: str) -> dict[str, str]:
    """Return when, on what and with which versions of libraries is measured."""
    # Not above: roads.py hides a part of the package before it is imported.
    from softplus.lab import machine  # noqa: PLC0415
    from softplus.ops import cpu  # noqa: PLC0415

    versions = [f"Python {platform.python_version()}"]
    for library in libraries:
        try:
            versions.append(f"{library} {importlib.metadata.version(library)}")
        except importlib.metadata.PackageNotFoundError:
            versions.append(f"{library} not installed")
    kernels = cpu.instruction_set() or "no instruction set"
    where = f"{machine.description()['cpu']}, {machine.cores()} cores, {platform.system()}"
    return {
        "date": dt.datetime.now(dt.UTC).date().isoformat(),
        "machine": f"{where}, our kernels for {kernels}",
        "versions": ", ".join(versions),
    }


def several(threads: int) -> str:
    """Return so many threads in words."""
    return "one thread" if threads == 1 else f"{threads} threads"


def markdown(heads: list[str], rows: list[list[str]]) -> str:
    """Return a table."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def filled(text: str, program: str, parts: dict[str, str]) -> str:
    """Return the text of a page with a program's parts, by name, between their marks."""
    for name, part in parts.items():
        start, end = f"<!-- {program}: {name} -->\n", f"<!-- {name} ends -->\n"
        before, rest = text.split(start)
        text = f"{before}{start}\n{part}\n{end}{rest.split(end)[1]}"
    return text
