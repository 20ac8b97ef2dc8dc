"""The figures of the pages that sum up: each stands on the page that says how it was measured."""

import re

import pytest

from documentation import DOCS, PAGES, ROOT, prose

SUMMARIES = [ROOT / "README.md", *(DOCS / name for name in ("index.md", "why.md", "faq.md"))]
SOURCES = [page for page in PAGES if page.parent == DOCS and page not in SUMMARIES]
FIGURE = re.compile(r"(?<![\w.])\d+\.\d+(?![\w.])")


def figures(pages):
    """Return the decimal numbers in the sentences and tables of some pages."""
    return {figure for page in pages for figure in FIGURE.findall(prose(page))}


@pytest.mark.parametrize("page", SUMMARIES, ids=lambda page: page.name)
def test_each_figure_of_a_summary_stands_where_it_was_measured(page):
    versions = {"2.8", "2.15", "3.11", "3.13"}  # of PyTorch and of Python
    assert figures([page]) - figures(SOURCES) - versions == set()
