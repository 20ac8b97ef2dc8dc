"""Runs the examples and writes docs/examples.md: what each says of itself, printed and drew.

    python tools/gallery.py                 # all of them: about ten minutes on two cores
    python tools/gallery.py quickstart      # that one; the others keep what they printed last

Each line of a section comes from the example: the text is its docstring, the output and the picture
are those of the run.
"""

import argparse
import ast
import re
import subprocess
import sys
import textwrap
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "examples.md"
PICTURES = ROOT / "docs" / "images" / "examples"
# In the order of the page: the first thing to run, then by the kind of problem.
EXAMPLES = (
    "quickstart",
    "compare_my_script",
    "signed_distance",
    "force_field",
    "uncertainty",
    "positive_target",
    "deep_plain_network",
    "train_smooth_deploy_sparse",
    "smooth_saliency",
)
HEAD = """# Examples

<!-- Made by `make examples`: change the examples or tools/gallery.py, not this page. -->

Each is one file that runs in under two minutes on two cores and downloads nothing:

```sh
python examples/quickstart.py            # prints its result, and draws quickstart.png
python examples/quickstart.py --quick    # a smoke test in seconds, too short to conclude anything
```

They need the extras `lab` and `examples`. What stands below is what they printed and drew; on another
machine figures differ a little, and times more.

"""


def docstring(name: str) -> str:
    """Return what an example says of itself, with a link for each page that it names."""
    source = (ROOT / "examples" / f"{name}.py").read_text(encoding="utf-8")
    text = ast.get_docstring(ast.parse(source)) or ""
    return re.sub(r"docs/([\w-]+\.md)", lambda found: f"[{title(found[1])}]({found[1]})", text)


def title(page: str) -> str:
    """Return the title of a page of docs/."""
    first, _, _ = (ROOT / "docs" / page).read_text(encoding="utf-8").partition("\n")
    return first.removeprefix("# ")


def run(name: str) -> str:
    """Run an example, which draws its picture, and return what it printed."""
    picture = (PICTURES / f"{name}.png").relative_to(ROOT)
    command = [sys.executable, f"examples/{name}.py", "--picture", str(picture)]
    done = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)  # noqa: S603 -- ours
    return wrapped(done.stdout.removesuffix(f"Picture: {picture}\n").strip())


def wrapped(text: str) -> str:
    """Break long lines as a terminal of 100 columns does, but between words."""
    return "\n".join(
        textwrap.fill(line, 100, subsequent_indent="    ") if len(line) > 100 else line
        for line in text.splitlines()
    )


def section(name: str, printed: str) -> str:
    """Return an example's part of the page."""
    summary, _, body = docstring(name).partition("\n\n")
    return f"""
## {name}.py

**{summary}**

{body}

```sh
python examples/{name}.py
```

```text
{printed}
```

![What {name}.py draws](images/examples/{name}.png)

[The whole file](../examples/{name}.py)
"""


def page(printed: dict[str, str]) -> str:
    """Return the page, given what the examples printed."""
    summaries = [
        f"- [`{name}.py`](#{name}py): {docstring(name).partition(chr(10) * 2)[0]}\n"
        for name in EXAMPLES
    ]
    sections = [section(name, printed.get(name, "")) for name in EXAMPLES]
    return "".join([HEAD, *summaries, *sections])


def kept(text: str) -> dict[str, str]:
    """Return what the examples printed when a page was made."""
    return dict(
        re.findall(r"^## (\w+)\.py$.*?^```text\n(.*?)\n```$", text, re.DOTALL | re.MULTILINE)
    )


def main() -> None:
    """Run the examples that are named, or all, and write the page after each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="an example; none: all of them")
    names = parser.parse_args().names or EXAMPLES
    PICTURES.mkdir(parents=True, exist_ok=True)
    printed = kept(PAGE.read_text(encoding="utf-8")) if PAGE.exists() else {}
    for name in names:
        print(f"{name} …", flush=True)
        printed[name] = run(name)
        PAGE.write_text(page(printed), encoding="utf-8")


if __name__ == "__main__":
    main()
