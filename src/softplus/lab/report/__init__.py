"""The report on disk: report.html (one offline file), report.md and results.json."""

from importlib import resources
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined

from softplus.lab import as_json, files, plots, summary, wording
from softplus.lab.results import Results


def write(results: Results, out: Path) -> list[Path]:
    """Write the three files and return their paths; what matters most and needs least comes first.

    Each appears whole or not at all.
    """
    data = as_json.of_results(results)
    subject = summary.subject(results)
    context = {
        "results": results,
        "sections": summary.sections(results),
        "tests": summary.tests(results),
        "test_headings": summary.TEST_HEADINGS,
        "notes": summary.notes(results),
        "answers": [
            (v.arm, wording.headline(v), wording.sentences(v, subject)) for v in results.verdicts
        ],
        "names": [arm.name for arm in results.arms],
    }
    paths = [out / name for name in ("report.html", "report.md", "results.json")]
    files.write(out / "results.json", data)
    files.write(out / "report.md", _render("report.md", **context))
    page = _render(
        "report.html",
        **context,
        # An embedded "</script>" would end the page's script element.
        data=data.replace("</", "<\\/"),
        figures=plots.figures(results),
    )
    files.write(out / "report.html", page)
    return paths


def _render(name: str, **context: Any) -> str:
    environment = Environment(
        autoescape=name.endswith(".html"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["cell"] = lambda text: text.replace("|", "\\|")
    template = resources.files("softplus.lab").joinpath(name).read_text(encoding="utf-8")
    return environment.from_string(template).render(**context)
