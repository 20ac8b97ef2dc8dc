"""The library and the entry as files: when they are loaded, when not, and builds that fail."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import cpp_build
import softplus
from marks import with_kernels
from softplus.ops import cpu

PACKAGE = Path(softplus.__file__).parent
ROOT = Path(__file__).parents[3]
SETS = cpu.available()
with_library = pytest.mark.skipif(cpu.absent is not None, reason=f"no library: {cpu.absent}")

# What every way to load the package must pass: right values, gradients, and one line that says
# what is live.
CHECK = """
import warnings
import torch
from torch.nn import functional
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    import softplus
    from softplus.ops import cpu
    assert not [warning for warning in caught if "runs at" in str(warning.message)]
    x = torch.linspace(-8, 8, 999, dtype=torch.float64, requires_grad=True)
    y = softplus.softplus(x)
    y.sum().backward()
assert torch.allclose(y, functional.softplus(x.detach()), rtol=1e-14)
assert torch.allclose(x.grad, torch.sigmoid(x.detach()), rtol=1e-14)
assert torch.allclose(softplus.inverse_softplus(y), x, atol=1e-12)
assert torch.allclose(softplus.softplus_(x.detach().clone()), y, rtol=1e-14)
assert softplus.shifted_softplus(torch.zeros(3)).equal(torch.zeros(3))
print(softplus.__file__)
print(cpu.instruction_set())
print(cpu.absent)
print(cpu.entry_absent)
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


def compiled(folder: Path, kind: str) -> Path:
    """Return a compiled file of a package: the library's or the entry's."""
    (file,) = (folder / "softplus" / "ops" / "cpu").glob(f"{kind}*.so")
    return file


@with_kernels
def test_a_copy_runs_on_its_kernels(copy):
    assert check(copy) == [SETS[-1], "None", "None"]


def without_library(folder: Path, reason: str) -> None:
    """Check that a package runs without its library, says why and warns once."""
    live, absent, entry_absent, *warned = check(folder)
    assert live == "None"
    assert reason in absent
    assert entry_absent == "there are no kernels"
    message = f"softplus runs at PyTorch's speed, without its CPU kernels: {absent}"
    assert warned == [f"warning: UserWarning {message}"]


@with_library
@pytest.mark.parametrize("share", [0, 0.001, 0.01, 0.5, 0.9])
def test_a_library_cut_short_is_not_loaded(copy, share):
    """Mapped into memory it would end in a bus error."""
    library = compiled(copy, "_kernels")
    os.truncate(library, int(library.stat().st_size * share))
    without_library(copy, f"{library} is cut short")


@with_library
def test_a_library_for_another_platform_is_left(copy):
    library = compiled(copy, "_kernels")
    with library.open("r+b") as opened:
        opened.seek(18)
        opened.write(b"\xf7\x00")  # BPF, which is no machine
    without_library(copy, f"{library} does not load: ")


@with_library
def test_what_is_no_library_is_left(copy):
    library = compiled(copy, "_kernels")
    library.write_bytes(b"not a library" * 100)
    without_library(copy, f"{library} does not load: ")


def test_without_a_library(copy):
    for file in (copy / "softplus" / "ops" / "cpu").glob("*.so"):
        file.unlink()
    without_library(copy, "they were not built; with a C++ compiler: ")
    assert check(copy, SOFTPLUS_ISA="avx2")[0] == "None"


def without_entry(folder: Path, reason: str) -> None:
    """Check that a package runs on its library without the entry, and warns of nothing."""
    live, absent, entry_absent, *warned = check(folder)
    assert live == SETS[-1]
    assert absent == "None"
    assert entry_absent.startswith(reason)
    assert warned == []


@with_kernels
def test_the_entry_of_another_pytorch_is_not_found(copy):
    entry = compiled(copy, "_torch")
    entry.rename(entry.with_name(entry.name.replace("_torch_", "_torch_1")))
    without_entry(copy, "none was built for this PyTorch and this Python")


@with_kernels
def test_the_entry_of_another_python_is_not_found(copy):
    entry = compiled(copy, "_torch")
    entry.rename(entry.with_name(entry.name.replace("cpython-3", "cpython-2")))
    without_entry(copy, "none was built for this PyTorch and this Python")


@with_kernels
def test_an_entry_cut_short_is_not_loaded(copy):
    entry = compiled(copy, "_torch")
    os.truncate(entry, entry.stat().st_size // 2)
    without_entry(copy, f"{entry} is cut short")


@with_kernels
def test_an_entry_to_other_kernels_is_left(copy):
    """As after an update of the sources of which only half was built.

    What the file has registered by then is overridden, of which PyTorch warns.
    """
    entry = compiled(copy, "_torch")
    content = entry.read_bytes()
    assert content.count(b"softplus kernels and tasks forward:") == 1
    entry.write_bytes(content.replace(b"kernels and tasks forward:", b"kernels and tasks backward"))
    live, absent, entry_absent, *_ = check(copy)
    assert (live, absent) == (SETS[-1], "None")
    assert entry_absent.startswith(f"{entry} does not load: ")


def test_builds_of_one_release_share_an_entry():
    build = cpp_build.setup()
    for name in (cpu._entry_module, build["entry_module"]):
        assert name("2.13.0") == name("2.13.0+cpu") == name("2.13.0+cu130") == "_torch_2_13_0"
        assert name("2.14.0a0+git12") == "_torch_2_14_0a0_git12"
        assert name("2.14.0.dev20261130+cpu") == "_torch_2_14_0_dev20261130_cpu"


@pytest.mark.parametrize("isa", SETS)
def test_the_environment_forces_an_instruction_set(isa):
    assert check(PACKAGE.parent, SOFTPLUS_ISA=isa) == [isa, "None", "None"]


@with_library
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


@with_library
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
    ignore = shutil.ignore_patterns("*.so", "__pycache__", "*.egg-info")
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
    assert "softplus: no softplus.ops.cpu._kernels: " in said
    without_library(target, "they were not built")
