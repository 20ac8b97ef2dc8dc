"""`python -m softplus`: says which implementation is live, and why."""

import argparse
import platform
import sys

import torch

from softplus import __version__
from softplus.ops import cpu, triton
from softplus.ops.cpu import installation


def report() -> str:
    """Return what runs here: versions, the implementation, and how to get a faster one."""
    versions = (
        f"softplus {__version__}, PyTorch {torch.__version__}, "
        f"Python {platform.python_version()}, {platform.machine()}"
    )
    if cpu.absent is not None:
        lines = ["CPU: PyTorch's own softplus, without kernels of this package", cpu.absent]
    else:
        others = ", ".join(name for name in cpu.available() if name != cpu.instruction_set())
        lines = [
            f"CPU: compiled kernels, instruction set {cpu.instruction_set()}",
            f"     (SOFTPLUS_ISA forces another that this CPU has: {others})",
            *_entry(),
        ]
    lines += [*_on_gpu(), "other devices: torch.nn.functional.softplus itself"]
    return "\n".join([versions, *lines])


def _on_gpu() -> list[str]:
    if why := triton.absent():
        return [f"GPU: torch.nn.functional.softplus itself: {why}"]
    return [
        f"GPU: kernels in Triton, from {triton.from_bytes:,} bytes of input on",
        "     (SOFTPLUS_TRITON_FROM sets another size, 0 for every call; not for patch())",
    ]


def _entry() -> list[str]:
    if cpu.entry_absent is None:
        return ["called from C++: a call on few elements costs what PyTorch's own does"]
    return [
        f"called from Python, which costs some microseconds a call: {cpu.entry_absent}",
        f"to call them from C++, with a C++ compiler: {installation.to_build_entry()}",
    ]


if __name__ == "__main__":
    argparse.ArgumentParser(prog="python -m softplus", description=__doc__).parse_args()
    try:
        print(report(), flush=True)  # noqa: T201  # this is the program's output, and rich may be absent
    except BrokenPipeError:  # of `python -m softplus | head -1`
        sys.stdout = None
