"""The kernels under AddressSanitizer and UndefinedBehaviorSanitizer, by the driver sanitize.cpp.

And those of aarch64 by the same driver in an emulator, where there is one.
"""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from cpp_build import SOURCES, kernel_flags
from instruction_sets import SETS

COMPILED = [SOURCES / "kernels.cpp", SOURCES / "task.cpp", Path(__file__).with_name("sanitize.cpp")]
COMPILER = shutil.which("c++")
FOR_AARCH64, EMULATOR = shutil.which("aarch64-linux-gnu-g++"), shutil.which("qemu-aarch64")


@pytest.mark.slow
@pytest.mark.skipif(COMPILER is None, reason="no C++ compiler")
@pytest.mark.parametrize("isa", SETS)
def test_the_kernels_under_sanitizers(isa, tmp_path):
    # -O0: the sanitizers' checks in the inlined vectors take an optimiser several minutes.
    common = [*kernel_flags(COMPILER)[isa], "-O0", "-g", "-w", f"-I{SOURCES}"]
    checks = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    objects = []
    for source in COMPILED:
        objects.append(result := tmp_path / f"{source.stem}.o")
        subprocess.run(
            [COMPILER, *common, *checks, "-c", source, "-o", result], check=True, timeout=500
        )
    program = tmp_path / "sanitize"
    subprocess.run([COMPILER, *checks, *objects, "-o", program], check=True, timeout=60)
    done = subprocess.run([program], check=False, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert re.fullmatch(rf"{isa}: [\d,]+ runs, 0 failures\n", done.stdout)
    assert done.stderr == ""


@pytest.mark.slow
@pytest.mark.skipif(not (FOR_AARCH64 and EMULATOR), reason="no compiler or emulator of aarch64")
def test_the_kernels_of_aarch64(tmp_path):
    program = tmp_path / "sanitize"
    own = [*kernel_flags(FOR_AARCH64)["baseline"], "-O1", "-w", f"-I{SOURCES}", "-static"]
    subprocess.run([FOR_AARCH64, *own, *COMPILED, "-o", program], check=True, timeout=280)
    done = subprocess.run(
        [EMULATOR, program], check=False, capture_output=True, text=True, timeout=280
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert re.fullmatch(r"baseline: [\d,]+ runs, 0 failures\n", done.stdout)
