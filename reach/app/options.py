"""Arguments and options that several commands of `reach` share, so that the same thing has the same name and help everywhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Problem = Annotated[Path, typer.Argument(metavar="PROBLEM.toml", help="Plant, controller, initial box and specifications; docs/reach.md describes the file.", show_default=False)]
Out = Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder for the results; made if absent.", show_default=False)]
Plots = Annotated[list[str] | None, typer.Option("--plot", metavar="X,Y", help="Draw the tube over two states, or t,STATE; may be repeated. Default: the first two states.")]
NoPlot = Annotated[bool, typer.Option("--no-plot", help="Draw nothing.")]
Seed = Annotated[int, typer.Option("--seed", metavar="N", help="Seed of everything random.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object with `status` instead of text.")]
