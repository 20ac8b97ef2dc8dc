"""The commands on the pages: those of this package parse, and what others name is there."""

import re
import shlex
import tomllib
from itertools import dropwhile

import pytest
import typer
from packaging.requirements import InvalidRequirement, Requirement

from documentation import PAGES, ROOT, SHELL, prose
from softplus import cli

EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"][
    "optional-dependencies"
]
MAKEFILE = (ROOT / "Makefile").read_text("utf-8")
LINES = [
    pytest.param(line, id=f"{block}: {line}")
    for block in SHELL
    for line in block.text.replace("\\\n", " ").splitlines()
    if line.split("#")[0].strip()
]
SPANS = sorted(
    {
        " ".join(span.split())
        for page in PAGES
        for span in re.findall(r"(?<!`)`([^`]+)`(?!`)", prose(page))
        if re.match(r"(softplus|make|pip|pytest) |python \w+/", span)
    }
)


def check(line, *, whole=True):
    """Fail if a command line cannot be given as it stands; one that is not whole may lack words."""
    words = shlex.split(line, comments=True)
    words = list(dropwhile(lambda word: re.fullmatch(r"[A-Z_]+=\S*", word), words))
    program = words[0].rpartition("/")[2]
    assert program in CHECKS, f"no test knows the program {program}"
    CHECKS[program](words[1:], whole)


def check_softplus(words, whole):
    group = typer.main.get_command(cli.app)
    context = typer.Context(group, info_name="softplus")
    if words[0].startswith("-"):
        assert words[0] in {name for option in group.get_params(context) for name in option.opts}
        return
    command = group.get_command(context, words[0])
    assert command is not None, f"softplus has no command {words[0]}"
    try:
        command.make_context(words[0], words[1:], parent=context)
    except Exception as error:
        if whole or type(error).__name__ != "MissingParameter":
            raise


def check_make(words, _):
    for target in (word for word in words if "=" not in word):
        assert re.search(rf"^{re.escape(target)}:", MAKEFILE, re.MULTILINE), f"no target {target}"


def check_python(words, _):
    if words[:2] == ["-W", "ignore"]:
        words = words[2:]
    if words == ["-m", "softplus"]:
        return
    script = ROOT / words[0]
    assert script.exists(), f"no script {words[0]}"
    for option in (word for word in words if word.startswith("--")):
        assert f'"{option}"' in script.read_text("utf-8"), f"{words[0]} has no option {option}"


def check_pip(words, _):
    assert words[0] == "install"
    for word in words[1:]:
        if word.startswith("--"):
            assert word in {"--no-build-isolation", "--no-deps", "--editable"}
        elif word.startswith("."):
            assert set(re.findall(r"\w+", word)) <= set(EXTRAS)
        elif not word.startswith("dist/"):
            wanted = Requirement(word)
            assert wanted.name != "softplus" or wanted.extras <= set(EXTRAS)


def check_pytest(words, _):
    for word in words:
        assert word.startswith("-") or word == "interpreted" or (ROOT / word).exists()


def check_bash(words, _):
    assert (ROOT / words[0]).exists()


CHECKS = {
    "bash": check_bash,
    "make": check_make,
    "pip": check_pip,
    "pytest": check_pytest,
    "python": check_python,
    "softplus": check_softplus,
}


@pytest.mark.parametrize("line", LINES)
def test_a_command_of_a_block_can_be_given(line):
    check(line)


@pytest.mark.parametrize("span", SPANS)
def test_a_command_in_a_sentence_can_be_given(span):
    check(span, whole=False)


@pytest.mark.parametrize(
    ("line", "error"),
    [
        ("softplus compre digits", AssertionError),
        ("softplus compare digits --sedes 3", Exception),
        ("softplus judge", Exception),
        ("softplus compare digits --seeds many", Exception),
        ("make everything", AssertionError),
        ("python benchmarks/none.py", AssertionError),
        ("python benchmarks/roads.py --slow", AssertionError),
        ("pip install 'softplus[all]'", AssertionError),
        ("pip install 'softplus[lab'", InvalidRequirement),
        ("conda install softplus", AssertionError),
    ],
)
def test_a_command_that_cannot_be_given_is_found(line, error):
    with pytest.raises(error):
        check(line)
