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

Each is one file that runs in under two minutes on two cores, with data that comes with a package:

```sh
python examples/quickstart.py            # prints its result, and draws quickstart.png
python examples/quickstart.py --quick    # a smoke test in seconds, too short to conclude anything
```

They need the extras `lab` and `examples`. What stands below is what they printed and drew; on another
machine figures differ a little, and times more.
"""


def docstring(name: str) -> str:
    """Return what an example says of itself, with links for the pages that it names."""
    source = (ROOT / "examples" / f"{name}.py").read_text(encoding="utf-8")
    text = ast.get_docstring(ast.parse(source)) or ""
    return re.sub(r"`?docs/([\w-]+\.md)`?", r"[\1](\1)", text)


def run(name: str) -> str:
    """Run an example, which draws its picture, and return what it printed."""
    picture = (PICTURES / f"{name}.png").relative_to(ROOT)
    command = [sys.executable, f"examples/{name}.py", "--picture", str(picture)]
    done = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)  # noqa: S603 -- ours
    return done.stdout.removesuffix(f"Picture: {picture}\n").strip()


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
    return HEAD + "".join(section(name, printed.get(name, "")) for name in EXAMPLES)


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
