"""py.typed holds: mypy and pyright accept a sample of user code, and refuse what is wrong in it."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import softplus

SAMPLE = Path(__file__).with_name("typing_sample.py")
PACKAGE = Path(softplus.__file__).parent


def checked(tmp_path: Path, *command: str) -> subprocess.CompletedProcess:
    """Return what a type checker says, in a folder without this project's configuration."""
    return subprocess.run(
        [sys.executable, "-m", *command],
        cwd=tmp_path,
        env={"PYTHONPATH": str(PACKAGE.parent), "HOME": str(tmp_path), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_package_says_that_it_is_typed():
    assert (PACKAGE / "py.typed").read_text() == ""


@pytest.mark.slow  # mypy reads all of torch: 20 seconds
def test_mypy(tmp_path):
    pytest.importorskip("mypy")
    result = checked(tmp_path, "mypy", "--strict", "--no-error-summary", str(SAMPLE))
    assert (result.stdout, result.returncode) == ("", 0)


def test_pyright(tmp_path):
    pytest.importorskip("pyright")
    options = {
        "typeCheckingMode": "strict",
        "reportUnnecessaryTypeIgnoreComment": "error",
        # mypy's ignores are not pyright's, and torch's own annotations are partly unknown.
        "enableTypeIgnoreComments": False,
        "reportUnknownMemberType": "none",
        "reportUnknownArgumentType": "none",
        "reportUnknownLambdaType": "none",
        "reportUnknownVariableType": "none",
        "extraPaths": [str(PACKAGE.parent)],
    }
    (tmp_path / "pyrightconfig.json").write_text(json.dumps(options))
    shutil.copy(SAMPLE, tmp_path)
    result = checked(
        tmp_path, "pyright", "--outputjson", "--pythonpath", sys.executable, "--project", "."
    )
    report = json.loads(result.stdout)
    said = [
        f"{entry['range']['start']['line'] + 1}: {entry['message']}"
        for entry in report["generalDiagnostics"]
    ]
    assert said == []
    assert report["summary"]["filesAnalyzed"] == 1
    assert result.returncode == 0
