"""The report on disk: report.html (one offline file), report.md and results.json."""

import json
import math
import tempfile
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined

from softplus.lab import plots, summary
from softplus.lab.errors import UsageError


def prepare(out: Path) -> None:
    """Make the folder and make sure that it can be written, before any work is done.

    Raises:
        UsageError: It cannot.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=out):
            pass
    except OSError as error:
        raise UsageError(
            f"--out {out} cannot be written ({error.strerror}): choose a folder of yours"
        ) from None


def write(results: dict[str, Any], out: Path) -> list[Path]:
    """Write the three files and return their paths; each appears whole or not at all."""
    context = {
        "results": results,
        "sections": summary.sections(results),
        "tests": summary.tests(results),
        "test_headings": summary.TEST_HEADINGS,
        "notes": summary.notes(results),
        "sentence": summary.sentence(results),
        "names": [arm["name"] for arm in results["arms"]],
    }
    data = json.dumps(_finite(results), indent=1, allow_nan=False)
    pages = {
        "report.html": _render(
            "report.html",
            **context,
            # An embedded "</script>" would end the page's script element.
            data=data.replace("</", "<\\/"),
            figures=plots.figures(results),
        ),
        "report.md": _render("report.md", **context),
        "results.json": data,
    }
    paths = []
    for name, text in pages.items():
        path = out / name
        part = out / f"{name}.part"
        part.write_text(text, encoding="utf-8")
        part.replace(path)
        paths.append(path)
    return paths


def _render(name: str, **context: Any) -> str:
    environment = Environment(
        autoescape=name.endswith(".html"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["cell"] = lambda text: text.replace("|", "\\|")
    template = files("softplus.lab").joinpath(name).read_text(encoding="utf-8")
    return environment.from_string(template).render(**context)


def _finite(value: Any) -> Any:
    """Return the value with NaN and infinities, which JSON does not have, as None."""
    if isinstance(value, dict):
        return {key: _finite(member) for key, member in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(member) for member in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
