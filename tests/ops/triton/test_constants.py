"""The constants of the GPU kernels: those that the tool makes, and those of the CPU."""

import importlib
import re
from pathlib import Path

import pytest

from softplus.ops.triton import constants

ROOT = Path(__file__).parents[3]


def test_the_constants_are_those_that_the_tool_makes(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "tools")
    tool = importlib.import_module("triton_constants")
    text = (ROOT / "src/softplus/ops/triton/constants.py").read_text(encoding="utf-8")
    assert text == tool.module() + "\n"


NAMES = ["EXPM1_DOUBLE", "EXPM1_SINGLE", "EXPM1_SINGLE_IN_DOUBLE", "EXPM1_HALF"]
NAMES += ["ATANH", "LOG1P_SINGLE", "LOG_COSH", "LOG_COSH_SINGLE", "ENTROPY_GAP"]


@pytest.mark.parametrize("name", NAMES)
def test_what_both_have_is_the_same(name):
    text = (ROOT / "src/softplus/ops/cpu/constants.h").read_text(encoding="utf-8")
    (body,) = re.findall(rf" {name}\[\] =[^{{]*\{{([^}}]*)\}}", text)
    numbers = [float.fromhex(number.strip().rstrip("f")) for number in body.split(",")]
    assert list(getattr(constants, name)) == numbers
