"""`python -m softplus`: what it says, with and without the kernels and the entry to them."""

import subprocess
import sys

import pytest
import torch

from softplus import __main__ as main
from softplus.ops import cpu, triton

COMMAND = [sys.executable, "-m", "softplus"]


def test_it_names_versions_and_the_live_instruction_set():
    printed = subprocess.run(COMMAND, capture_output=True, text=True, check=True).stdout
    assert f"PyTorch {torch.__version__}" in printed
    assert str(cpu.instruction_set() or "PyTorch's own softplus") in printed


def test_a_pipe_that_is_closed_is_no_error():
    """As `head` closes it."""
    with subprocess.Popen(COMMAND, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 0


def test_without_kernels_it_says_why(monkeypatch):
    monkeypatch.setattr(cpu, "absent", "for this test")
    printed = main.report()
    assert "PyTorch's own softplus" in printed
    assert "for this test" in printed


@pytest.mark.skipif(cpu.absent is not None, reason="no kernels were built here")
def test_without_the_entry_it_says_why_and_how_to_get_it(monkeypatch):
    monkeypatch.setattr(cpu, "entry_absent", None)
    assert "called from C++" in main.report()
    monkeypatch.setattr(cpu, "entry_absent", "for this test")
    printed = main.report()
    assert "called from Python, which costs some microseconds a call: for this test" in printed
    assert "--no-build-isolation" in printed


def test_it_says_whether_triton_serves(monkeypatch):
    monkeypatch.setattr(triton, "absent", lambda: "for this test")
    assert "GPU: torch.nn.functional.softplus itself: for this test" in main.report()
    monkeypatch.setattr(triton, "absent", lambda: None)
    assert "GPU: kernels in Triton, from 33,554,432 bytes of input on" in main.report()


@pytest.mark.skipif(cpu.absent is not None, reason="no kernels were built here")
def test_every_other_instruction_set_is_offered():
    printed = main.report()
    assert all(name in printed for name in cpu.available())
