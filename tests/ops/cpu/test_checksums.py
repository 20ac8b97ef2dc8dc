"""The same bits from every instruction set: checksums of all kernels' results over fixed inputs."""

import importlib
import platform
from pathlib import Path

import pytest

from cpp_build import ROOT
from instruction_sets import SETS, running

WRITTEN = Path(__file__).parent / "checksums.txt"
WITHOUT_FMA = {"baseline"} if platform.machine() == "x86_64" else set()


def tool(name: str):
    """Return a module of the tools."""
    with pytest.MonkeyPatch.context() as patched:
        patched.syspath_prepend(ROOT / "tools")
        return importlib.import_module(name)


checksums = tool("checksums")
each_dtype = pytest.mark.parametrize("dtype", checksums.DTYPES, ids=lambda dtype: str(dtype)[6:])


def expected() -> dict[tuple[str, str], dict[float, str]]:
    """Return the written checksums by pass and dtype, then by beta."""
    lines = [line.split(" | ") for line in WRITTEN.read_text().splitlines()[1:]]
    return {
        (name, dtype): dict(zip(checksums.betas(name), sums.split(), strict=True))
        for name, dtype, sums in lines
    }


def check(isa: str, run, dtype) -> None:
    """Compare every pass of a dtype, and name those that differ."""
    written, differ = expected(), []
    for name in checksums.PASSES:
        for beta, one in written[name, str(dtype)[6:]].items():
            got = checksums.checksum(run, name, dtype, beta)
            if got != one:
                differ.append(f"{name}, {str(dtype)[6:]}, beta = {beta:g}, on {isa}: {got}")
    where = "than tests/ops/cpu/checksums.txt has; tools/differences.py prints the inputs:"
    assert not differ, "\n".join([f"other results {where}", *differ])


def test_every_kernel_has_a_pass():
    assert {one.kernel for one in checksums.PASSES.values()} == set(checksums.cpu._kernels.KERNELS)
    assert expected().keys() == {(name, str(dtype)[6:]) for name, dtype in checksums.cases()}


@each_dtype
@pytest.mark.parametrize("isa", SETS)
def test_an_instruction_set_gives_the_written_bits(isa, dtype):
    if isa in WITHOUT_FMA:
        pytest.skip("without FMA it rounds twice: held to the table in docs/accuracy.md instead")
    with running(isa):
        check(isa, checksums.run_here, dtype)


@pytest.fixture(scope="module")
def emulator():
    """Return the tool that runs the kernels of aarch64."""
    emulator = tool("emulator")
    if emulator.ABSENT:
        pytest.skip(emulator.ABSENT)
    return emulator


@pytest.fixture(scope="module")
def program(emulator, tmp_path_factory):
    """Return the kernels of aarch64 in a program for the emulator."""
    return emulator.compiled(tmp_path_factory.mktemp("aarch64"))


@pytest.mark.slow
@each_dtype
def test_aarch64_gives_the_written_bits(emulator, program, dtype):
    with emulator.running(program) as run:
        check("aarch64 in an emulator", run, dtype)


def test_a_result_that_differs_is_named():
    def wrong(call, outputs):
        checksums.run_here(call, outputs)
        if call.kernel == "inverse" and call.beta == 5:
            outputs[-1][7] += 1

    with pytest.raises(AssertionError, match="other results") as error:
        check("this set", wrong, checksums.DTYPES[2])
    named = str(error.value).partition("prints the inputs:\n")[2].splitlines()[0].strip()
    assert named.startswith("inverse, bfloat16, beta = 5, on this set: ")
