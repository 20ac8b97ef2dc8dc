"""Writes docs/walkthrough.ipynb, the walk-through as a notebook, from docs/walkthrough.md."""

import ast
import doctest
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

DOCS = Path(__file__).parent.parent / "docs"
PAGE, NOTEBOOK = DOCS / "walkthrough.md", DOCS / "walkthrough.ipynb"
EXAMPLES = re.compile(r"```python\n(>>> .*?)```\n", re.DOTALL)


def notebook(page: str) -> str:
    """Return the notebook of a page: its examples are the code, and their results the outputs."""
    cells = []
    # Prose and blocks of examples alternate.
    for number, part in enumerate(EXAMPLES.split(page)):
        if number % 2:
            cells += code_cells(part)
        elif part.strip():
            cells.append({"cell_type": "markdown", "metadata": {}, "source": lines(part)})
    for number, cell in enumerate(cells):
        cell["id"] = f"cell-{number}"
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    whole = {
        "cells": cells,
        "metadata": {"kernelspec": kernel, "language_info": {"name": "python"}},
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    return json.dumps(whole, indent=1, ensure_ascii=False) + "\n"


def code_cells(block: str) -> Iterator[dict[str, Any]]:
    """Yield a cell for each result that a block of examples shows, for that is what a cell shows."""
    source = ""
    examples = doctest.DocTestParser().get_examples(block)
    for example in examples:
        source += re.sub(r" +# doctest:.*", "", example.source)
        if example.want or example is examples[-1]:
            # A result that varies is not written down.
            want = "" if doctest.ELLIPSIS in example.options else example.want
            yield code_cell(source, want, printed="print(" in example.source)
            source = ""


def code_cell(source: str, want: str, *, printed: bool) -> dict[str, Any]:
    """Return a cell with what it prints, or with the value of its last expression."""
    ast.parse(source)
    if printed:
        output = {"output_type": "stream", "name": "stdout", "text": lines(want, end="\n")}
    else:
        data = {"text/plain": lines(want)}
        output = {"output_type": "execute_result", "data": data, "metadata": {}}
        output["execution_count"] = None
    return {
        "cell_type": "code",
        "execution_count": None,
        "metadata": {},
        "outputs": [output] if want else [],
        "source": lines(source),
    }


def lines(text: str, end: str = "") -> list[str]:
    """Return text as notebooks hold it, without empty lines around."""
    return (text.strip("\n") + end).splitlines(keepends=True)


if __name__ == "__main__":
    NOTEBOOK.write_text(notebook(PAGE.read_text("utf-8")), "utf-8")
