"""Says whether a release may be published: whether everything says the same of it.

    python tools/release_check.py v0.1.0 https://forge.example/us/softplus

It needs Python alone.
"""

import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent


def read(name: str) -> str:
    """Return the text of a file of the checkout."""
    return (ROOT / name).read_text(encoding="utf-8")


def faults(tag: str, repository: str) -> Iterator[str]:
    """Find what does not fit the tag of a release, and the address that it is published from."""
    project = tomllib.loads(read("pyproject.toml"))["project"]
    version, source = project["version"], project.get("urls", {}).get("Source")
    if tag != f"v{version}":
        yield f"the tag is {tag}, pyproject.toml says {version}"
    if source != repository:
        yield f"this is {repository}, Source in [project.urls] of pyproject.toml is {source}"
    if f'__version__ = "{version}"' not in read("src/softplus/__init__.py"):
        yield f"softplus.__version__ is not {version}"
    if f"\nversion: {version}\n" not in read("CITATION.cff"):
        yield f"the version in CITATION.cff is not {version}"
    if not re.search(r"^date-released: \d{4}-\d\d-\d\d$", read("CITATION.cff"), re.MULTILINE):
        yield "CITATION.cff has no date-released"
    newest = re.search(r"^## \[(.*?)\](.*)$", read("CHANGELOG.md"), re.MULTILINE)
    if not newest or newest[1] != version or not re.fullmatch(r" - \d{4}-\d\d-\d\d", newest[2]):
        yield f"CHANGELOG.md does not open with ## [{version}] and a date"


if __name__ == "__main__":
    found = list(faults(*sys.argv[1:]))
    print("\n".join(f"release_check: {fault}" for fault in found) or "release_check: all agree")
    raise SystemExit(bool(found))
