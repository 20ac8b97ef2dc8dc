"""The package as a whole: its layers, its house rules, what importing it loads, its face."""

import ast
import doctest
import importlib
import importlib.metadata
import os
import re
import subprocess
import sys
import textwrap
import types
from pathlib import Path

import pytest

import softplus
from softplus.ops import cpu

SOURCE = Path(softplus.__file__).parent
FILES = sorted(SOURCE.rglob("*.py"))
each_file = pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(SOURCE)))

# From the bottom up; a module imports from its own layer or one below. The public face, which is
# `softplus` itself, stands on the tools: the lab and the command line may use it, nothing below.
LAYERS = [
    {"ops"},
    {"arguments"},
    {"functional", "modules"},
    {"positive", "patching"},
    {"rewriting", "graph", "samples"},
    {"conversion", "init"},
    {"annealing", "folding"},
    {"hardening"},
    {"__init__", "__main__"},
    {"lab", "integrations"},
    {"cli"},
]
FACE = 8

# What only the lab and the command line may load.
EXTRAS = ["typer", "rich", "matplotlib", "scipy", "sklearn", "jinja2", "loky", "ray", "polars"]


def module_name(file: Path) -> str:
    """Return the dotted name of the module in file."""
    parts = file.relative_to(SOURCE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(file): file for file in FILES}


def imports(name: str) -> set[str]:
    """Return what the module of this name imports anywhere, functions and type checks included.

    `from softplus import x` is an import of softplus.x where that is a module, else of softplus.
    """
    file = MODULES[name]
    package = name if file.name == "__init__.py" else name.rpartition(".")[0]
    found = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = "." * node.level + (node.module or "")
            base = importlib.util.resolve_name(base, package) if node.level else base
            for alias in node.names:
                inner = f"{base}.{alias.name}"
                found.add(inner if inner in MODULES else base)
    return found


def layer(name: str) -> int:
    """Return the height of a module of this package."""
    part = name.split(".")[1] if "." in name else "__init__"
    heights = [height for height, parts in enumerate(LAYERS) if part in parts]
    assert heights, f"{name} stands in no layer: give it one in LAYERS"
    return heights[0]


def inner_imports(name: str) -> set[str]:
    """Return the modules of this package that the module of this name imports."""
    return {found for found in imports(name) if found.split(".")[0] == "softplus"} - {name}


# Layers


@pytest.mark.parametrize("name", MODULES)
def test_imports_go_downward_only(name):
    upward = {found for found in inner_imports(name) if layer(found) > layer(name)}
    assert not upward, f"{name} imports {sorted(upward)} from above"


def test_the_architecture_page_draws_these_layers():
    page = (SOURCE.parent.parent / "docs" / "architecture.md").read_text(encoding="utf-8")
    lines = page.split("```text\n")[1].split("```")[0].strip().splitlines()
    drawn = [set(re.findall(r"(\w+)(?:\.py|/)", line[:52])) for line in lines]
    assert drawn[::-1] == LAYERS


def test_imports_form_no_cycle():
    """Within a layer too; functional, for one, may not import modules."""
    remaining = {name: inner_imports(name) & MODULES.keys() for name in MODULES}
    while free := [name for name, found in remaining.items() if not found & remaining.keys()]:
        for name in free:
            del remaining[name]
    assert not remaining


@pytest.mark.parametrize("name", [name for name in MODULES if layer(name) <= FACE])
def test_the_function_and_the_tools_need_torch_alone(name):
    foreign = {found.split(".")[0] for found in imports(name)} - set(sys.stdlib_module_names)
    # Triton comes with the builds of torch that can use it.
    assert foreign <= {"torch", "softplus"} | (
        {"triton"} if name.startswith("softplus.ops.triton.") else set()
    )


