"""`reach report`: sum up the folder of a finished run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..frame import Answer
from ..options import Json

RANK = 60


def command(folder: Annotated[Path, typer.Argument(metavar="DIR", help="What `--out` named.", show_default=False)], json: Json = False) -> Answer:
    """Show again what a finished run found: verdicts, final box, files. Exit code as that of the run."""
    from .. import results

    run = results.load(folder)
    names = [name for name in run["files"] if (folder / name).is_file()]
    show = (*results.show(run), f"files in {folder}: {', '.join(names)}", *results.again(run, folder))
    return Answer(run["status"], {"folder": str(folder), "run": run}, show)
