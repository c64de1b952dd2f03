"""Notebooks in a kernel of their own: the one that documents, and what a cell shows."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import nbclient
import nbformat
import pytest

from tests.example import EXAMPLE

# nbclient starts it, out of sight.
pytestmark = pytest.mark.process
assert subprocess

DOCS = Path(__file__).parents[1] / "docs"


def executed(*cells: str) -> list[list[Any]]:
    """[cell] the outputs of cells that are run one after another, errors among them."""
    made = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    nbclient.NotebookClient(made, timeout=300, kernel_name="python3", allow_errors=True).execute()
    return [cell.outputs for cell in made.cells]


def test_what_a_cell_shows() -> None:
    shown, loaded, table, wrong, stopped, after, drawn, inline = executed(
        f"import sys\nimport srm_explorer as srm\nsession = srm.load_session({str(EXAMPLE)!r})\nsession",
        "sorted({'torch', 'transformers', 'pandas'} & set(sys.modules))",
        "srm.study('dose', session)",
        "srm.load_session('no-such')",
        "from srm_explorer.engine.launch.notebook import Interrupted\nraise Interrupted('3 of 16 runs are saved')",
        "session.spec",
        "figure = srm.figure(session)\nfigure",
        "%matplotlib inline\nimport matplotlib.pyplot\nsrm.figure(session, 'dose')",
    )
    (whole,) = shown
    assert whole.data["text/plain"].startswith("Session example: finished")
    assert whole.data["text/html"].index("⚠") < whole.data["text/html"].index("<svg")
    assert loaded[0].data["text/plain"] == "[]"
    assert table[0].data["text/html"].count("<table") > 1
    for (error,), name in ((wrong, "ExplorerError"), (stopped, "Interrupted")):
        assert (error.output_type, error.ename, len(error.traceback)) == ("error", name, 1)
        assert "\n" not in error.traceback[0]
    assert "no-such" in wrong[0].traceback[0]
    assert "clamp" in after[0].data["text/plain"]
    for outputs in (drawn, inline):
        (page,) = outputs
        assert "<svg" in page.data["image/svg+xml"]


@pytest.mark.slow
def test_the_notebook_of_the_documentation_is_what_it_says(tmp_path: Path) -> None:
    book = nbformat.read(DOCS / "notebook.ipynb", 4)
    assert not any(cell.get("outputs") for cell in book.cells), "it is stored without outputs"
    nbclient.NotebookClient(
        book, timeout=300, kernel_name="python3", resources={"metadata": {"path": tmp_path}}
    ).execute()
    outputs = [output for cell in book.cells for output in cell.get("outputs", ())]
    told = "".join(str(output.get("text", "")) + str(output.get("data", "")) for output in outputs)
    assert "notebook is finished: 300 of 300 runs" in told
    assert "Warning" not in told.replace("⚠", "")
    assert not [output for output in outputs if output.output_type == "stream"]
