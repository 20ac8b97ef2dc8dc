"""The three files of `softplus.lab.report`: whole, offline, escaped, and as documented."""

import itertools
import json
import math
import tempfile
from collections import Counter
from dataclasses import replace
from functools import cache
from html.parser import HTMLParser
from importlib import resources
from pathlib import Path

import jsonschema
import pytest

import synthetic_studies as studies
from softplus.lab import report, summary, wording
from softplus.lab.statistics import Interval
from softplus.lab.trials import Outcome

HOSTILE = "<img src=x onerror=alert(1)> | `code` </script> *a* [b](c) \"'"


class Page(HTMLParser):
    """What the tests look at: the tags with their attributes, the ids, the headings, the words."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.headings, self.words = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        """Note a tag."""
        self.tags.append((tag, dict(attributes)))
        if tag in {"h1", "h2", "h3"}:
            self.headings.append(int(tag[1]))

    def handle_data(self, data):
        """Note a text."""
        self.words.append(data)

    @property
    def text(self):
        """All texts, on one line."""
        return " ".join(" ".join(self.words).split())


def all_failed(results):
    """Return the results with no run of any arm but the reference finished."""
    arms = tuple(
        replace(arm, outcomes=(Outcome(failure="CUDA\nout of memory"),) * results.settings.seeds)
        if arm.name != "relu"
        else arm
        for arm in results.arms
    )
    decided = tuple(studies.decide(results.settings, arms))
    return replace(results, arms=arms, verdicts=decided)


def hostile(results):
    """Return the results of a problem whose every word would be markup."""
    problem = replace(
        results.problem, name=HOSTILE, title=HOSTILE, things=HOSTILE, notes=(HOSTILE,)
    )
    problem = replace(problem, metric=replace(problem.metric, name=HOSTILE, unit=HOSTILE))
    settings = replace(results.settings, problem=problem)
    return replace(results, settings=settings, command=HOSTILE, machine={HOSTILE: HOSTILE})


KINDS = {
    "usual": studies.results,
    "two seeds": lambda: studies.results(seeds=2),
    "one seed": lambda: studies.results(seeds=1),
    "nine arms": lambda: studies.results(
        "relu,softplus,softplus:beta=5,gelu,silu,elu,mish,softplus:beta=2,leaky_relu"
    ),
    "a script": lambda: studies.results("relu,softplus", measured=False),
    "all failed": lambda: all_failed(studies.results()),
    "hostile": lambda: hostile(studies.results()),
    "no margin, no target": lambda: without_margin_and_target(studies.results()),
}


def without_margin_and_target(results):
    """Return the results of a problem that knows neither, nor the size of its test set."""
    problem = replace(results.problem, test_ratio=None, rows=None)
    problem = replace(problem, metric=replace(problem.metric, goal=None, margin=None))
    settings = replace(results.settings, problem=problem, margin=None)
    decided = tuple(studies.decide(settings, results.arms))
    return replace(results, settings=settings, verdicts=decided)


every_kind = pytest.mark.parametrize("kind", KINDS)


@cache
def made(kind):
    """Return the results of a kind and the texts of its files, by their names."""
    results = KINDS[kind]()
    with tempfile.TemporaryDirectory() as folder:
        paths = report.write(results, Path(folder))
        names = ["report.html", "report.md", "results.json"]
        assert [path.name for path in paths] == names
        assert sorted(path.name for path in Path(folder).iterdir()) == names
        return results, {path.name: path.read_text(encoding="utf-8") for path in paths}


def page_of(kind):
    """Return the page of a kind."""
    return Page(made(kind)[1]["report.html"])


@every_kind
def test_the_page_needs_nothing_else(kind):
    text = made(kind)[1]["report.html"]
    page = Page(text)
    for _, attributes in page.tags:
        assert not attributes.keys() & {"src", "href"}
    for outside in ("url(", "@import", "http://", "https://"):
        assert outside not in text
    assert {tag for tag, _ in page.tags} & {"link", "img", "iframe", "object"} == set()
    assert [tag for tag, _ in page.tags].count("script") == 1


@every_kind
def test_every_picture_has_a_text_and_no_id_is_there_twice(kind):
    page = page_of(kind)
    ids = Counter(attributes["id"] for _, attributes in page.tags if "id" in attributes)
    assert max(ids.values()) == 1
    pictures = [attributes for tag, attributes in page.tags if tag == "svg"]
    for attributes in pictures:
        stretched = "preserveaspectratio" in attributes  # inside of another, which has the text
        hidden = attributes.get("aria-hidden") == "true"
        assert stretched or hidden or (attributes["role"] == "img" and attributes["aria-label"])
    assert len(pictures) > 5


@every_kind
def test_headings_go_down_a_step_at_a_time(kind):
    headings = page_of(kind).headings
    assert headings.count(1) == 1
    assert headings[0] == 1
    assert all(b - a <= 1 for a, b in itertools.pairwise(headings))


@every_kind
def test_no_place_in_a_picture_is_a_nan(kind):
    page = made(kind)[1]["report.html"]
    for nothing in ("nan%", "inf%", "nan,", ",nan", "None"):
        assert nothing not in page


@every_kind
def test_both_answers_stand_on_the_page_and_in_the_markdown(kind):
    results, texts = made(kind)
    shown, text = page_of(kind).text, texts["report.md"]
    for verdict in results.verdicts:
        sentences = " ".join(wording.sentences(verdict, summary.subject(results)))
        assert " ".join(sentences.split()) in shown
        if kind != "hostile":
            assert sentences.replace("_", "\\_") in text


@every_kind
def test_each_line_of_a_markdown_table_has_the_cells_of_its_heading(kind):
    text = made(kind)[1]["report.md"]
    tables = [table for table in text.split("\n\n") if table.lstrip().startswith("|")]
    assert len(tables) >= 4
    for table in tables:
        widths = {line.replace("\\|", "").count("|") for line in table.strip().splitlines()}
        assert len(widths) == 1, table


@every_kind
def test_results_json_is_what_its_schema_says(kind):
    text = resources.files("softplus.lab.report").joinpath("results.schema.json").read_text()
    validator = jsonschema.Draft202012Validator(json.loads(text))
    validator.check_schema(validator.schema)
    document = json.loads(made(kind)[1]["results.json"])
    validator.validate(document)
    # The schema would see a name that it does not document, or one that is missing.
    with pytest.raises(jsonschema.ValidationError):
        validator.validate({**document, "more": 1})
    with pytest.raises(jsonschema.ValidationError):
        validator.validate({name: document[name] for name in document if name != "verdicts"})


def test_names_from_the_users_data_are_escaped():
    page, text, _ = made("hostile")[1].values()
    assert "<img" not in page
    assert page.count("</script>") == 1
    assert HOSTILE in Page(page).text
    # In a cell of a Markdown table a bar would begin another one, and HTML would be HTML.
    assert "\\<img src=x onerror=alert(1)> \\| \\`code\\`" in text
    assert "[b](c)" not in text.replace(f"    {HOSTILE}", "")  # code


def test_a_table_of_a_script_has_what_there_is_and_no_more():
    shown = page_of("a script").text
    assert "Each arm ran at the problem's own learning rate" in shown
    assert "Time of a run" in shown
    for absent in ("Dead units", "Units, layer by layer", "validation accuracy (%)", "Drift"):
        assert absent not in shown


def test_what_failed_is_counted_and_named():
    shown = page_of("all failed").text
    assert "softplus: 10 of 10 runs failed (out of memory)" in shown
    assert "it cannot be told which is better: no run of both finished." in shown
    assert shown.count("failed") > 10  # every seed's cell


def test_a_busy_machine_has_no_picture_of_the_cost_and_says_why():
    results = studies.results("relu,softplus")
    none = Interval(math.nan, math.nan, math.nan)
    arms = tuple(
        replace(arm, cost=replace(arm.cost, milliseconds=none, ratio=none, busy="machine busy"))
        for arm in results.arms
    )
    shown = Page(report.page(replace(results, arms=arms))).text
    assert "Steps were not timed: machine busy." in shown
    assert "The time of a training step" not in shown


def test_a_smaller_budget_is_in_the_report():
    shown = page_of("usual").text
    assert "what a smaller budget would have chosen" in shown
    assert "of 1: 0.003 (95), of 3: 0.003 (95)" in shown


def test_machine_versions_and_command_are_in_the_report():
    page, text, data = made("usual")[1].values()
    for told in ("cpu: a processor", "load: 0.12", "torch: 2", "softplus compare digits"):
        assert told in Page(page).text
        assert told in text
    assert json.loads(data)["command"] == "softplus compare digits"


def test_layers_have_their_own_shares():
    shown = page_of("usual").text
    for share in ("dead 3.0%", "dead 6.0%", "sparsity 48."):
        assert share in shown
    assert not math.isnan(studies.results().arms[0].measures[0].layers[2].dead)
