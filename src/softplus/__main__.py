"""`python -m softplus`: says which implementation is live, and why."""

import argparse
import platform
from importlib.metadata import version

import torch

from softplus.ops import cpu


def report() -> str:
    """Return what runs here: versions, the implementation, and how to get another."""
    versions = (
        f"softplus {version('softplus')}, PyTorch {torch.__version__}, "
        f"Python {platform.python_version()}, {platform.machine()}"
    )
    if cpu.absent is not None:
        lines = ["the definition in plain torch, on every device: no compiled kernels", cpu.absent]
    else:
        others = ", ".join(name for name in cpu.available() if name != cpu.instruction_set())
        lines = [
            f"CPU: compiled kernels, instruction set {cpu.instruction_set()}",
            f"     (SOFTPLUS_ISA forces another that this CPU has: {others})",
            "other devices: torch.nn.functional.softplus itself",
        ]
    return "\n".join([versions, *lines])


if __name__ == "__main__":
    argparse.ArgumentParser(prog="python -m softplus", description=__doc__).parse_args()
    print(report())  # noqa: T201  # this is the program's output, and rich may be absent
