"""The tests of a GPU, of the functions and of the benchmark, in Triton's interpreter."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from interpreting import with_triton

pytestmark = [pytest.mark.slow, with_triton]

TESTS = Path(__file__).parents[2]
FILES = [
    *("gpu/test_accuracy.py", "gpu/test_special_values.py", "gpu/test_layouts.py"),
    *("gpu/test_device.py", "test_functional.py", "test_functional_in_place.py"),
    *("test_functional_out.py", "test_modules.py", "test_modules_learnable.py"),
    "ops/test_autograd.py",
]
# Memory that overlaps is refused where a kernel would write it; here a result is copied to it. The
# interpreter changes Triton's modules while a kernel runs, so that it serves one thread, and takes
# a quarter of an hour for a training.
NOT_HERE = "not overlaps_the_input_in_part and not in_several_threads and not training_finds"


def run(*command: str, folder: Path) -> str:
    """Return what a command prints; it must not fail."""
    environment = {**os.environ, "PYTHONPATH": str(TESTS), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, *command],
        env=environment,
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    return done.stdout


@pytest.mark.parametrize("file", FILES)
def test_these_tests_pass_in_the_interpreter(file):
    options = ["-q", "-p", "interpreted", "-k", NOT_HERE]
    slow = [] if file.startswith("gpu/") else ["-m", "not slow"]
    printed = run("-m", "pytest", *options, *slow, str(TESTS / file), folder=TESTS.parent)
    assert " passed" in printed


def test_the_benchmark_runs_from_end_to_end(tmp_path):
    script = TESTS.parent / "benchmarks" / "gpu.py"
    printed = run(str(script), "--dry-run", "--tune", folder=tmp_path)
    results = json.loads((tmp_path / "gpu.json").read_text(encoding="utf-8"))
    assert "failed: nothing" in printed
    assert {row["result"] for row in results["checks"]} == {"passed"}
    sections = {name for name, rows in results.items() if isinstance(rows, list)}
    assert sections == {
        *("checks", "bandwidth", "sdf", "memory", "calls", "betas", "compiled", "tune")
    }
    kept = {row["network"]: row for row in results["memory"]}
    assert kept["MLP, float32"]["ours"] == kept["MLP, float32"]["relu_bytes"]
