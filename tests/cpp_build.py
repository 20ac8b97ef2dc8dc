"""How setup.py compiles, for the tests that compile its sources themselves."""

import contextlib
import functools
import os
import runpy
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import patch

ROOT = Path(__file__).parents[1]
SOURCES = ROOT / "src" / "softplus" / "ops" / "cpu"


@functools.cache
def setup() -> dict:
    """Return what setup.py defines."""
    return runpy.run_path(str(ROOT / "setup.py"))


@contextlib.contextmanager
def building(compiler: str) -> Iterator[dict]:
    """Let setup.py see the checkout and a compiler."""
    with contextlib.chdir(ROOT), patch.dict(os.environ, CXX=compiler):
        yield setup()


def kernel_flags(compiler: str) -> dict[str, list[str]]:
    """Return the flags of kernels.cpp for each instruction set that a compiler knows."""
    with building(compiler) as build:
        sets = build["instruction_sets"]()
        return {name: [*build["KERNEL_FLAGS"], *flags] for name, flags in sets.items()}


def other_flags(compiler: str, source: str) -> list[str]:
    """Return the flags of one of the other sources."""
    with building(compiler) as build:
        both = [*build["library_sources"](), *build["entry"]().compiled_from()]
        return dict(both)[source]