def test_the_lab_needs_what_its_extra_declares():
    distributions = importlib.metadata.packages_distributions()
    requirements = importlib.metadata.requires("softplus") or []
    declared = {
        re.split(r"[^\w.-]", requirement, maxsplit=1)[0].lower()
        for requirement in requirements
        if "extra ==" not in requirement or re.search(r'extra == "(lab|ray)"', requirement)
    }
    assert "torch" in declared
    used = {
        found.split(".")[0]
        for name in MODULES
        if not name.startswith("softplus.integrations.")
        for found in imports(name)
    }
    for top in used - set(sys.stdlib_module_names) - {"softplus", "triton"}:
        # One that is not installed, as ray need not be, is distributed under its own name.
        names = {name.lower() for name in distributions.get(top, [top])}
        assert names & declared, f"{top} is not declared"


def test_the_rule_sees_an_import_upward(tmp_path, monkeypatch):
    """The tests above would be worth nothing if they read no imports."""
    file = tmp_path / "probe.py"
    file.write_text(
        "import softplus.cli\n"
        "def late():\n"
        "    from softplus.lab import settings\n"
        "    from softplus import modules, Softplus\n"
        "    from . import definition\n"
    )
    monkeypatch.setitem(MODULES, "softplus.ops.probe", file)
    monkeypatch.setitem(MODULES, "softplus.lab.settings", file)
    found = inner_imports("softplus.ops.probe")
    assert found == {
        "softplus.cli",
        "softplus.lab.settings",
        "softplus.modules",
        "softplus",
        "softplus.ops.definition",
    }
    assert all(
        layer(name) > layer("softplus.ops.probe") for name in found - {"softplus.ops.definition"}
    )
    with pytest.raises(AssertionError, match="stands in no layer"):
        layer("softplus.utils")


def loaded_by(statement: str) -> set[str]:
    """Return the names of the modules that are loaded after the statement in a new interpreter."""
    source = f"{statement}\nimport sys\nprint('\\n'.join(sys.modules))"
    environment = {**os.environ, "PYTHONPATH": str(SOURCE.parent)}
    command = [sys.executable, "-W", "error", "-c", source]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return set(result.stdout.split())


def test_import_softplus_loads_no_extra():
    loaded = loaded_by("import softplus; softplus.Softplus(); dir(softplus)")
    assert "softplus.functional" in loaded
    assert {"softplus.cli"} & loaded == set()
    assert {name for name in loaded if name.startswith("softplus.lab")} == set()
    # A plain `import torch` is the yardstick: what torch loads by itself is torch's affair.
    more = {name.split(".")[0] for name in loaded - loaded_by("import torch")}
    assert not more & set(EXTRAS)
    assert more <= {"softplus", *sys.stdlib_module_names}


def test_the_face_of_the_lab_loads_nothing_before_it_is_used():
    loaded = loaded_by("import softplus.lab; dir(softplus.lab)")
    assert not {name.split(".")[0] for name in loaded - loaded_by("import torch")} & set(EXTRAS)


# The house's rules

ROOT = SOURCE.parent.parent
ROOMS = ["src", "tests", "benchmarks", "studies", "tools", "examples"]
OURS = sorted(file for room in ROOMS for file in (ROOT / room).rglob("*.py"))
each_of_ours = pytest.mark.parametrize("file", OURS, ids=lambda file: str(file.relative_to(ROOT)))
CODE = [file for file in sorted(SOURCE.rglob("*")) if file.suffix in {".py", ".cpp", ".h", ".html"}]
each_code = pytest.mark.parametrize("file", CODE, ids=lambda file: str(file.relative_to(SOURCE)))

LONGEST_FILE = 400
A_SCREEN = 60  # lines of a function's body, its docstring not counted
SAYS_NOTHING = {"utils", "util", "helpers", "helper", "common", "misc"}


def first_line_is_a_sentence(source: str) -> bool:
    """Whether a file begins with a docstring of which the first line is a whole sentence."""
    return re.match(r'r?"""\S.*\.("""|\s*)$', source.split("\n", 1)[0]) is not None


def long_functions(source: str) -> dict[str, int]:
    """Return the functions whose bodies are longer than a screen, with their lengths."""
    found = {}
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            body = node.body[1 if ast.get_docstring(node) else 0 :]
            lines = body[-1].end_lineno - body[0].lineno + 1 if body else 0
            if lines > A_SCREEN:
                found[node.name] = lines
    return found


