"""The examples: each runs, and prints a row for every arm and a verdict with its interval."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import softplus

EXAMPLES = Path(__file__).parent.parent / "examples"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["heteroscedastic", "positive_target"])
def test_an_example_prints_its_table(name):
    result = subprocess.run(
        [sys.executable, "-W", "error", EXAMPLES / f"{name}.py", "--splits", "2"],
        env={**os.environ, "PYTHONPATH": str(Path(softplus.__file__).parent.parent)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    rows = re.findall(r"^.+ \d\.\d{3} \[-?\d+\.\d{3}, \d+\.\d{3}\]", result.stdout, re.MULTILINE)
    assert len(rows) == 3
    assert len(re.findall(r"less .+: [+-]\d\.\d{3} nats \[.+\], so: \w", result.stdout)) == 2
