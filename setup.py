"""Builds the CPU kernels with any C++ compiler, and the C++ entry to them for the PyTorch here."""

import hashlib
import os
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
import time
import tomllib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build import build
from setuptools.command.build_ext import build_ext
from setuptools.errors import BaseError, CompileError

CPU = Path("src/softplus/ops/cpu")
LIBRARY = "softplus.ops.cpu._kernels"
WARNINGS = ["-Wall", "-Wextra", "-Wconversion"]
# Without debug information the entry has 1.2 MB, with it 13.
FLAGS = ["-std=c++20", "-g0", "-fPIC", "-fvisibility=hidden", "-DNDEBUG", *WARNINGS]
KERNEL_FLAGS = [*FLAGS, "-O3", "-ffp-contract=off", "-fwrapv"]
# On x86 GCC brings integer constants to vectors by way of general registers, anew for each block.
# From memory they cost nothing: float32's forward takes 9% less time, with AVX2 13%.
CONSTANTS_FROM_MEMORY = "-mtune-ctrl=^inter_unit_moves_to_vec"


def say(message: str) -> None:
    """Print a line of the build."""
    print(f"softplus: {message}", file=sys.stderr)


def compiler() -> list[str]:
    """Return the command that compiles C++."""
    return shlex.split(os.environ.get("CXX") or sysconfig.get_config_var("CXX") or "c++")


def system(*paths: str) -> list[str]:
    """Return the flags that find headers in folders and silence what they would warn of."""
    return [f"-isystem{path}" for path in (*paths, sysconfig.get_path("include"))]


def accepts(flag: str) -> bool:
    """Whether the compiler knows a flag."""
    run = [*compiler(), flag, "-E", "-xc++", os.devnull]
    return subprocess.run(run, check=False, capture_output=True).returncode == 0  # noqa: S603


def instruction_sets() -> dict[str, list[str]]:
    """Return the flags of each instruction set of the machine that the compiler compiles for."""
    read = [*compiler(), "-E", "-P", "-xc++", str(CPU / "instruction_sets.def")]
    done = subprocess.run(read, check=True, capture_output=True, text=True)  # noqa: S603
    tuning = [CONSTANTS_FROM_MEMORY] if accepts(CONSTANTS_FROM_MEMORY) else []
    return {
        name: [f"-DISA={name}", f'-DTARGET="targets/{file}.h"', *tuning]
        + [f"-m{feature}" for feature in re.findall(r"HAS\((\w+)\)", features)]
        for name, file, features in re.findall(r"SET\((\w+), (\w+)(.*)\)", done.stdout)
    }


def library_sources() -> list[tuple[str, list[str]]]:
    """Return what the library is compiled from, each with its flags."""
    sets = instruction_sets()
    if not sets:
        raise CompileError("there are none for this machine")
    return [
        ("library.cpp", [*FLAGS, "-O2", *system()]),
        ("instruction_set.cpp", [*FLAGS, "-O2"]),
        ("task.cpp", [*FLAGS, "-O3"]),
        *(("kernels.cpp", [*KERNEL_FLAGS, *flags]) for flags in sets.values()),
    ]


def entry_sources(torch_paths: list[str], module: str) -> list[tuple[str, list[str]]]:
    """Return what the entry is compiled from, with its flags."""
    flags = [
        *FLAGS,
        "-O2",
        "-Wno-maybe-uninitialized",  # of PyTorch's templates, inlined into ours
        *system(*torch_paths),
        f"-idirafter{CPU / 'stubs'}",  # for what PyTorch's headers include and lack
        f"-DTORCH_EXTENSION_NAME={module}",
        "-DTORCH_API_INCLUDE_EXTENSION_H",
    ]
    return [("bindings.cpp", flags)]


def entry_module(version: str) -> str:
    """Return the name of the entry for a version of PyTorch, as in ops/cpu/__init__.py.

    Builds of one release, as 2.13.0+cpu and 2.13.0+cu130, can load each other's entry. Those of no
    release have nothing in common.
    """
    release = re.fullmatch(r"([\d.]+)(?:\+.*)?", version)
    return "_torch_" + re.sub(r"\W", "_", release[1] if release else version)


def entry() -> Extension | None:
    """Return the C++ entry, None where no PyTorch can be imported."""
    try:
        import torch
        from torch.utils.cpp_extension import CppExtension, include_paths
    except Exception as error:  # noqa: BLE001 -- whatever a broken PyTorch raises
        say(f"no C++ entry, as PyTorch cannot be imported here: {type(error).__name__}: {error}")
        return None
    module = entry_module(torch.__version__)
    result = CppExtension(f"softplus.ops.cpu.{module}", [], optional=True)
    result.compiled_from = lambda: entry_sources(include_paths(), module)
    return result


