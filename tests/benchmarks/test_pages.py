"""The tables that benchmarks write into pages: between their marks, and nowhere else."""

import importlib
import re
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def pages(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    return importlib.import_module("pages")


def test_a_part_is_replaced_between_its_marks(pages):
    text = "a\n<!-- p: one -->\n\nold\n\n<!-- one ends -->\nb <!-- p: two -->\n"
    filled = "a\n<!-- p: one -->\n\n| x |\n| --- |\n| 1 |\n\n<!-- one ends -->\nb <!-- p: two -->\n"
    assert pages.filled(text, "p", {"one": pages.markdown(["x"], [["1"]])}) == filled
    with pytest.raises(ValueError, match="unpack"):
        pages.filled(text, "p", {"three": ""})


def test_every_mark_of_the_pages_is_a_benchmarks():
    """And every benchmark that writes finds its mark."""
    marked = set()
    for page in (BENCHMARKS.parent / "docs").glob("*.md"):
        text = page.read_text("utf-8")
        marks = re.findall(r"^<!-- (\w+): (.*) -->$", text, re.MULTILINE)
        assert [text.count(f"\n<!-- {name} ends -->\n") for _, name in marks] == [1] * len(marks)
        marked |= {program for program, _ in marks}
    writing = {
        script.stem
        for script in BENCHMARKS.glob("*.py")
        if '"--write"' in script.read_text("utf-8")
    }
    assert marked == writing == {"bounds", "peers", "roads", "sdf_step", "width"}
