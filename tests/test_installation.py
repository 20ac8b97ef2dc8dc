"""Installing the package: what each way makes live, and whether the printed commands work."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tarfile
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest
import torch

import softplus
from cpp_build import ROOT, setup
from softplus.ops.cpu import installation

SMOKE = Path(__file__).with_name("smoke.py")


# Where the package came from, and the command


class Installed:
    """A distribution as `importlib.metadata` shows it."""

    version = "0.1.0"
    package = Path("/elsewhere/softplus")

    def __init__(self, record: dict | None, installer: str) -> None:
        self.texts = {"direct_url.json": record and json.dumps(record), "INSTALLER": installer}

    def read_text(self, name: str) -> str | None:
        """Return a file of the metadata."""
        return self.texts[name]

    def locate_file(self, _: str) -> Path:
        """Return where the package is."""
        return self.package


WHEEL = {"archive_info": {}, "url": "file:///a%20b/softplus-0.1.0-py3-none-any.whl"}
GIT = {"vcs_info": {"vcs": "git", "commit_id": "4d9a181"}, "url": "file:///repo"}
ORIGINS = [
    ({"dir_info": {}, "url": "file:///a%20b"}, ["/a b"], ["/a b"]),
    (GIT, ["git+file:///repo@4d9a181"], ["git+file:///repo@4d9a181"]),
    (WHEEL, ["/a b/softplus-0.1.0-py3-none-any.whl"], ["CHECKOUT"]),
    (
        {"archive_info": {}, "url": "https://a/s.tar.gz"},
        ["https://a/s.tar.gz"],
        ["https://a/s.tar.gz"],
    ),
    (None, ["softplus==0.1.0"], ["softplus==0.1.0"]),
]


@pytest.fixture(params=["pip", "uv"])
def start(request):
    """Return an installer and the start of its commands that install again."""
    pip = f"{sys.executable} -m pip install --force-reinstall --no-cache-dir --no-deps"
    uv = f"uv pip install --python {sys.executable} --reinstall --no-cache --no-deps"
    return request.param, {"pip": pip, "uv": uv}[request.param].split()


@pytest.mark.parametrize(("record", "origin", "sources"), ORIGINS)
def test_the_command_names_what_was_installed(monkeypatch, start, record, origin, sources):
    installer, start = start
    monkeypatch.setattr(installation, "_CHECKOUT", Path("/nowhere"))
    installed = Installed(record, installer)
    monkeypatch.setattr(installation, "distributions", lambda **_: [installed])
    assert installation.to_build_kernels().endswith(" CHECKOUT")  # the record of another copy
    monkeypatch.setattr(installed, "package", installation._PACKAGE)
    assert shlex.split(installation.to_install_again()) == [*start, *origin]
    assert shlex.split(installation.to_build_kernels()) == [*start, *sources]
    first, second = installation.to_build_entry().split(" && ")
    assert shlex.split(first)[-1] == "setuptools>=77"
    assert shlex.split(second) == [*start, "--no-build-isolation", *sources]


def test_a_checkout_is_installed_again_as_a_checkout(monkeypatch):
    if installation._CHECKOUT != ROOT:
        pytest.skip("another copy of the package is tested")
    monkeypatch.setattr(installation, "distributions", lambda **_: [])
    assert installation.to_build_kernels().endswith(f"--no-deps --editable {ROOT}")


def test_the_version_in_the_code_is_the_packages():
    """And it is static, with all requirements: else uv cannot build for the PyTorch that runs."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert softplus.__version__ == project["version"]
    assert project["dynamic"] == ["readme"]


@pytest.mark.parametrize("urls", [{}, {"Source": "https://forge.example/us/softplus"}])
def test_a_package_index_shows_no_relative_link(urls, monkeypatch):
    monkeypatch.chdir(ROOT)
    text = setup()["readme"]({"version": "1.2.3", "urls": urls})
    links = re.findall(r"\]\(([^)]*)", text)
    assert [link for link in links if not link.startswith("https://")] == []
    for folder, path in (("blob", "docs/walkthrough.md"), ("raw", "docs/images/verdict.svg")):
        absolute = f"https://forge.example/us/softplus/{folder}/v1.2.3/{path}"
        assert (absolute in links) == bool(urls)
    assert "walk-through" in text


# Builds


NO_COMPILER = {"CXX": "/bin/false", "CC": "/bin/false"}


@pytest.fixture
def source(tmp_path):
    """Return a copy of what the package is built from, with the objects compiled so far."""
    copy = tmp_path / "source"
    ignore = shutil.ignore_patterns("*.so", "__pycache__", "*.egg-info")
    shutil.copytree(ROOT / "src", copy / "src", ignore=ignore)
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE", "MANIFEST.in"):
        shutil.copy2(ROOT / name, copy)
    if (ROOT / "build" / "objects").exists():
        shutil.copytree(ROOT / "build" / "objects", copy / "build" / "objects")
    return copy


@pytest.fixture
def python(tmp_path):
    """Return the Python of a new environment that has what this one has, but for the package."""
    venv.create(tmp_path / "environment", with_pip=False)
    (packages,) = (tmp_path / "environment" / "lib").glob("python*/site-packages")
    paths = {str(Path(module.__file__).parents[1]) for module in (torch, pytest)}
    (packages / "base.pth").write_text("\n".join(paths))
    return tmp_path / "environment" / "bin" / "python"


