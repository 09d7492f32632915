"""`certify report`: sum up the folder of a finished run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..frame import Answer
from ..options import Json

RANK = 60


def command(folder: Annotated[Path, typer.Argument(metavar="DIR", help="What `--out` named.", show_default=False)], json: Json = False) -> Answer:
    """Show what a finished run found, and draw its curve again (curve.png, if matplotlib is installed)."""
    from .. import results
    from ..plot import can_plot, save_curve

    run, result = results.load(folder)
    figures = results.summary(result)
    show = [
        f"{run.get('model', 'model')} on {run.get('data', 'data')}, {run['norm']}, certify {run.get('versions', {}).get('certify', '?')}",
        results.summary_table(figures, run["norm"]),
    ]
    show.append(results.bracket_line(figures, run["norm"]))
    if can_plot():
        show.append(f"curve: {save_curve(folder / results.CURVE, result, run.get('title', ''))}")
    show.append(f"certificate: {folder / results.CERTIFICATE}  (certify check {folder / results.CERTIFICATE} MODEL proves it again)")
    return Answer("finished", {"folder": str(folder), "summary": figures, "run": run}, tuple(show))
