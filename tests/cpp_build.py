"""How setup.py compiles, for the tests that compile its sources themselves."""

import contextlib
import functools
import runpy
from pathlib import Path
from unittest.mock import patch

ROOT = Path(__file__).parents[1]
SOURCES = ROOT / "src" / "softplus" / "ops" / "cpu"


@functools.cache
def _setup() -> dict:
    with patch("setuptools.setup"):
        return runpy.run_path(str(ROOT / "setup.py"))


def kernel_flags(compiler: str) -> dict[str, list[str]]:
    """Return the flags of kernels.cpp for each instruction set that a compiler knows."""
    with contextlib.chdir(ROOT):
        sets = _setup()["instruction_sets"]([compiler])
    return {name: [*_setup()["KERNEL_FLAGS"], *flags] for name, flags in sets.items()}


def bindings_command(compiler: str) -> list:
    """Return the command that compiles bindings.cpp, but for the name of the result."""
    (extension,) = _setup()["build_options"]()["ext_modules"]
    include = [f"-isystem{path}" for path in extension.include_dirs]
    named = ["-DTORCH_EXTENSION_NAME=_kernels", "-fPIC"]
    return [
        compiler,
        *include,
        *extension.extra_compile_args,
        *named,
        "-c",
        SOURCES / "bindings.cpp",
    ]