@each_of_ours
def test_the_first_line_of_a_file_says_what_lives_there(file):
    assert first_line_is_a_sentence(file.read_text(encoding="utf-8"))


@each_of_ours
def test_a_file_is_named_for_what_lives_there(file):
    assert not {*file.relative_to(ROOT).with_suffix("").parts} & SAYS_NOTHING


@each_code
def test_a_file_is_not_too_long_to_know(file):
    assert len(file.read_text(encoding="utf-8").splitlines()) <= LONGEST_FILE


@each_file
def test_a_function_fits_on_a_screen(file):
    assert long_functions(file.read_text(encoding="utf-8")) == {}


def test_no_module_has_the_name_of_a_public_function_or_class():
    """`softplus.convert` would be one or the other, by the order of imports."""
    modules = {name.rpartition(".")[2] for name in MODULES if "." in name}
    assert modules & set(softplus.__all__) == set()
    assert {"functional", "ops"} <= modules


def test_the_rules_see_what_breaks_them():
    assert first_line_is_a_sentence('"""What lives here."""\n')
    for source in ("import os\n", '"""what lives here"""\n', '"""\nWhat lives here.\n"""\n'):
        assert not first_line_is_a_sentence(source)
    body = "\n".join(["    x = 1"] * A_SCREEN)
    documented = f'def f():\n    """Say.\n\n    More.\n    """\n{body}\n'
    assert long_functions(documented) == {}
    assert long_functions(f"{documented}    x = 1\n") == {"f": A_SCREEN + 1}
    nested = textwrap.indent(f"{documented}    x = 1\n", "    ")
    assert long_functions(f"class C:\n{nested}") == {"f": A_SCREEN + 1}
    assert all((ROOT / room).is_dir() for room in ROOMS)
    assert {".cpp", ".h", ".html"} <= {file.suffix for file in CODE}


# The face


def test_dir_lists_the_public_names():
    public = [name for name in dir(softplus) if not name.startswith("_")]
    assert public == sorted(softplus.__all__)
    held = {
        name for name, thing in vars(softplus).items() if not isinstance(thing, types.ModuleType)
    }
    assert {name for name in held if not name.startswith("_")} == set(softplus.__all__)
    assert len(set(softplus.__all__)) == len(softplus.__all__)


@pytest.mark.parametrize("name", softplus.__all__)
def test_a_public_name_has_a_docstring_with_an_example(name):
    thing = getattr(softplus, name)
    assert not isinstance(thing, types.ModuleType)
    assert thing.__module__.startswith("softplus.")
    assert thing.__doc__, f"{name} has no docstring"
    examples = doctest.DocTestParser().get_examples(thing.__doc__)
    assert any(name in example.source for example in examples)


def doctests() -> list[doctest.DocTest]:
    """Return every docstring of the package that holds an example."""
    finder = doctest.DocTestFinder(exclude_empty=True)
    found = []
    for name, file in MODULES.items():
        if "triton" in {found.split(".")[0] for found in imports(name)}:
            # Once they are imported, its kernels cannot be interpreted, as other tests do.
            assert ">>>" not in file.read_text(encoding="utf-8")
            continue
        # A module of `integrations` needs the library that it is named after.
        library = name.removeprefix("softplus.integrations.")
        absent = library != name and importlib.util.find_spec(library) is None
        if name != "softplus.__main__" and not absent:
            found += finder.find(importlib.import_module(name))
    return [test for test in found if test.examples]


@pytest.mark.parametrize("test", doctests(), ids=lambda test: test.name)
def test_docstring_examples_run(test):
    if cpu.absent is not None and test.name == "softplus.patching.patch":
        pytest.skip("patch() needs the CPU kernels")
    report = []
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE)
    results = runner.run(test, out=report.append)
    assert results.attempted > 0
    assert results.failed == 0, "".join(report)
