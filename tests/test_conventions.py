"""What is expected around a package: citation, versions, hooks, workflows, completion."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.specifiers import SpecifierSet

import softplus
import softplus_command

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
COMMANDS = [
    pytest.param(command, id=f"{file.name}: {command}")
    for file in WORKFLOWS
    for command in re.findall(r"^ +(?:- )?run: (.*)$", file.read_text("utf-8"), re.MULTILINE)
]


def text(name):
    """Return a file of the checkout."""
    return (ROOT / name).read_text(encoding="utf-8")


def recipe(target):
    """Return the commands of a target of the Makefile."""
    found = re.search(rf"^{re.escape(target)}:.*\n((?:\t.*\n)+)", text("Makefile"), re.MULTILINE)
    assert found, f"no target {target}"
    lines = found[1].replace("$(BIN)", ".venv/bin").splitlines()
    return [line.removeprefix("\t") for line in lines]


# Versions


def test_the_citation_is_of_this_version():
    """Whether it is valid at all, `make lint` asks cffconvert."""
    citation = text("CITATION.cff")
    assert f"\nversion: {softplus.__version__}\n" in citation
    assert f"\nlicense: {PROJECT['project']['license']}\n" in citation


def test_the_page_on_versions_says_what_is_required():
    page = " ".join(text("docs/versions.md").split())
    (torch,) = (
        requirement.removeprefix("torch>=")
        for requirement in PROJECT["project"]["dependencies"]
        if requirement.startswith("torch")
    )
    python = PROJECT["project"]["requires-python"].removeprefix(">=")
    assert f"Python {python} or newer and PyTorch {torch} or newer" in page
    named = [line.rpartition(" ")[2] for line in PROJECT["project"]["classifiers"]]
    pythons = [name for name in named if re.fullmatch(r"3\.\d+", name)]
    (oldest, newest) = re.search(r"VERSIONS := (\S+) (\S+)", text("Makefile")).groups()
    ends = [end.split("=") for end in (oldest, newest)]
    assert [end[0] for end in ends] == [pythons[0], pythons[-1]]
    torches = [end[1].rpartition(".")[0] for end in ends]
    assert torches[0] == torch
    assert f"{pythons[0]} to {pythons[-1]} and {torches[0]} to {torches[1]} are tested" in page


@pytest.mark.parametrize(
    ("tag", "repository", "words"),
    [
        ("v9.9.9", "https://forge.example/a/b", ["the tag is v9.9.9", "Source in [project.urls]"]),
        (f"v{softplus.__version__}", "None", ["CHANGELOG.md does not open", "date-released"]),
    ],
)
def test_a_release_that_does_not_agree_is_refused(tag, repository, words):
    command = [sys.executable, ROOT / "tools" / "release_check.py", tag, repository]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert all(word in done.stdout for word in words)


def test_a_release_that_agrees_is_let_through(tmp_path):
    for name in ("tools", "src/softplus"):
        (tmp_path / name).mkdir(parents=True)
    shutil.copy(ROOT / "tools" / "release_check.py", tmp_path / "tools")
    shutil.copy(ROOT / "src" / "softplus" / "__init__.py", tmp_path / "src" / "softplus")
    version, address = softplus.__version__, "https://forge.example/a/b"
    project = re.sub(r"(?m)^Source = .*\n", "", text("pyproject.toml"))
    project = project.replace("[project.urls]\n", f'[project.urls]\nSource = "{address}"\n')
    citation = re.sub(r"(?m)^date-released.*\n", "", text("CITATION.cff"))
    (tmp_path / "pyproject.toml").write_text(project)
    (tmp_path / "CITATION.cff").write_text(f"{citation}date-released: 2027-01-31\n")
    (tmp_path / "CHANGELOG.md").write_text(f"# Changelog\n\n## [{version}] - 2027-01-31\n")
    command = [sys.executable, tmp_path / "tools" / "release_check.py", f"v{version}", address]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "release_check: all agree\n")


# Hooks and workflows


def test_the_hooks_run_what_lint_runs():
    hooks = re.findall(r"^ +entry: (.*)$", text(".pre-commit-config.yaml"), re.MULTILINE)
    lint = recipe("lint")
    for hook in hooks:
        if not hook.startswith("make "):
            program, *options = hook.removesuffix(" --force-exclude").split()
            assert any(line.split()[: 1 + len(options)] == [program, *options] for line in lint)
    assert {line.split()[0] for line in lint} == {
        hook.split()[0] for hook in hooks if not hook.startswith("make ")
    }
    assert "lint-conventions" in re.search(r"^lint:(.*)$", text("Makefile"), re.MULTILINE)[1]


@pytest.mark.parametrize("tool", ["ruff", "mypy", "clang-format"])
def test_a_tool_that_later_versions_would_change_is_pinned(tool):
    """To what a tool of the next year would say anew."""
    wanted = PROJECT["project"]["optional-dependencies"]["test"]
    (pin,) = (each.removeprefix(tool) for each in wanted if re.match(rf"{tool}\W", each))
    assert not SpecifierSet(pin).contains("99.0")


@pytest.mark.parametrize("command", COMMANDS)
def test_a_workflow_runs_a_target_of_the_makefile(command):
    """But for what is run where there is no make."""
    elsewhere = ["python -m pip install .", "python -m softplus", "python tests/smoke.py"]
    if command not in elsewhere:
        assert re.fullmatch(r"make [\w-]+", command)
        assert recipe(command.removeprefix("make "))


def test_a_workflow_pins_what_it_uses_and_may_do_nothing_by_default():
    assert {"ci.yml", "release.yml"} <= {file.name for file in WORKFLOWS}
    for file in WORKFLOWS:
        source = file.read_text("utf-8")
        used = re.findall(r"uses: (.*)", source)
        assert used
        pinned = re.compile(r"[\w./-]+@[0-9a-f]{40} # v[\d.]+")
        assert [use for use in used if not pinned.fullmatch(use)] == []
        assert "\npermissions: {}" in source


def test_the_workflows_go_through_the_pythons_of_the_classifiers():
    named = [line.rpartition(" ")[2] for line in PROJECT["project"]["classifiers"]]
    pythons = ", ".join(f'"{name}"' for name in named if re.fullmatch(r"3\.\d+", name))
    assert f"python: [{pythons}]" in text(".github/workflows/ci.yml")


# Completion


BASH = shutil.which("bash")
# What the installed script is.
SCRIPT = "import sys, softplus_command; sys.argv[0] = 'softplus'; softplus_command.main()"
# It ends by SystemExit, after which this says what it loaded.
THEN_LOADED = "import atexit, sys; atexit.register(lambda: print(*sys.modules, file=sys.stderr))"


@pytest.mark.parametrize(
    ("words", "wanted"),
    [(["co"], "compare"), (["compare", "--act"], "--activations"), (["bench", "--js"], "--json")],
)
def test_a_word_is_completed_without_loading_torch(words, wanted):
    asked = {"COMP_WORDS": " ".join(["softplus", *words]), "COMP_CWORD": str(len(words))}
    done = subprocess.run(
        [sys.executable, "-c", f"{THEN_LOADED}; {SCRIPT}"],
        env={**os.environ, "_SOFTPLUS_COMPLETE": "complete_bash", **asked},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == [wanted]
    loaded = done.stderr.split()
    assert "softplus.cli" in loaded
    assert not {"torch", "numpy", "scipy", "matplotlib"} & set(loaded)


def test_the_command_is_the_one_that_completes(monkeypatch, capsys):
    assert PROJECT["project"]["scripts"] == {"softplus": "softplus_command:main"}
    monkeypatch.setattr(sys, "argv", ["softplus", "--version"])
    with pytest.raises(SystemExit, match="0"):
        softplus_command.main()
    assert capsys.readouterr().out == f"softplus {softplus.__version__}\n"


@pytest.mark.skipif(BASH is None, reason="it is about bash")
def test_bash_completes_once_that_is_installed(tmp_path):
    program = tmp_path / "softplus"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -c "{SCRIPT}" "$@"\n')
    program.chmod(0o755)
    environment = {
        **os.environ,
        "HOME": str(tmp_path),
        "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}",
    }
    press_tab = """
    softplus --install-completion > /dev/null
    . ~/.bashrc
    COMP_WORDS=(softplus ju); COMP_CWORD=1
    $(complete -p softplus | sed 's/.*-F \\([^ ]*\\).*/\\1/') softplus ju softplus
    echo "${COMPREPLY[@]}"
    """
    done = subprocess.run(
        [BASH, "-c", press_tab], env=environment, capture_output=True, text=True, check=False
    )
    assert done.stdout.split() == ["judge"], done.stderr
