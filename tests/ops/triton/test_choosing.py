"""Which calls the GPU kernels take, and what is said where there are none; no Triton is needed."""

import os
import subprocess
import sys

import pytest
import torch

from marks import with_kernels
from softplus import softplus
from softplus.ops import cpu, entry, triton


def test_a_pytorch_for_cpus_has_no_gpu_kernels():
    if triton.POSSIBLE:
        pytest.skip("a PyTorch that knows GPUs")
    assert triton.absent() == "this PyTorch is built for the CPU alone"
    assert not triton.serves(torch.zeros(64))


def absent(monkeypatch, missing: object) -> str | None:
    """Return what is said on a PyTorch that knows GPUs, where something is not there."""
    monkeypatch.setattr(triton, "POSSIBLE", True)
    monkeypatch.setattr(triton, "find_spec", lambda _: missing)
    try:
        triton.absent.cache_clear()
        return triton.absent()
    finally:
        triton.absent.cache_clear()


def test_without_triton_it_says_what_to_do(monkeypatch):
    assert absent(monkeypatch, None) == "Triton is not installed: pip install triton"


def test_a_triton_that_does_not_load_is_named(monkeypatch):
    def broken(_):
        raise ImportError("for this test")

    monkeypatch.setattr(triton, "import_module", broken)
    assert absent(monkeypatch, object()) == "Triton does not load: for this test"


def test_an_operator_on_a_gpu_that_triton_does_not_compile_for_is_pytorch_s(monkeypatch):
    """As a compiled graph calls it that Inductor did not write."""
    of_triton = {"forward": lambda *_: "a kernel"}
    monkeypatch.setattr(triton, "implementations", lambda: of_triton)
    for compiles in (True, False):
        monkeypatch.setattr(triton, "_compiled_for", lambda _, compiles=compiles: compiles)
        result = triton._run("forward", torch.zeros(3), 1.0, 20.0)
        assert result == "a kernel" if compiles else torch.equal(result, softplus(torch.zeros(3)))


@with_kernels
def test_the_cpp_entry_leaves_large_tensors_on_other_devices():
    """By size; meta tensors are not on the CPU either."""
    seen = []

    def serve(*arguments):
        seen.append(arguments)
        return arguments[0]

    small, large = torch.empty(63, device="meta"), torch.empty(64, device="meta")
    cpu.serve_gpu(serve, 256)
    try:
        assert softplus(large, 2.0, 5.0) is large
        assert seen == [(large, 2.0, 5.0, False, None)]
        assert softplus(small).shape == small.shape
        assert softplus(torch.zeros(64)).numel() == 64
        assert len(seen) == 1
    finally:
        cpu.serve_gpu(entry._softplus, triton.from_bytes if triton.POSSIBLE else 2**62)


def imported(source: str, **environment: str) -> subprocess.CompletedProcess:
    """Run a program in another process."""
    return subprocess.run(
        [sys.executable, "-c", source],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_size_that_is_no_number_is_refused():
    done = imported("import softplus", SOFTPLUS_TRITON_FROM="16 MiB")
    assert "SOFTPLUS_TRITON_FROM=16 MiB: the variable must be a number of bytes" in done.stderr
    done = imported(
        "from softplus.ops import triton; print(triton.from_bytes)", SOFTPLUS_TRITON_FROM="7"
    )
    assert done.stdout.strip() == "7"


def test_importing_on_a_pytorch_that_knows_gpus_loads_no_triton():
    """And calls on the CPU do not either."""
    source = (
        "import torch; torch.version.cuda = '13.0'\n"
        "import sys, softplus\n"
        "softplus.softplus(torch.zeros(3)); softplus.Softplus()(torch.zeros(3))\n"
        "print('triton' in sys.modules, softplus.ops.triton.POSSIBLE)"
    )
    assert imported(source).stdout.strip() == "False True"
