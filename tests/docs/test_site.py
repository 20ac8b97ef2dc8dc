"""The site that `make docs` builds, in headless Chromium: from the disk, wide, narrow and dark."""

import subprocess
import sys

import pytest

import chromium
from documentation import DOCS, ROOT

pytest.importorskip("mkdocs", reason=chromium.REASON)
pytestmark = chromium.marks
PAGES = sorted(str(page.relative_to(DOCS).with_suffix("")) for page in DOCS.rglob("*.md"))


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Return the folder of the site."""
    folder = tmp_path_factory.mktemp("site")
    build = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    subprocess.run(build, check=True, cwd=ROOT)
    return folder


@pytest.fixture(scope="module")
def browser():
    """Return a headless Chromium."""
    with chromium.started() as started:
        yield started


@pytest.fixture
def opened(browser, site):
    """Return the function that opens a page; what it asks for and complains of fails the test."""
    wrong, contexts = [], []

    def open_page(name, width=1280, scheme="light"):
        size = {"width": width, "height": 900}
        contexts.append(browser.new_context(viewport=size, color_scheme=scheme))
        page = contexts[-1].new_page()
        page.on("console", lambda said: wrong.append(said.text) if said.type == "error" else None)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("request", lambda asked: asked.url.startswith("http") and wrong.append(asked.url))
        page.goto((site / f"{name}.html").as_uri())
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert wrong == []


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_no_page_is_wider_than_the_screen_or_asks_the_network(opened, site, width, scheme):
    page = opened("index", width, scheme)
    for name in PAGES:
        page.goto((site / f"{name}.html").as_uri())
        over = page.evaluate("document.documentElement.scrollWidth - innerWidth")
        assert over <= 0, name


def test_search_finds_a_name(opened):
    page = opened("index")
    page.get_by_role("textbox", name="Search").fill("looks_linear_")
    page.locator(".md-search-result__item a").first.wait_for()
    found = page.locator(".md-search-result__item a").all_inner_texts()
    assert any("looks_linear_" in text for text in found)


def test_the_reader_can_change_the_colours(opened):
    page = opened("index")
    assert page.locator("body").get_attribute("data-md-color-scheme") == "default"
    page.locator("label[title=Dark]").click()
    assert page.locator("body").get_attribute("data-md-color-scheme") == "slate"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", ["index", "reference/modules"])
def test_nothing_of_ours_keeps_a_reader_out(browser, site, name, scheme):
    """By axe; what is left are names that the theme gives its landmarks and its search."""
    page = browser.new_page(color_scheme=scheme)
    page.goto((site / f"{name}.html").as_uri())
    found = chromium.axe.Axe().run(page).response["violations"]
    page.close()
    assert {rule["id"] for rule in found} <= {"aria-dialog-name", "landmark-unique"}