def library() -> Extension:
    """Return the library of kernels, which serves every Python from 3.11 on and every PyTorch."""
    result = Extension(LIBRARY, [], language="c++", py_limited_api=True, optional=True)
    result.compiled_from = library_sources
    return result


class BuildExtensions(build_ext):
    """Compiles what is older than what it is made from, side by side; leaves out what fails."""

    def finalize_options(self) -> None:
        extensions = self.distribution.ext_modules
        if len(extensions) == 1 and (found := entry()):
            extensions.append(found)
        super().finalize_options()

    def build_extension(self, extension: Extension) -> None:
        try:
            with ThreadPoolExecutor() as pool:
                objects = list(
                    pool.map(lambda made_from: self.compiled(*made_from), extension.compiled_from())
                )
            extension.extra_objects = extension.depends = objects
            super().build_extension(extension)
        except (subprocess.SubprocessError, BaseError, OSError) as error:
            say(f"no {extension.name}: {error}")

    def copy_extensions_to_source(self) -> None:
        super().copy_extensions_to_source()
        # Built before the library used the limited API, it would be found first.
        for old in CPU.glob("_kernels.cpython-*"):
            old.unlink()

    def compiled(self, source: str, flags: list[str]) -> str:
        """Return the object that a source is compiled to, anew only where it is out of date."""
        command = [*compiler(), *shlex.split(os.environ.get("CXXFLAGS", "")), *flags]
        command += ["-c", str(CPU / source)]
        # Named for its command: the objects of another PyTorch or Python stay beside it.
        digest = hashlib.sha256(shlex.join(command).encode()).hexdigest()[:12]
        folder = Path(self.get_finalized_command("build").build_base) / "objects"
        folder.mkdir(parents=True, exist_ok=True)
        result = folder / f"{Path(source).stem}-{digest}.o"
        if out_of_date(result):
            # It has its name once it is complete, and the time at which its sources were read.
            made, started = result.with_suffix(f".{os.getpid()}.o"), time.time()
            read = ["-MD", "-MF", str(result.with_suffix(".d"))]
            self.spawn([*command, *read, "-o", str(made)])
            os.utime(made, (started, started))
            made.replace(result)
        return str(result)


def out_of_date(result: Path) -> bool:
    """Whether an object is older than a file it was compiled from, as the compiler listed them."""
    read = result.with_suffix(".d")
    if not (result.exists() and read.exists()):
        return True
    files = re.split(r"(?<!\\)\s+", read.read_text().replace("\\\n", "").partition(": ")[2].strip())
    paths = [Path(file.replace("\\ ", " ")) for file in files]
    made = result.stat().st_mtime
    return any(not path.exists() or path.stat().st_mtime > made for path in paths)


class Build(build):
    """Builds into an empty folder, so that no wheel has what an earlier build left there."""

    def run(self) -> None:
        if Path(self.build_base) in Path(self.build_lib).parents:
            shutil.rmtree(self.build_lib, ignore_errors=True)
        super().run()


class Wheel(bdist_wheel):
    """Tags a wheel by what is in it: the entry, the library alone, or neither."""

    def get_tag(self) -> tuple[str, str, str]:
        python, abi, platform = super().get_tag()
        built = [Path(file).name for file in self.get_finalized_command("build_ext").get_outputs()]
        exist = Path(self.get_finalized_command("build").build_lib).rglob("*")
        built = {file.name for file in exist} & set(built)
        if not built:
            return "py3", "none", "any"
        if len(built) == 1:
            return "cp311", "abi3", platform
        return python, abi, platform


def readme(project: dict) -> str:
    """Return README for a package index: its links lead to the `Source` of [project.urls].

    Where there is none they would lead nowhere, so the words are left and the pictures left out.
    """
    text, link = Path("README.md").read_text("utf-8"), r"\[([^]]*)\]\((?!http)([^)]*)\)"
    source = project.get("urls", {}).get("Source")
    if source is None:
        return re.sub(link, r"\1", re.sub(rf"!{link}\n+", "", text))
    version = f"v{project['version']}"
    text = re.sub(rf"!{link}", rf"![\1]({source}/raw/{version}/\2)", text)
    return re.sub(link, rf"[\1]({source}/blob/{version}/\2)", text)


if __name__ == "__main__":
    setup(
        long_description=readme(
            tomllib.loads(Path("pyproject.toml").read_text("utf-8"))["project"]
        ),
        long_description_content_type="text/markdown",
        ext_modules=[library()],
        cmdclass={"build": Build, "build_ext": BuildExtensions, "bdist_wheel": Wheel},
    )
