"""The links of the documentation: each leads somewhere, in the repository and on the site."""

import re
import unicodedata

import pytest

from documentation import PAGES, ROOT, prose

each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


def dead_links(page):
    """Return the relative links of a page to files or headings that are not there."""
    dead = []
    for link in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if "://" in link:
            continue
        file, _, anchor = link.partition("#")
        target = page.parent / file if file else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            dead.append(link)
    return dead


def anchors(page):
    """Return the headings that have the same name on GitHub and on the site."""
    headings = re.findall(r"^#+ (.*)$", prose(page), re.MULTILINE)
    return {github(heading) for heading in headings} & {site(heading) for heading in headings}


def github(heading):
    """Return what GitHub calls a heading."""
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")


def site(heading):
    """Return what the site calls a heading: plain ASCII, and never two hyphens together."""
    plain = unicodedata.normalize("NFKD", heading).encode("ascii", "ignore").decode()
    return re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", plain).strip().lower())


@each_page
def test_every_link_of_a_page_leads_somewhere(page):
    assert dead_links(page) == []


def test_a_dead_link_is_found(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("# A `title` of it\n[a](#a-title-of-it) [b](#b) [c](c.md) [d](https://d.org)")
    assert dead_links(page) == ["#b", "c.md"]


def test_a_heading_that_the_site_names_otherwise_is_found(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("## µs - and more\n[a](#µs---and-more) [b](#s-and-more)")
    assert dead_links(page) == ["#µs---and-more", "#s-and-more"]
