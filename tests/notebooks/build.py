"""Write notebooks/*.ipynb from their jupytext texts, executed at full size: python tests/notebooks/build.py [name ...]"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import jupytext
import nbformat
from nbclient import NotebookClient

ROOT = Path(__file__).resolve().parents[2]


def main(names: list[str]) -> None:
    os.environ["PYTHONPATH"] = str(ROOT)
    for text in sorted((ROOT / "notebooks").glob("*.py")):
        if names and text.stem not in names:
            continue
        notebook = jupytext.read(text)
        NotebookClient(notebook, timeout=900, kernel_name="python3", resources={"metadata": {"path": str(text.parent)}}).execute()
        for i, cell in enumerate(notebook.cells):  # run times and random ids would make every rebuild a change
            cell.id = f"cell-{i}"
            cell.metadata.pop("execution", None)
        notebook.metadata.pop("language_info", None)
        nbformat.write(notebook, text.with_suffix(".ipynb"))


if __name__ == "__main__":
    main(sys.argv[1:])
