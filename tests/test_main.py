"""`python -m softplus`: what it says, with and without kernels."""

import subprocess
import sys

import pytest
import torch

from softplus import __main__ as main
from softplus.ops import cpu


def test_it_names_versions_and_the_live_instruction_set():
    command = [sys.executable, "-m", "softplus"]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert f"PyTorch {torch.__version__}" in printed
    assert str(cpu.instruction_set() or "the definition in plain torch") in printed


def test_without_kernels_it_says_why_and_how_to_get_them(monkeypatch):
    monkeypatch.setattr(cpu, "absent", cpu._HOW_TO_BUILD)
    printed = main.report()
    assert "the definition in plain torch" in printed
    assert "pip install --no-build-isolation" in printed


@pytest.mark.skipif(cpu.absent is not None, reason="no kernels were built here")
def test_every_other_instruction_set_is_offered():
    printed = main.report()
    assert all(name in printed for name in cpu.available())
