"""Builds the CPU kernels against the installed PyTorch; without PyTorch or a compiler, none."""

import os
import platform
import shlex
import subprocess
import sys
import sysconfig
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from setuptools import setup
from setuptools.errors import BaseError, CompileError

CPU = Path("src/softplus/ops/cpu")
# The kernels are compiled once for each instruction set; the library chooses when it loads.
INSTRUCTION_SETS = {
    "baseline": [],
    "avx2": ["-mavx2", "-mfma", "-mf16c"],
    "avx512": ["-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl", "-mfma", "-mf16c"],
}
KERNEL_FLAGS = ["-std=c++20", "-O3", "-fPIC", "-ffp-contract=off", "-fwrapv", "-w"]


def build_options() -> dict:
    """Return the extension and the command that builds it; nothing where PyTorch is missing."""
    try:
        import torch
        from torch.utils.cpp_extension import BuildExtension, CppExtension
    except ImportError:
        print(
            "softplus: no PyTorch at build time, so no CPU kernels; with PyTorch installed, "
            "pip install --no-build-isolation builds them",
            file=sys.stderr,
        )
        return {}
    x86 = platform.machine() in ("x86_64", "AMD64")
    names = list(INSTRUCTION_SETS) if x86 else ["baseline"]

    class Build(BuildExtension):
        """Compiles the kernels for each instruction set, side by side, then the bindings."""

        def build_extensions(self) -> None:
            try:
                super().build_extensions()
            except (subprocess.SubprocessError, BaseError, OSError) as error:
                print(f"softplus: no CPU kernels: {error}", file=sys.stderr)

        def build_extension(self, extension: CppExtension) -> None:
            Path(self.build_temp).mkdir(parents=True, exist_ok=True)
            with ThreadPoolExecutor() as pool:
                extension.extra_objects = list(pool.map(self.build_kernels, names))
            super().build_extension(extension)

        def build_kernels(self, name: str) -> str:
            compiler = os.environ.get("CXX") or sysconfig.get_config_var("CXX") or "c++"
            result = str(Path(self.build_temp) / f"kernels_{name}.o")
            flags = [*KERNEL_FLAGS, *INSTRUCTION_SETS[name], f"-DISA={name}"]
            source = str(CPU / "kernels.cpp")
            try:
                self.spawn([*shlex.split(compiler), *flags, "-c", source, "-o", result])
            except (BaseError, OSError) as error:
                raise CompileError(f"the kernels for {name}: {error}") from error
            return result

    return {
        "ext_modules": [
            CppExtension(
                "softplus.ops.cpu._kernels",
                [str(CPU / "bindings.cpp")],
                extra_compile_args=["-O2", "-std=c++20", f'-DBUILT_FOR="{torch.__version__}"'],
                depends=[str(path) for path in CPU.glob("*.[ch]*")],
                # A compiler that is missing or fails leaves the package without kernels. Ninja
                # would turn its failure into an error of the whole installation.
                optional=True,
            )
        ],
        "cmdclass": {"build_ext": Build.with_options(use_ninja=False)},
    }


setup(**build_options())
