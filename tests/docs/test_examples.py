"""The Python on the pages: examples give the results they show, programs run or compile."""

import doctest
import importlib.util
import re

import pytest

import synthetic_studies
from documentation import BLOCKS, EXAMPLES, PROGRAMS
from softplus import lab
from softplus.lab import report
from softplus.ops import cpu

# By what is in it, why a program is compiled and not run.
NOT_RUN = {
    "softplus.integrations": "needs other libraries: tests/test_integrations.py and tests/peers",
    "lab.script(": "46 trainings: tests/lab/scripts compares with fewer",
}
LANGUAGES = {"python", "sh", "text", "toml"}


def test_every_block_is_of_a_kind_that_is_checked():
    assert {block.language for block in BLOCKS} <= LANGUAGES
    hidden = [block for block in BLOCKS if block not in EXAMPLES and ">>> " in block.text]
    assert hidden == []


@pytest.mark.parametrize(
    "page", sorted({block.page for block in EXAMPLES}), ids=lambda page: page.name
)
def test_the_examples_of_a_page_give_the_results_shown(page):
    if cpu.entry_absent is not None and page.name == "existing-code.md":
        pytest.skip("patch() needs the C++ entry")
    result = doctest.testfile(str(page), module_relative=False)
    assert result.attempted > 0
    assert result.failed == 0


@pytest.mark.parametrize("block", PROGRAMS, ids=str)
def test_a_program_compiles_and_what_it_imports_of_the_package_is_there(block):
    compile(block.text, str(block), "exec")
    found = re.findall(r"^from (softplus[\w.]*) import ([^#\n]+)", block.text, re.MULTILINE)
    for module, names in found:
        if importlib.util.find_spec(module) and not module.startswith("softplus.integrations."):
            for name in names.split(","):
                assert hasattr(importlib.import_module(module), name.strip())


def runs(page):
    """Return the programs of a page that are run, one after the other."""
    here = [block for block in PROGRAMS if block.page == page]
    return [block for block in here if not any(words in block.text for words in NOT_RUN)]


def pages_that_run():
    """Return the pages with programs that run; those that train a whole study are slow."""
    pages = sorted({block.page for block in PROGRAMS if runs(block.page)})
    slow = {page for page in pages if any("lab.compare(" in block.text for block in runs(page))}
    return [pytest.param(page, marks=[pytest.mark.slow] if page in slow else []) for page in pages]


@pytest.mark.parametrize("page", pages_that_run(), ids=lambda page: page.name)
def test_the_programs_of_a_page_run(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rows = "".join(f"{age},{age % 7},{int(age % 7 > 3)}\n" for age in range(20, 80))
    (tmp_path / "patients.csv").write_text("age,score,outcome\n" + rows)
    (tmp_path / "softplus-report").mkdir()
    report.write(synthetic_studies.results(), tmp_path / "softplus-report")
    namespace = {}
    for block in runs(page):
        exec(compile(block.text, str(block), "exec"), namespace)  # noqa: S102  # our own


def test_each_reason_not_to_run_is_needed():
    for words in NOT_RUN:
        assert any(words in block.text for block in PROGRAMS)


def test_the_table_of_scores_has_the_verdict_of_the_example(tmp_path):
    """The page shows the same scores as a file and as Python."""
    (table,) = [block for block in BLOCKS if block.text.startswith("arm,seed,score")]
    (example,) = [block for block in EXAMPLES if block.page == table.page]
    (tmp_path / "scores.csv").write_text(table.text)
    said = str(lab.judge(tmp_path / "scores.csv", margin=0.5, test_ratio=0.25))
    assert said.rstrip() in example.text
