"""The bounds of `benchmarks/bounds.py`: for what they are set, and how a missed one looks."""

import importlib.util
import sys
from pathlib import Path

import pytest

from softplus.lab import bench

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "bounds.py"


@pytest.fixture(scope="module")
def bounds():
    """Return the script as a module."""
    specification = importlib.util.spec_from_file_location("bounds", SCRIPT)
    module = importlib.util.module_from_spec(specification)
    sys.modules["bounds"] = module  # where its dataclass looks its module up
    specification.loader.exec_module(module)
    yield module
    del sys.modules["bounds"]


def test_the_bounds_are_widened_for_the_narrower_instruction_set(bounds):
    def bound(instruction_set, size=65_536):
        return bounds.bound(bench.Case("forward", "float32", size, 1, {}), instruction_set)

    assert bound("avx512") == bounds.Bound(2.2, 6.8)
    assert bound("avx2") == bounds.Bound(2.2 * 1.5, 6.8 / 1.5)
    assert bound("avx2", size=64) == bounds.Bound(None, 0.5 / 1.5)
    assert bound("avx512", size=65_537) is None


def test_a_missed_bound_is_red_and_a_met_one_green(bounds):
    assert bounds.beside(4.0, "≤", 4.0) == "[green]4.00 (≤ 4)[/]"
    assert bounds.beside(4.1, "≤", 4.0).startswith("[red]")
    assert bounds.beside(4.1, "≥", 4.0).startswith("[green]")
    assert bounds.beside(3.9, "≥", 4.0).startswith("[red]")
    assert bounds.beside(3.9, "≥", None) == "3.90"


def test_every_bound_is_timed(bounds):
    for direction, dtype, size in bounds.BOUNDS:
        assert direction in bench._passes(size)
        assert dtype in bench.DTYPES
        assert size in bench.SIZES
