"""The kernels compiled for GPUs that are not here: what only the compilers can tell.

Each as the operators launch it, on tensors that say they are on a GPU.
"""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor

from interpreting import with_triton

pytestmark = [pytest.mark.slow, with_triton]

TESTS = Path(__file__).parents[2]
TYPES = ["float32", "float64", "bfloat16", "float16"]
# What a target makes of the kernels is read as text: operations that flush subnormal numbers,
# divisions and exponentials that are not rounded correctly, sums in no order of their own, and
# products and sums without a rounding, which the assembler may fuse.
TARGETS = {
    "cuda": (
        "ptx",
        r"\.ftz|\.approx|\bdiv\.full|\batom\.|\bred\.|\b(?:mul|add|sub)\.f(?:32|64)",
    ),
    "hip": ("amdgcn", r"v_exp_f32|v_log_f32|_atomic_"),
}


def variants(dtype: torch.dtype) -> Iterator[tuple[str, tuple, bool]]:
    """Yield operators and what they are called with, and whether in 64 bits."""
    from faked import OnGpu  # noqa: PLC0415 -- it takes this process for itself

    def lying(tensor: Tensor) -> Tensor:
        return tensor.as_subclass(OnGpu)

    x = lying(torch.randn(32, 128).to(dtype))
    rows = lying(torch.randn(32, 200).to(dtype)[:, :128])
    of_one = lying(torch.tensor(0.7, dtype=torch.float64).expand(x.shape))
    of_each = lying(torch.rand(x.shape, dtype=torch.float64))
    for beta, threshold, like, wide in [(1.0, 20.0, x, False), (-0.7, 5.0, rows, True)]:
        yield "forward", (like, beta, threshold), wide
        for of_output in (True, False):
            options = beta, threshold, of_output
            yield "backward", (like, like, *options), wide
            yield "double_backward", (like, like, like, *options, of_output), wide
        yield "shifted", (like, beta, None), wide
        yield "shifted", (like, beta, 0.3), wide
        yield "inverse", (like, beta), wide
    for b, shifted in [(of_one, False), (of_each, True), (of_each, False)]:
        threshold = 20.0 if shifted else 5.0
        yield "forward_each", (x, b, threshold, shifted), shifted
        yield "backward_each", (x, x, b, threshold, shifted), shifted
        yield "double_backward_each", (x, of_each, x, x, b, threshold, shifted), shifted


def compiled(backend: str, dtype: torch.dtype) -> Iterator[tuple[str, dict, bool]]:
    """Yield what a target's compiler makes of each launch: texts, by kind; and if it may fuse."""
    import faked  # noqa: PLC0415

    launch = faked.launcher(backend)
    from softplus.ops.triton import kernels  # noqa: PLC0415 -- after the launcher

    narrow, seen = launch._NARROW, set()
    for name, arguments, wide in variants(dtype):
        launch._NARROW = 0 if wide else narrow
        launch.OPERATORS[name](*arguments)
        kernel = getattr(kernels, faked.launches[-1].kernel)
        for one in kernel.device_caches[0][0].values():
            if id(one) not in seen:
                seen.add(id(one))
                options = [value for value in arguments if not isinstance(value, Tensor)]
                yield f"{name} {options}", one.asm, one.metadata.enable_fp_fusion


def report(backend: str, dtype: str) -> None:
    """Print what is wrong with each kernel, as JSON."""
    text, pattern = TARGETS[backend]
    wrong, count = {}, 0
    for name, asm, fuses in compiled(backend, getattr(torch, dtype)):
        count += 1
        found = sorted(set(re.findall(pattern, asm[text])))
        if fuses:
            found.append("the compiler may fuse")
        if found or not asm[text]:
            wrong[name] = found
    sys.stdout.write(json.dumps({"kernels": count, "wrong": wrong}))


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("backend", TARGETS)
def test_each_kernel_compiles_and_neither_flushes_nor_approximates(backend, dtype):
    """In another process: this one's Triton may be an interpreter, which has no compiler."""
    environment = {**os.environ, "PYTHONPATH": str(TESTS)}
    environment.pop("TRITON_INTERPRET", None)
    command = [sys.executable, __file__, backend, dtype]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    assert result["kernels"] >= 20
    assert result["wrong"] == {}


def test_what_is_launched_where():
    """The tests of launches, on a GPU that only lists them."""
    environment = {**os.environ, "PYTHONPATH": str(TESTS)}
    environment.pop("TRITON_INTERPRET", None)
    file = TESTS / "gpu" / "test_launches.py"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "faked", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    assert " passed" in done.stdout


if __name__ == "__main__":
    report(*sys.argv[1:])
