"""Prints how many machine instructions the GPU kernels take for an element, for docs/gpu.md.

    python tools/gpu_instructions.py     # needs Triton, and no GPU: it compiles for an H100 or H200

A multiprocessor starts 128 a cycle, 4 warps of 32 lanes: at the bandwidth of memory that bounds how
many there may be.
"""

import re
import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))
import faked

# Multiprocessors times 128 times 1.755 GHz, and 90% of a copy, which reaches 90% of the data sheet
STARTED = 132 * 128 * 1.755e9
BANDWIDTH = {"H100": 0.81 * 3.35e12, "H200": 0.81 * 4.8e12}
# Tensors that are read and written
TRAFFIC = {"forward": 2, "backward": 3, "double_backward": 5}


def instructions(name: str, dtype: torch.dtype, beta: float) -> float:
    """Return the instructions of an element in a pass."""
    launch = faked.launcher()
    x = torch.ones(1 << 14).to(dtype).as_subclass(faked.OnGpu)
    of_output = dtype != torch.float16
    options = {
        "forward": (20.0,),
        "backward": (20.0, of_output),
        "double_backward": (20.0, of_output, of_output),
    }
    read = {"forward": 1, "backward": 2, "double_backward": 3}[name]
    launch.OPERATORS[name](*(x,) * read, beta, *options[name])
    made = faked.launches[-1]
    compiled = next(
        one
        for one in getattr(launch.kernels, made.kernel).device_caches[0][0].values()
        if one.metadata.hash == made.metadata.hash
    )
    count = len(re.findall(r"^\S+\t(?!NOP)", compiled.asm["sass"], re.MULTILINE))
    return count * made.metadata.num_warps * 32 / launch.shape(x)[0]


def main() -> None:
    """Print the table."""
    print("| pass | dtype | beta = 1 | another | " + " | ".join(BANDWIDTH) + " leave time for |")
    print("|---|---|---|---|---|---|")
    for name, tensors in TRAFFIC.items():
        for dtype in (torch.float32, torch.bfloat16, torch.float16):
            counts = [f"{instructions(name, dtype, beta):.0f}" for beta in (1.0, 0.7)]
            elements = [speed / (tensors * dtype.itemsize) for speed in BANDWIDTH.values()]
            bounds = [f"{STARTED / each:.0f}" for each in elements]
            cells = [name.replace("_", " "), str(dtype)[6:], *counts, *bounds]
            print(f"| {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
