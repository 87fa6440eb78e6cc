"""The notebook in experiments runs from start to figure, with smaller sizes than it asks for."""

from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

FILE = Path(__file__).resolve().parent.parent / "experiments" / "new_question.ipynb"


@pytest.fixture(scope="module")
def notebook() -> Any:
    return nbformat.read(FILE, as_version=4)


def test_a_new_question_takes_about_twenty_lines(notebook: Any) -> None:
    lines = [line for cell in notebook.cells if cell.cell_type == "code" for line in cell.source.splitlines()]
    assert len([line for line in lines if line.strip()]) <= 25
    assert not any(cell.get("outputs") for cell in notebook.cells)  # kept without what it printed


def test_the_notebook_goes_from_a_question_to_a_figure(
    notebook: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLPEXP_OUTPUTS", str(tmp_path / "outputs"))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    (sizes,) = (cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", ()))
    sizes.source = "depths, widths, seeds, epochs = [2, 3], [8, 16], 2, 1; tracking = 'mlflow'"
    NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(tmp_path)}}).execute()
    printed = [one for cell in notebook.cells for one in cell.get("outputs", ()) if one.output_type == "stream"]
    assert printed == []
    table, dataset, share, picture = (cell for cell in notebook.cells if cell.get("outputs"))
    assert table.outputs[0].data["text/plain"].count("  2") >= 4  # seeds of each point
    assert "run: 8" in dataset.outputs[0].data["text/plain"]
    assert "width" in share.outputs[0].data["text/plain"]
    assert picture.outputs[-1].data["image/png"]
    assert (tmp_path / "new_question.png").stat().st_size > 5000
    assert len(list((tmp_path / "outputs" / "runs").glob("*/result.json"))) == 8
