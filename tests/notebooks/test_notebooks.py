"""Every notebook runs at smoke size, and its jupytext text is the same notebook."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
EXPECTED = frozenset({"01_layer_bounds", "02_certify", "03_train", "04_reach", "05_check_a_certificate"})


def test_the_expected_notebooks_are_there():
    missing = EXPECTED - {path.stem for path in NOTEBOOKS}
    assert not missing, f"no notebooks/{sorted(missing)}"


def test_every_text_has_its_notebook_and_the_other_way_round():
    assert {path.stem for path in FOLDER.glob("*.py")} == {path.stem for path in NOTEBOOKS}


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_text_and_notebook_agree(path):
    """Cell by cell: the text is what people edit and review, the notebook is what they read."""
    import jupytext

    notebook, text = jupytext.read(path), jupytext.read(path.with_suffix(".py"))
    cells = [[(cell.cell_type, cell.source.strip()) for cell in book.cells] for book in (notebook, text)]
    assert cells[0] == cells[1], "run: jupytext --sync notebooks/*.py"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_runs(path, monkeypatch):
    """From top to bottom in a fresh kernel, at smoke size (CERTIFY_SMOKE=1); an assertion in a cell that fails is a failure here."""
    import nbformat
    from nbclient import NotebookClient

    monkeypatch.setenv("CERTIFY_SMOKE", "1")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]))
    notebook = nbformat.read(path, as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert any("assert" in cell.source for cell in code), "a notebook without a single assertion proves nothing"
    NotebookClient(notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": str(FOLDER)}}).execute()
