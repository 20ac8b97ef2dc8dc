"""The page of `softplus.lab.report` in headless Chromium, as a reader uses it."""

from dataclasses import replace

import pytest

import chromium
import synthetic_studies as studies
from softplus.lab import report

pytestmark = chromium.marks

HOSTILE = "<img src=http://x.invalid onerror=document.title='broken'> \"'</script>"
MANY = "relu,softplus,softplus:beta=5,gelu,silu,elu,mish,softplus:beta=2,softplus:beta=5:init=he"


def hostile(results):
    """Return the results of a problem whose words would be markup."""
    problem = replace(results.problem, name=HOSTILE, title=HOSTILE, notes=(HOSTILE,))
    settings = replace(results.settings, problem=problem)
    return replace(results, settings=settings, command=HOSTILE)


KINDS = {
    "usual": studies.results,
    "many arms": lambda: studies.results(MANY),
    "a script": lambda: studies.results("relu,softplus", seeds=4, measured=False),
    "hostile": lambda: hostile(studies.results()),
}
every_kind = pytest.mark.parametrize("kind", KINDS)


@pytest.fixture(scope="module")
def browser():
    """Return a headless Chromium."""
    with chromium.started() as started:
        yield started


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Return the file of every kind of page."""
    found = {}
    for kind, results in KINDS.items():
        found[kind] = tmp_path_factory.mktemp("page") / "report.html"
        found[kind].write_text(report.page(results()), encoding="utf-8")
    return found


@pytest.fixture
def opened(browser, files):
    """Return the function that opens a page; what it asks for and complains of fails the test."""
    contexts, wrong = [], []

    def open_page(kind, width=1100, scheme="light"):
        contexts.append(
            browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
        )
        page = contexts[-1].new_page()
        page.on("request", lambda request: asked.append(request.url))
        page.on("console", lambda message: wrong.append(message.text))
        page.on("pageerror", lambda error: wrong.append(str(error)))
        asked = []
        page.goto(files[kind].as_uri())
        assert asked == [files[kind].as_uri()]
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert wrong == []


@every_kind
def test_it_opens_without_a_request_or_an_error(kind, opened):
    page = opened(kind)
    assert page.locator("h1").inner_text()
    assert page.title() != "broken"
    assert page.locator("img").count() == 0


def test_the_slider_draws_the_function_of_its_beta(opened):
    page = opened("usual")
    slider, curve = page.locator("#beta"), page.locator("#softplus")
    before = curve.get_attribute("points")
    slider.fill("1")  # the logarithm of beta
    assert page.locator("#value-of-beta").inner_text() == "10"
    assert slider.get_attribute("aria-valuetext") == "beta = 10"
    after = curve.get_attribute("points")
    assert after != before
    places = dict(place.split(",") for place in after.split())
    # At x = 0, ln 2 / 10 on an axis from -0.25 to 5.
    assert float(places["50.00"]) == pytest.approx(100 * (5 - 0.0693147) / 5.25, abs=0.01)
    slope = page.locator("#softplus-slope").get_attribute("points")
    slopes = dict(place.split(",") for place in slope.split())
    assert float(slopes["50.00"]) == pytest.approx(100 * (1.2 - 0.5) / 1.3, abs=0.01)
    slider.focus()
    page.keyboard.press("ArrowRight")
    assert page.locator("#value-of-beta").inner_text() == "10.2"


def column(table, index):
    """Return the values by which a column is sorted, from the top down."""
    cells = table.locator(f"tbody tr > :nth-child({index})").all()
    return [cell.get_attribute("data-value") for cell in cells]


def test_a_click_on_a_heading_sorts_and_another_one_turns_round(opened):
    page = opened("usual")
    page.locator("summary").click()
    table = page.locator("details table")
    heading = table.locator("thead th").nth(2)
    heading.locator("button").click()
    values = [float(value) for value in column(table, 3)]
    assert values == sorted(values)
    assert values != [float(value) for value in column(opened("usual").locator("details table"), 3)]
    assert heading.get_attribute("aria-sort") == "ascending"
    heading.locator("button").press("Enter")
    assert [float(value) for value in column(table, 3)] == sorted(values, reverse=True)
    table.locator("thead th").nth(0).locator("button").click()
    assert column(table, 1) == [str(seed) for seed in range(10)]
    assert heading.get_attribute("aria-sort") is None


def test_texts_are_sorted_as_texts(opened):
    page = opened("many arms")
    table = page.get_by_role("region", name="Tests").locator("table")
    table.locator("thead th").nth(2).locator("button").click()
    answers = column(table, 3)
    assert answers == sorted(answers)
    assert len(set(answers)) > 1


@every_kind
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1100])
def test_axe_finds_nothing_serious(kind, scheme, width, opened):
    page = opened(kind, width, scheme)
    page.evaluate("document.querySelectorAll('details').forEach((folded) => (folded.open = true))")
    found = chromium.axe.Axe().run(page).response["violations"]
    serious = [
        (rule["id"], [node["target"] for node in rule["nodes"]][:3])
        for rule in found
        if rule["impact"] in {"serious", "critical"}
    ]
    assert serious == []


def test_axe_would_find_what_is_wrong(opened):
    page = opened("usual")
    page.evaluate("document.querySelector('label').remove()")
    assert {rule["id"] for rule in chromium.axe.Axe().run(page).response["violations"]} & {"label"}


@every_kind
def test_on_a_telephone_nothing_is_cut_off_and_all_texts_can_be_read(kind, opened):
    page = opened(kind, width=390)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    sizes = page.evaluate(
        "[...document.querySelectorAll('body *')].filter((e) => e.textContent.trim())"
        ".map((e) => parseFloat(getComputedStyle(e).fontSize))"
    )
    assert min(sizes) >= 12
    # Every cell of the tables of arms is in sight: its right end within the page.
    ends = page.evaluate(
        "[...document.querySelectorAll('.stack td')].map((e) => e.getBoundingClientRect().right)"
    )
    assert max(ends) <= 390


@every_kind
def test_on_paper_nothing_is_cut_off_and_folded_parts_are_open(kind, opened, tmp_path):
    page = opened(kind, width=688)  # A4 less its margins, at 96 points an inch
    page.emulate_media(media="print")
    assert page.evaluate("document.documentElement.scrollWidth") <= 688
    assert not page.locator(".slider").is_visible()
    page.pdf(path=tmp_path / "page.pdf", format="A4")
    assert (tmp_path / "page.pdf").read_bytes().startswith(b"%PDF")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.locator("details table").is_visible()


def test_dark_is_dark_and_paper_is_white_all_the_same(opened):
    def brightness(page):
        colour = page.evaluate("getComputedStyle(document.body).backgroundColor")
        return sum(map(int, colour.strip("rgb()").split(",")[:3])) / 3

    page = opened("usual", scheme="dark")
    assert brightness(page) < 40
    page.emulate_media(media="print")
    assert brightness(page) == 255
    assert brightness(opened("usual")) == 255
