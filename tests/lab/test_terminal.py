"""What `softplus.lab.terminal` prints, at the width of the terminal that it prints to."""

import io
from dataclasses import replace

import pytest
from rich.console import Console

import synthetic_studies as studies
from softplus.lab import bench, judging, purposes, rows, summary, terminal, wording


def printed(show, *arguments, width=80):
    """Return what is printed on a terminal of that width."""
    text = io.StringIO()
    show(*arguments, Console(file=text, width=width))
    return text.getvalue()


def words(text):
    """Return the text as one line, whatever its lines and frames."""
    return " ".join("".join(c for c in text if not "─" <= c <= "╿").split())


def test_a_study_shows_every_row_the_purposes_the_notes_and_both_answers():
    results = studies.results(seeds=5)
    text = words(printed(terminal.show_study, results, width=220))
    for section, members in rows.sections(results).items():
        assert section in text
        for row in members:
            assert row.label in text
            assert all(cell in text for cell in row.cells)
    for purpose in purposes.purposes(results):
        assert purpose.name in text
        assert all(finding.says in text for finding in purpose.findings)
    assert all(note in text for note in summary.notes(results))
    for verdict in results.verdicts:
        assert f"{verdict.arm} against relu: {wording.headline(verdict)}" in text
        for sentence in wording.sentences(verdict, summary.subject(results)):
            assert sentence in text


@pytest.mark.parametrize("width", [60, 80, 120])
def test_names_that_differ_at_the_end_stay_apart_on_a_narrow_terminal(width):
    results = studies.results("relu,softplus,softplus:beta=5,softplus:beta=7")
    text = printed(terminal.show_study, results, width=width)
    assert "…" not in text
    assert all(len(line) <= width for line in text.splitlines())
    heads = [line for line in text.splitlines() if line.startswith("┃")]
    folded = "".join(heads)
    for end in ("beta=5", "beta=7") if width >= 80 else ("5", "7"):
        assert end in folded


def test_the_reference_stands_in_every_table_of_a_crowd():
    results = studies.results("relu,softplus,gelu,silu,elu")
    text = printed(terminal.show_study, results, width=120)
    assert text.count("digits: 1,797") == 2
    heads = [line for line in text.splitlines() if line.startswith("┃") and "relu" in line]
    assert len(heads) == 2


def test_a_script_that_measures_a_metric_alone_has_a_table():
    results = studies.results("relu,softplus", measured=False)
    text = words(printed(terminal.show_study, results))
    assert "Time of a run" in text
    assert "Dead units" not in text


def test_a_judgement_shows_its_notes_and_both_answers():
    judged = judging.judge({"relu": [1.0, 2.0, 3.0], "softplus": [1.5, 2.4, 3.6]})
    text = printed(terminal.show_judgement, judged)
    assert all(f"note: {note}" in words(text) for note in judged.notes)
    assert all(line.strip() in words(text) for line in str(judged).splitlines()[3:])
    assert all(len(line) <= 80 for line in text.splitlines())


def test_the_times_are_ratios_and_no_bound_is_shown():
    seconds = {bench.RELU: 1e-6, bench.TORCH: 6e-6, bench.OURS: 2e-6}
    cases = [bench.Case(bench.FORWARD, "float32", 65_536, threads, seconds) for threads in (1, 2)]
    text = printed(terminal.show_times, cases, width=100)
    assert text.count("threads: ") == 2
    assert words(text).count("forward 65,536 2.0 6.00 2.00 3.00") == 2
    assert "≤" not in text
    assert "bound" not in text


def test_what_was_compiled_stands_under_its_pass():
    eager = {bench.RELU: 1e-6, bench.TORCH: 6e-6, bench.OURS: 2e-6}
    compiled = {bench.RELU: 1e-6, bench.TORCH: 4e-6, bench.OURS: 1e-6}
    case = bench.Case(bench.FORWARD, "float32", 64, 1, eager, compiled, spread=0.02)
    text = words(printed(terminal.show_times, [case], width=100))
    assert "forward 64 2.0 6.00 2.00 3.00 2% compiled 1.0 4.00 1.00 4.00" in text
    text = words(printed(terminal.show_times, [replace(case, busy="x")], width=100))
    assert "forward 64 machine busy: not measured" in text
    assert "6.00" not in text


def test_the_table_of_softplus_and_relu_fits_a_terminal():
    text = printed(terminal.show_table)
    assert all(len(line) <= 80 for line in text.splitlines())
    for title in ("What they are", "What they give", "Where floating point ends", "reversion"):
        assert title in text
    assert "0 (PyTorch's choice)" in text


def test_a_line_is_said_as_it_is():
    assert printed(terminal.say, "wrote a[0]/report.html") == "wrote a[0]/report.html\n"
