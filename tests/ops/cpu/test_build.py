"""The compiled kernels as a file: when it is loaded, when it is not, and builds that fail."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import softplus
from marks import with_kernels
from softplus.ops import cpu

PACKAGE = Path(softplus.__file__).parent
ROOT = Path(__file__).parents[3]
SETS = [] if cpu.absent else cpu._kernels.available()

# What every way to load the package must pass: right values, gradients, and one line that says
# what is live.
CHECK = """
import warnings
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    import softplus
    from softplus.ops import cpu
import torch
from torch.nn import functional
x = torch.linspace(-8, 8, 999, dtype=torch.float64, requires_grad=True)
y = softplus.softplus(x)
y.sum().backward()
assert torch.allclose(y, functional.softplus(x.detach()), rtol=1e-14)
assert torch.allclose(x.grad, torch.sigmoid(x.detach()), rtol=1e-14)
assert torch.allclose(softplus.inverse_softplus(y), x, atol=1e-12)
assert softplus.softplus_(x.detach().clone()).equal(y)
assert softplus.shifted_softplus(torch.zeros(3)).equal(torch.zeros(3))
print(softplus.__file__)
print(cpu.instruction_set())
print(cpu.absent)
for warning in caught:
    print("warning:", warning.category.__name__, warning.message)
"""


def check(path: Path, **environment: str) -> list[str]:
    """Run CHECK on the package in a folder and return what it prints."""
    variables = {name: value for name, value in os.environ.items() if name != "SOFTPLUS_ISA"}
    done = subprocess.run(
        [sys.executable, "-c", CHECK],
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
        env={**variables, "PYTHONPATH": str(path), **environment},
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert Path(lines[0]) == path / "softplus" / "__init__.py"
    return lines[1:]


@pytest.fixture
def copy(tmp_path):
    """Return a folder with a copy of the package."""
    ignore = shutil.ignore_patterns("__pycache__", "lab")
    shutil.copytree(PACKAGE, tmp_path / "softplus", ignore=ignore)
    return tmp_path


def compiled(folder: Path) -> Path:
    """Return the compiled file of a package."""
    (library,) = (folder / "softplus" / "ops" / "cpu").glob("_kernels.*")
    return library


def mark(folder: Path, version: bytes) -> None:
    """Change the PyTorch version that a compiled file says it was built for."""
    library = compiled(folder)
    old = re.search(rb"softplus-built-for:[^;]*;", library.read_bytes())[0]
    new = b"softplus-built-for:" + version + b";"
    library.write_bytes(library.read_bytes().replace(old, new.ljust(len(old), b"\0")))


@with_kernels
def test_a_copy_runs_on_its_kernels(copy):
    assert check(copy) == [SETS[-1], "None"]


@with_kernels
def test_kernels_of_another_pytorch_are_not_loaded(copy):
    """Whatever the file holds beside its mark: it is not opened as a library."""
    other = torch.__version__.translate(str.maketrans("0123456789", "1234567890"))
    mark(copy, other.encode())
    live, absent, *warned = check(copy)
    assert live == "None"
    assert absent.startswith(
        f"they were built for PyTorch {other}, and this is {torch.__version__}"
    )
    assert "pip install --no-build-isolation" in absent
    assert warned == [f"warning: UserWarning softplus runs without its CPU kernels: {absent}"]


@with_kernels
def test_kernels_that_do_not_load_are_left(copy):
    """As those of a PyTorch of the same version that was built otherwise."""
    library = compiled(copy)
    library.write_bytes(b"not a library, softplus-built-for:" + torch.__version__.encode() + b";")
    live, absent, *warned = check(copy)
    assert live == "None"
    assert absent.startswith("they do not load: ")
    assert "pip install --no-build-isolation" in absent
    assert warned == [f"warning: UserWarning softplus runs without its CPU kernels: {absent}"]


def test_a_file_that_says_nothing_is_not_loaded(copy):
    for library in (copy / "softplus" / "ops" / "cpu").glob("_kernels.*"):
        library.unlink()
    suffix = ".pyd" if sys.platform == "win32" else ".so"
    (copy / "softplus" / "ops" / "cpu" / f"_kernels{suffix}").write_bytes(b"not a library")
    live, absent, *warned = check(copy)
    assert live == "None"
    assert "an unknown version" in absent
    assert len(warned) == 1


def test_without_a_compiled_file(copy):
    for library in (copy / "softplus" / "ops" / "cpu").glob("_kernels.*"):
        library.unlink()
    live, absent, *warned = check(copy)
    assert live == "None"
    assert absent.startswith("they were not built; with a C++ compiler")
    assert warned == []
    assert check(copy, SOFTPLUS_ISA="avx2")[0] == "None"


@pytest.mark.parametrize("isa", SETS)
def test_the_environment_forces_an_instruction_set(isa):
    assert check(PACKAGE.parent, SOFTPLUS_ISA=isa) == [isa, "None"]


@with_kernels
@pytest.mark.parametrize(
    "wanted", ["avx1024", "AVX2", *({"avx2", "avx512"} - set(SETS))], ids=lambda name: name
)
def test_an_instruction_set_that_is_not_there_is_an_error(wanted):
    done = subprocess.run(
        [sys.executable, "-c", "import softplus"],
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "PYTHONPATH": str(PACKAGE.parent), "SOFTPLUS_ISA": wanted},
    )
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        f"ValueError: SOFTPLUS_ISA={wanted}: instruction set '{wanted}' is not one that this CPU "
        f"has; it has: {', '.join(SETS)}"
    )


@with_kernels
def test_the_instruction_sets():
    assert SETS[0] == "baseline"
    assert [name for name in ("baseline", "avx2", "avx512") if name in SETS] == SETS
    with pytest.raises(ValueError, match="instruction set 'mmx' is not one that this CPU has"):
        cpu._kernels.use("mmx")
    assert cpu.instruction_set() in SETS


@pytest.mark.slow
@pytest.mark.parametrize("compiler", ["/bin/false", "/nowhere/c++"])
def test_a_failing_compiler_leaves_the_package_without_kernels(tmp_path, compiler):
    source = tmp_path / "source"
    ignore = shutil.ignore_patterns("_kernels.*", "__pycache__", "*.egg-info")
    shutil.copytree(ROOT / "src", source / "src", ignore=ignore)
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    target = tmp_path / "target"
    install = [sys.executable, "-m", "pip", "install", "-v", "--no-build-isolation", "--no-deps"]
    done = subprocess.run(
        [*install, "--no-index", "--target", str(target), str(source)],
        check=False,
        capture_output=True,
        text=True,
        timeout=280,
        env={**os.environ, "CC": compiler, "CXX": compiler},
    )
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    # Where the compiler fails at its first task, or where it fails to compile.
    failed = ("softplus: no CPU kernels", 'building extension "softplus.ops.cpu._kernels" failed')
    assert any(message in said for message in failed)
    live, absent, *warned = check(target)
    assert live == "None"
    assert absent.startswith("they were not built")
    assert warned == []
