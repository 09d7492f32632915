"""`reach simulate`: motions of a problem file, as estimates."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..frame import Answer
from ..options import Json, Problem, Seed

RANK = 30


def command(
    problem: Problem,
    count: Annotated[int, typer.Option("--count", metavar="N", help="Number of motions, half of them from corners of the initial box.")] = 1000,
    seed: Seed = 0,
    out: Annotated[Path | None, typer.Option("--out", metavar="FILE.csv", help="Write every motion at every sample.", show_default=False)] = None,
    plot: Annotated[Path | None, typer.Option("--plot", metavar="FILE.png", help="Draw the motions over the first two states.", show_default=False)] = None,
    json: Json = False,
) -> Answer:
    """Simulate motions with random disturbances: a look at what happens, and a search for violations. An estimate: simulating proves nothing."""
    from ..simulating import simulate_problem

    return simulate_problem(problem, count, seed, out, plot)