def run(*command: object, **environment: str) -> str:
    """Run a command that succeeds, and return what it prints."""
    done = subprocess.run(
        [str(part) for part in command],
        check=False,
        capture_output=True,
        text=True,
        timeout=900,
        cwd="/",
        env={**os.environ, **environment},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def install(python: Path, *arguments: object, **environment: str) -> str:
    """Install with pip into an environment."""
    options = ["install", "-v", "--no-deps", "--no-build-isolation"]
    return run(python, "-m", "pip", *options, *arguments, **environment)


def live(python: Path) -> str:
    """Return what is live in an environment, after the smoke test of it."""
    show = "from softplus.ops import cpu; print(cpu.absent, cpu.entry_absent, sep='|')"
    absent, entry_absent = run(python, "-I", "-c", show).strip().split("|")
    found = "none" if absent != "None" else "library" if entry_absent != "None" else "entry"
    run(python, "-I", SMOKE, found)
    return found


@pytest.mark.slow
def test_what_an_install_without_a_compiler_advises_works(python, source):
    said = install(python, source, **NO_COMPILER)
    assert "softplus: no softplus.ops.cpu._kernels: " in said
    assert live(python) == "none"
    printed = run(python, "-I", "-c", "import softplus, torch; softplus.softplus(torch.ones(1))")
    command = re.search(r"with a C\+\+ compiler: (.*)", printed)[1]
    assert str(source) in command
    run("sh", "-c", command)
    assert live(python) == "library"


@pytest.mark.slow
def test_what_is_advised_for_the_entry_works(python, source):
    install(python, source)
    assert live(python) == "entry"
    (entry,) = python.parents[1].glob("lib/python*/site-packages/softplus/ops/cpu/_torch_*")
    entry.unlink()
    assert live(python) == "library"
    printed = run(python, "-I", "-m", "softplus")
    run("sh", "-c", re.search(r"to call them from C\+\+, with a C\+\+ compiler: (.*)", printed)[1])
    assert live(python) == "entry"


@pytest.mark.slow
def test_an_install_from_git_without_a_compiler_names_the_commit(python, source):
    shutil.rmtree(source / "build", ignore_errors=True)
    git = ["git", "-C", source, "-c", "user.name=a", "-c", "user.email=a@b"]
    run(*git, "init", "--quiet")
    run(*git, "add", ".")
    run(*git, "commit", "--quiet", "-m", "All")
    commit = run(*git, "rev-parse", "HEAD").strip()
    install(python, f"git+file://{source}", **NO_COMPILER)
    assert f"git+file://{source}@{commit}" in run(python, "-I", "-m", "softplus")


@pytest.mark.slow
def test_what_is_in_each_wheel_and_in_the_source_distribution(source, tmp_path):
    def wheel(*arguments: object, **environment: str) -> tuple[str, set[str]]:
        folder = tmp_path / "wheels"
        shutil.rmtree(folder, ignore_errors=True)
        options = ["--no-deps", "--no-build-isolation", "--wheel-dir", folder]
        run(sys.executable, "-m", "pip", "wheel", *options, *arguments, **environment)
        (made,) = folder.iterdir()
        files = zipfile.ZipFile(made).namelist()
        return made.name.partition("-")[2], {name for name in files if ".dist-info" not in name}

    run(sys.executable, "-c", f"import os; os.chdir({str(source)!r});" + SDIST)
    (archive,) = (source / "dist").iterdir()
    with tarfile.open(archive) as opened:
        held = opened.getnames()
    assert any(name.endswith("kernels.def") for name in held)
    assert not [name for name in held if name.endswith((".so", ".o")) or "/tests" in name]

    name, plain = wheel(source, **NO_COMPILER)
    assert name == f"{softplus.__version__}-py3-none-any.whl"
    assert wheel(archive, **NO_COMPILER) == (name, plain)
    assert not [file for file in plain if file.endswith((".so", ".cpp", ".h", ".def"))]
    name, whole = wheel(source)
    assert re.fullmatch(r".*-cp3\d+-cp3\d+-\w+\.whl", name)
    entry = setup()["entry_module"](torch.__version__)
    compiled = sorted(file.rpartition("/")[2].partition(".")[0] for file in whole - plain)
    assert compiled == ["_kernels", entry]


SDIST = "from setuptools.build_meta import build_sdist; build_sdist('dist')"
MADE = shutil.ignore_patterns(
    *(line.strip("/") for line in (ROOT / ".gitignore").read_text("utf-8").splitlines()), ".git"
)


@pytest.mark.slow
def test_the_source_distribution_has_everything_and_tests_itself(python, tmp_path):
    checkout, away = tmp_path / "checkout", tmp_path / "away"
    shutil.copytree(ROOT, checkout, ignore=MADE)
    files = {str(file.relative_to(checkout)) for file in checkout.rglob("*") if file.is_file()}
    run(sys.executable, "-c", f"import os; os.chdir({str(checkout)!r});" + SDIST)
    (archive,) = (checkout / "dist").iterdir()
    with tarfile.open(archive) as opened:
        opened.extractall(away, filter="data")
    (away,) = away.iterdir()
    held = {str(file.relative_to(away)) for file in away.rglob("*") if file.is_file()}
    made = {file for file in held - files if not file.startswith("src/softplus.egg-info/")}
    assert (files - held, made) == (set(), {"PKG-INFO", "setup.cfg"})
    install(python, away)
    piece = ["tests/test_functional.py", "tests/test_conventions.py"]
    run("sh", "-c", shlex.join(["cd", str(away)]) + f" && {python} -m pytest -q {' '.join(piece)}")
