"""The kernels under AddressSanitizer and UndefinedBehaviorSanitizer, by the driver sanitize.cpp.

And those of aarch64 by the same driver in an emulator, where there is one.
"""

import re
import runpy
import shutil
import subprocess
from pathlib import Path
from unittest.mock import patch

import pytest

from softplus.ops import cpu

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
SOURCES = ROOT / "src" / "softplus" / "ops" / "cpu"
SETS = [] if cpu.absent else cpu._kernels.available()
COMPILER = shutil.which("c++")
FOR_AARCH64, EMULATOR = shutil.which("aarch64-linux-gnu-g++"), shutil.which("qemu-aarch64")


@pytest.fixture(scope="module")
def flags():
    """Return the flags of each instruction set, from the build itself."""
    with patch("setuptools.setup"):
        build = runpy.run_path(str(ROOT / "setup.py"))
    return {isa: [*build["KERNEL_FLAGS"], *own] for isa, own in build["INSTRUCTION_SETS"].items()}


@pytest.mark.slow
@pytest.mark.skipif(COMPILER is None, reason="no C++ compiler")
@pytest.mark.parametrize("isa", SETS)
def test_the_kernels_under_sanitizers(isa, flags, tmp_path):
    # -O0: the sanitizers' checks in the inlined vectors take an optimiser several minutes.
    common = ["-std=c++20", "-O0", "-g", "-w", f"-I{SOURCES}", f"-DISA={isa}"]
    checks = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    for source, own in ((SOURCES / "kernels.cpp", flags[isa]), (HERE / "sanitize.cpp", [])):
        result = tmp_path / f"{source.stem}.o"
        subprocess.run(
            [COMPILER, *own, *common, *checks, "-c", source, "-o", result], check=True, timeout=280
        )
    program = tmp_path / "sanitize"
    objects = [tmp_path / "kernels.o", tmp_path / "sanitize.o"]
    subprocess.run([COMPILER, *checks, *objects, "-o", program], check=True, timeout=60)
    done = subprocess.run([program], check=False, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert re.fullmatch(rf"{isa}: [\d,]+ runs, 0 failures\n", done.stdout)
    assert done.stderr == ""


@pytest.mark.slow
@pytest.mark.skipif(not (FOR_AARCH64 and EMULATOR), reason="no compiler or emulator of aarch64")
def test_the_kernels_of_aarch64(flags, tmp_path):
    program = tmp_path / "sanitize"
    sources = [SOURCES / "kernels.cpp", HERE / "sanitize.cpp"]
    own = [*flags["baseline"], "-O1", f"-I{SOURCES}", "-DISA=baseline", "-static"]
    subprocess.run([FOR_AARCH64, *own, *sources, "-o", program], check=True, timeout=280)
    done = subprocess.run(
        [EMULATOR, program], check=False, capture_output=True, text=True, timeout=280
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert re.fullmatch(r"baseline: [\d,]+ runs, 0 failures\n", done.stdout)
