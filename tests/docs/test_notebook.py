"""The walk-through as a notebook, run by Jupyter: it gives the results that it holds."""

import copy

import pytest

from documentation import DOCS

REASON = "what `make test-slow` installs is missing"
nbformat = pytest.importorskip("nbformat", reason=REASON)
nbclient = pytest.importorskip("nbclient", reason=REASON)


def results(cell):
    """Return the results of a cell, whichever way it gives them."""
    return [output.get("text") or output["data"]["text/plain"] for output in cell.outputs]


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # Jupyter's own
def test_the_notebook_gives_the_results_that_it_holds(tmp_path):
    notebook = nbformat.read(DOCS / "walkthrough.ipynb", 4)
    nbformat.validate(notebook)
    run = copy.deepcopy(notebook)
    resources = {"metadata": {"path": str(tmp_path)}}
    nbclient.NotebookClient(run, kernel_name="python3", resources=resources).execute()
    code = [cell.cell_type == "code" for cell in notebook.cells]
    assert sum(code) > 20
    for held, ran, is_code in zip(notebook.cells, run.cells, code, strict=True):
        # The time of the last one varies.
        if is_code and "Timer" not in held.source:
            assert results(ran) == results(held), held.source
