"""Runs the kernels of aarch64 in an emulator, on a machine of another kind."""

import runpy
import shutil
import struct
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from checksums import Call, Run
from torch import Tensor

from softplus.ops import cpu

ROOT = Path(__file__).parents[1]
SOURCES = ROOT / "src" / "softplus" / "ops" / "cpu"
COMPILER, EMULATOR = shutil.which("aarch64-linux-gnu-g++"), shutil.which("qemu-aarch64")
# Why there is none; None where there is one.
ABSENT = (
    None
    if COMPILER and EMULATOR
    else "the kernels of aarch64 need aarch64-linux-gnu-g++ and qemu-aarch64"
    " (on Debian: apt-get install g++-aarch64-linux-gnu qemu-user)"
)
REQUEST = struct.Struct("=iiqdddii")  # Request in run_kernels.cpp


def compiled(folder: Path) -> Path:
    """Compile the kernels into a program that the emulator can run."""
    flags = runpy.run_path(str(ROOT / "tests" / "cpp_build.py"))["kernel_flags"](COMPILER)
    program = folder / "run_kernels"
    sources = [SOURCES / "kernels.cpp", ROOT / "tools" / "run_kernels.cpp"]
    options = [*flags["baseline"], "-w", f"-I{SOURCES}", "-static"]
    subprocess.run([COMPILER, *options, *sources, "-o", program], check=True, timeout=280)  # noqa: S603
    return program


@contextmanager
def running(program: Path) -> Iterator[Run]:
    """Yield a function that makes calls in the emulator."""
    with subprocess.Popen(  # noqa: S603
        [str(EMULATOR), program], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        requests, answers = process.stdin, process.stdout
        if requests is None or answers is None:
            raise RuntimeError("no pipes to the emulator")

        def run(call: Call, outputs: list[Tensor]) -> None:
            n = outputs[0].numel()
            number = cpu._kernels.KERNELS.index(call.kernel)  # noqa: SLF001
            shift = float("nan") if call.shift is None else call.shift
            flags = call.to_input, call.shifted
            request = number, call.dtype, n, call.beta, call.threshold, shift, *flags
            requests.write(REQUEST.pack(*request))
            for tensor in call.inputs:
                requests.write(memoryview(tensor.view(torch.uint8).numpy()))
            requests.flush()
            for tensor in outputs:
                answers.readinto(memoryview(tensor.view(torch.uint8).numpy()))

        yield run
        requests.close()
