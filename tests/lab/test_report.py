"""The three files that `softplus.lab.report` writes."""

import json

from softplus.lab import report, summary, wording


def test_the_report_is_three_files_and_the_page_needs_nothing_else(results, tmp_path):
    paths = report.write(results, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "report.html",
        "report.md",
        "results.json",
    ]
    page, text, data = (path.read_text() for path in paths)
    assert json.loads(data)["settings"]["activations"] == ["relu", "softplus", "gelu"]
    assert page.count("<svg") == 4
    for outside in ("<script src", "<link", "<img", "url(http", "@import", 'href="http'):
        assert outside not in page
    embedded = page.split('id="results">')[1].split("</script>")[0]
    assert json.loads(embedded.replace("<\\/", "</")) == json.loads(data)
    for verdict in results.verdicts:
        assert " ".join(wording.sentences(verdict, summary.subject(results))) in text
    assert "&lt; 0" in page  # texts are escaped, plots are not
    # Each line of a Markdown table has the same number of cells.
    widths = {
        line.count("|") for line in text.splitlines() if line.startswith("| ") and "p (" not in line
    }
    assert widths >= {5}
