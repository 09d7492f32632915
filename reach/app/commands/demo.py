"""`reach demo`: the whole story on an inverted pendulum, in less than a minute."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..frame import Answer
from ..options import Json, Seed

RANK = 10


def command(
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder for the results; made if absent.")] = Path("reach-run"),
    seed: Seed = 0,
    epochs: Annotated[int | None, typer.Option("--epochs", metavar="N", help="Training epochs; with fewer, the controller may fail its specifications.")] = None,
    json: Json = False,
) -> Answer:
    """Train a controller for an inverted pendulum in the wind, prove what it does, check the certificate, and draw the tube around 1,000 simulations.

    DIR also gets problem.toml and controller.npz, so that `reach run DIR/problem.toml --out ANOTHER` does it again and you can change what is asked.
    """
    from ..demo import run

    return run(out, seed, epochs)
