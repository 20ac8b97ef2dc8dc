"""Adds to the site what its pages link to beside docs/, which is where the repository's readers find it."""

import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parent.parent
OUTSIDE = re.compile(r"\]\(\.\./([^)#]+)")
PAGES = ("CHANGELOG.md", "CONTRIBUTING.md")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Lay the repository's pages, and the files that docs/ links to, over docs/."""
    texts = [page.content_string for page in files.documentation_pages() if at_the_top(page)]
    for path in {path for text in texts for path in OUTSIDE.findall(text)} - set(PAGES):
        files.append(File.generated(config, path, abs_src_path=str(ROOT / path)))
    for path in PAGES:
        text = (ROOT / path).read_text("utf-8").replace("](docs/", "](")
        files.append(File.generated(config, path, content=text))
    return files


def on_page_markdown(markdown: str, page: Page, **_: object) -> str:
    """Have the links to these files lead to where they are in the site."""
    return OUTSIDE.sub(r"](\1", markdown) if at_the_top(page.file) else markdown


def at_the_top(file: File) -> bool:
    """Whether a page is in docs/ itself, so that `../` leads out of it."""
    return "/" not in file.src_uri
