"""Builds the CPU kernels against the installed PyTorch; without PyTorch or a compiler, none."""

import os
import re
import shlex
import subprocess
import sys
import sysconfig
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from setuptools import setup
from setuptools.errors import BaseError, CompileError

CPU = Path("src/softplus/ops/cpu")
SOURCES = {".cpp", ".h", ".def"}
WARNINGS = ["-Wall", "-Wextra", "-Wconversion"]
# Without debug information the library has 1.2 MB, with it 13.
FLAGS = ["-std=c++20", "-g0", *WARNINGS]
KERNEL_FLAGS = [*FLAGS, "-O3", "-fPIC", "-ffp-contract=off", "-fwrapv"]


def compiler() -> list[str]:
    """Return the command that compiles C++."""
    return shlex.split(os.environ.get("CXX") or sysconfig.get_config_var("CXX") or "c++")


def instruction_sets(compiler: list[str]) -> dict[str, list[str]]:
    """Return the flags of each instruction set of the machine that a compiler compiles for."""
    list_of_sets = str(CPU / "instruction_sets.def")
    read = [*compiler, "-E", "-P", "-xc++", list_of_sets]
    done = subprocess.run(read, check=True, capture_output=True, text=True)  # noqa: S603
    return {
        name: [f"-DISA={name}", f'-DTARGET="targets/{file}.h"']
        + [f"-m{feature}" for feature in re.findall(r"HAS\((\w+)\)", features)]
        for name, file, features in re.findall(r"SET\((\w+), (\w+)(.*)\)", done.stdout)
    }


def build_options() -> dict:
    """Return the extension and the command that builds it; nothing where PyTorch is missing."""
    try:
        import torch
        from torch.utils.cpp_extension import BuildExtension, CppExtension, include_paths
    except ImportError:
        print(
            "softplus: no PyTorch at build time, so no CPU kernels; with PyTorch installed, "
            "pip install --no-build-isolation builds them",
            file=sys.stderr,
        )
        return {}
    system = [*include_paths(), sysconfig.get_path("include")]  # whose warnings are not ours

    class Build(BuildExtension):
        """Compiles the kernels for each instruction set, side by side, then the bindings."""

        def build_extensions(self) -> None:
            try:
                super().build_extensions()
            except (subprocess.SubprocessError, BaseError, OSError) as error:
                print(f"softplus: no CPU kernels: {error}", file=sys.stderr)

        def build_extension(self, extension: CppExtension) -> None:
            Path(self.build_temp).mkdir(parents=True, exist_ok=True)
            sets = instruction_sets(compiler())
            if not sets:
                raise CompileError("there are none for this machine")
            with ThreadPoolExecutor() as pool:
                extension.extra_objects = list(pool.map(self.build_kernels, sets, sets.values()))
            super().build_extension(extension)

        def build_kernels(self, name: str, flags: list[str]) -> str:
            result = str(Path(self.build_temp) / f"kernels_{name}.o")
            source = str(CPU / "kernels.cpp")
            try:
                self.spawn([*compiler(), *KERNEL_FLAGS, *flags, "-c", source, "-o", result])
            except (BaseError, OSError) as error:
                raise CompileError(f"the kernels for {name}: {error}") from error
            return result

    return {
        "ext_modules": [
            CppExtension(
                "softplus.ops.cpu._kernels",
                [str(CPU / "bindings.cpp")],
                extra_compile_args=[
                    *FLAGS,
                    "-O2",
                    "-Wno-maybe-uninitialized",  # of PyTorch's templates, inlined into ours
                    *(f"-isystem{path}" for path in system),
                    f'-DBUILT_FOR="{torch.__version__}"',
                ],
                depends=[str(path) for path in CPU.rglob("*.*") if path.suffix in SOURCES],
                # A compiler that is missing or fails leaves the package without kernels. Ninja
                # would turn its failure into an error of the whole installation.
                optional=True,
            )
        ],
        "cmdclass": {"build_ext": Build.with_options(use_ninja=False)},
    }


setup(**build_options())
