"""torchvision beside a PyTorch that lacks CUDA: its wheel's operators then cannot be loaded.

Its import describes two of them, whether they are there or not. As a program this runs the script
that is its first argument, with the others.
"""

import runpy
import sys

import torch


def absent() -> bool:
    """Whether they cannot be loaded; torchvision can be imported afterwards."""
    try:
        import torchvision  # noqa: F401, PLC0415 -- what is tried
    except ImportError:  # no torchvision at all
        return False
    except RuntimeError:
        for name in ("nms", "qnms"):
            torch.library.define(f"torchvision::{name}", "(Tensor a, Tensor b, float c) -> Tensor")
        return True
    return False


if __name__ == "__main__":
    absent()
    del sys.argv[0]
    runpy.run_path(sys.argv[0], run_name="__main__")
