"""The reference: it has every public name and every command, and nothing else."""

import importlib
import json
import re
import runpy

import pytest

import softplus
from documentation import DOCS, ROOT
from softplus import lab

REFERENCE = DOCS / "reference"
# An object, and the heading that it has where that is not its own name.
ENTRY = re.compile(r"^::: (\S+)(?:\n    options:\n      heading: (\S+))?$", re.MULTILINE)


def entries(*pages):
    """Return what some pages of the reference describe: the heading, and the object's full name."""
    found = [ENTRY.findall((REFERENCE / f"{page}.md").read_text("utf-8")) for page in pages]
    return [(heading or name, name) for entry in found for name, heading in entry]


def test_every_public_name_is_described_once():
    described = [heading for heading, _ in entries("functions", "modules", "tools")]
    assert sorted(described) == sorted(f"softplus.{name}" for name in dir(softplus))


def test_every_name_of_the_lab_is_described_once():
    described = entries("lab")
    assert sorted(heading for heading, _ in described) == [f"lab.{name}" for name in dir(lab)]
    for heading, name in described:
        module, _, own = name.rpartition(".")
        assert getattr(importlib.import_module(module), own) is getattr(lab, heading[4:])


def test_every_integration_is_described():
    """Whatever a user takes from softplus.integrations has a docstring of its own."""
    described = {name for _, name in entries("integrations")}
    for file in (ROOT / "src" / "softplus" / "integrations").glob("[a-z]*.py"):
        public = re.findall(r"^(?:class|def) ([A-Za-z]\w*)", file.read_text("utf-8"), re.MULTILINE)
        assert {f"softplus.integrations.{file.stem}.{name}" for name in public} <= described


@pytest.mark.parametrize(
    ("tool", "function", "arguments", "made"),
    [
        ("commands.py", "page", [], "reference/commands.md"),
        ("notebook.py", "notebook", ["walkthrough.md"], "walkthrough.ipynb"),
    ],
)
def test_what_a_tool_makes_is_up_to_date(tool, function, arguments, made):
    make = runpy.run_path(str(ROOT / "tools" / tool))[function]
    texts = [(DOCS / name).read_text("utf-8") for name in arguments]
    assert (DOCS / made).read_text("utf-8") == make(*texts), f"run tools/{tool}"


def test_the_notebook_has_every_example_of_the_walk_through():
    cells = json.loads((DOCS / "walkthrough.ipynb").read_text("utf-8"))["cells"]
    code = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
    for line in re.findall(
        r"^>>> (.*?)(?:  # doctest.*)?$", (DOCS / "walkthrough.md").read_text(), re.MULTILINE
    ):
        assert line in code
