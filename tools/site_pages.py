"""What the site changes in the pages of docs/, which are written for readers of the repository."""

import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parent.parent
OUTSIDE = re.compile(r"\]\(\.\./([^)#]+)")
PAGES = ("CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Lay the repository's own pages, and the files that docs/ links to, over docs/."""
    texts = [page.content_string for page in files.documentation_pages() if at_the_top(page)]
    for path in {path for text in texts for path in OUTSIDE.findall(text)} - set(PAGES):
        files.append(File.generated(config, path, abs_src_path=str(ROOT / path)))
    for path in PAGES:
        text = (ROOT / path).read_text("utf-8").replace("](docs/", "](")
        files.append(File.generated(config, path, content=text))
    return files


def on_page_markdown(markdown: str, page: Page, **_: object) -> str:
    """Have links lead to where those files are, and colour examples as what a prompt shows."""
    if at_the_top(page.file):
        markdown = OUTSIDE.sub(r"](\1", markdown)
    return markdown.replace("```python\n>>> ", "```pycon\n>>> ")


def at_the_top(file: File) -> bool:
    """Whether a page is in docs/ itself, so that `../` leads out of it."""
    return "/" not in file.src_uri
