"""The tests of the functions once more where the C++ entry is hidden, or the library too."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from softplus.ops import cpu

ROOT = Path(__file__).parent.parent
QUICK = ["ops/test_ways.py", "test_functional.py", "test_functional_in_place.py"]
SLOW = [
    *("test_functional_out.py", "test_modules.py", "test_modules_learnable.py"),
    *("ops/test_autograd.py", "ops/test_autocast.py", "ops/test_checkpointing.py"),
    *("ops/test_saved_tensors.py", "ops/test_functorch.py", "ops/test_dispatch.py"),
    *("ops/test_tracers.py", "ops/test_compile.py", "ops/test_distributed.py"),
]


def passes(hidden: str, files: list[str]) -> None:
    """Assert that the tests in these files pass where so much is hidden."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "hidden", "-m", "not slow"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "SOFTPLUS_HIDDEN": hidden}
    result = subprocess.run(
        [*command, *(str(ROOT / file) for file in files)],
        env=environment,
        cwd=ROOT.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout[-4000:] + result.stderr


@pytest.mark.parametrize("hidden", ["entry", "kernels"])
@pytest.mark.parametrize("files", [QUICK, pytest.param(SLOW, marks=pytest.mark.slow)])
def test_without(hidden, files):
    if cpu.absent is not None or (hidden == "entry" and cpu.entry_absent is not None):
        pytest.skip("nothing to hide")
    passes(hidden, files)


@pytest.mark.parametrize(("hidden", "wanted"), [("entry", "False True"), ("kernels", "True True")])
def test_what_is_hidden_is_absent(hidden, wanted):
    if cpu.absent is not None:
        pytest.skip("nothing to hide")
    source = (
        "import hidden; from softplus.ops import cpu\n"
        "print(bool(cpu.absent), bool(cpu.entry_absent))"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "SOFTPLUS_HIDDEN": hidden}
    result = subprocess.run(
        [sys.executable, "-c", source], env=environment, capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == wanted
