"""Where this package was installed from, and the commands that bring from there what is missing."""

import json
import shlex
import sys
from importlib.metadata import Distribution, distributions
from pathlib import Path
from urllib.parse import unquote, urlparse

_PACKAGE = Path(__file__).resolve().parents[2]
_CHECKOUT = _PACKAGE.parents[1]
_ANY_SOURCE = "CHECKOUT"  # what to replace by the path of one


def to_install_again() -> str:
    """Return the command that replaces a broken file by what the package was installed from."""
    return _again(_origin())


def to_build_kernels() -> str:
    """Return the command that builds the library of kernels, where there is a C++ compiler."""
    return _again(_sources())


def to_build_entry() -> str:
    """Return the command that builds the C++ entry too, for the PyTorch that is installed here."""
    return f"{_install('setuptools>=77')} && {_again(['--no-build-isolation', *_sources()])}"


def _again(arguments: list[str]) -> str:
    # Not from a cache: a wheel in it was built without the compiler or the PyTorch of today.
    fresh = ["--reinstall", "--no-cache"] if _by_uv() else ["--force-reinstall", "--no-cache-dir"]
    return _install(*fresh, "--no-deps", *arguments)


def _install(*arguments: str) -> str:
    """Return a command of the installer that put this here: environments of uv have no pip."""
    uv = ["uv", "pip", "install", "--python", sys.executable]
    command = uv if _by_uv() else [sys.executable, "-m", "pip", "install"]
    return shlex.join([*command, *arguments])


def _by_uv() -> bool:
    return any(
        (found.read_text("INSTALLER") or "").strip() == "uv"
        for found in distributions(name="softplus")
    )


def _distribution() -> Distribution | None:
    """Return the record of this very copy of the package: another may be on the path."""
    for found in distributions(name="softplus"):
        if Path(str(found.locate_file("softplus"))).resolve() == _PACKAGE:
            return found
    return None


def _sources() -> list[str]:
    """Return what to install for a build from sources; a wheel has none."""
    origin = _origin()
    return [_ANY_SOURCE] if origin[-1].endswith(".whl") else origin


def _origin() -> list[str]:
    """Return what was installed, as arguments of `pip install`; the record of it is PEP 610's."""
    if (_CHECKOUT / "setup.py").exists() and (_CHECKOUT / "pyproject.toml").exists():
        return ["--editable", str(_CHECKOUT)]
    found = _distribution()
    if found is None:
        return [_ANY_SOURCE]
    record = json.loads(found.read_text("direct_url.json") or "{}")
    if not record:
        return [f"softplus=={found.version}"]
    url: str = record["url"]
    if "vcs_info" in record:
        return [f"{record['vcs_info']['vcs']}+{url}@{record['vcs_info']['commit_id']}"]
    return [unquote(urlparse(url).path) if url.startswith("file:") else url]
