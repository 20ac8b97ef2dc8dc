"""The bounds of `benchmarks/bounds.py`: for what they are set, and how a missed one looks."""

import importlib
from pathlib import Path

import pytest

from softplus.lab import bench

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def bounds(monkeypatch):
    """Return the script as a module."""
    monkeypatch.syspath_prepend(BENCHMARKS)
    return importlib.import_module("bounds")


def test_the_bounds_are_widened_for_the_narrower_instruction_set(bounds):
    def bound(instruction_set, size=65_536):
        return bounds.bound(("forward", "float32", size), instruction_set)

    assert bound("avx512") == bounds.Bound(2.2, 6.8)
    assert bound("avx2") == bounds.Bound(2.2 * 1.5, 6.8 / 1.5)
    assert bound("avx2", size=64) == bounds.Bound(None, 0.5 / 1.5)


def test_a_missed_bound_is_bold(bounds):
    assert bounds.cell([4.004], "≤", 4.0) == "4.00"
    assert bounds.cell([4.006], "≤", 4.0) == "**4.01**"
    assert bounds.cell([4.1], "≥", 4.0) == "4.10"
    assert bounds.cell([3.0, 5.0, 3.9], "≥", 4.0) == "**3.90** (3.00 to 5.00)"
    assert bounds.cell([3.9]) == "3.90"


def test_every_bound_is_timed(bounds):
    for direction, dtype, size in bounds.BOUNDS:
        assert direction in bench._passes(size)
        assert dtype in bench.DTYPES
        assert size in bench.SIZES


def test_the_page_has_a_place_for_each_instruction_set(bounds):
    """Which `--write` fills with a row for each bound."""
    runs = [dict.fromkeys(bounds.BOUNDS, (3.0, 0.5, 9.0)) for _ in range(2)]
    for instruction_set in bounds.ALLOWANCE:
        made = bounds.table(runs, instruction_set)
        text = bounds.PAGE.read_text("utf-8")
        page = bounds.filled(text, "bounds", {instruction_set: made})
        old = text.split(f"<!-- bounds: {instruction_set} -->")[1].split("<!--")[0]
        rows = [line.split("|")[1].strip() for line in old.splitlines() if line.startswith("| f")]
        for row in rows:
            assert f"| {row} | 3.00 | " in page
        assert page.count("0.50 (0.50 to 0.50)") == len(bounds.BOUNDS)
