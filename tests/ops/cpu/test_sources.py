"""The C++ sources: constants as the tool makes them, no compiler warnings, formatted."""

import importlib
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from cpp_build import ROOT, SOURCES, kernel_flags, other_flags

COMPILER = shutil.which("c++")
FORMATTER = shutil.which("clang-format", path=Path(sys.executable).parent)
CONSTANTS = SOURCES / "constants.h"
CPP = [path for path in SOURCES.rglob("*") if path.suffix in {".cpp", ".h"}]
CPP += Path(__file__).parent.glob("*.cpp")


@pytest.fixture
def constants(monkeypatch):
    """Return the tool that makes the constants."""
    monkeypatch.syspath_prepend(ROOT / "tools")
    return importlib.import_module("constants")


def test_the_constants_are_those_that_the_tool_makes(constants):
    assert constants.header() + "\n" == CONSTANTS.read_text()


@pytest.mark.slow
@pytest.mark.skipif(COMPILER is None, reason="no C++ compiler")
@pytest.mark.parametrize("isa", kernel_flags(COMPILER) if COMPILER else [])
def test_the_kernels_compile_without_a_warning(isa, tmp_path):
    command = [COMPILER, *kernel_flags(COMPILER)[isa], "-c", SOURCES / "kernels.cpp"]
    compile_without_a_warning(command, tmp_path)


@pytest.mark.slow
@pytest.mark.skipif(COMPILER is None, reason="no C++ compiler")
@pytest.mark.parametrize(
    "source", ["library.cpp", "task.cpp", "instruction_set.cpp", "bindings.cpp"]
)
def test_the_rest_compiles_without_a_warning(source, tmp_path):
    command = [COMPILER, *other_flags(COMPILER, source), "-c", SOURCES / source]
    compile_without_a_warning(command, tmp_path)


def compile_without_a_warning(command: list, folder: Path) -> None:
    """Compile with every warning an error."""
    done = subprocess.run(
        [*command, "-Werror", "-o", folder / "object.o"],
        check=False,
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stderr == ""


@pytest.mark.skipif(FORMATTER is None, reason="no clang-format")
def test_the_sources_are_formatted():
    check = [FORMATTER, "--dry-run", "-Werror", *CPP]
    done = subprocess.run(check, check=False, capture_output=True, text=True, timeout=60)
    assert done.stderr == ""


def test_no_source_is_longer_than_400_lines():
    assert len(CPP) > 20
    assert [path for path in CPP if path.read_text().count("\n") > 400] == []
