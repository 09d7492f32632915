"""`certify demo`: the whole story on handwritten digits, in about a minute."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..frame import Answer
from ..options import Json, Seed

RANK = 10


def command(
    data: Annotated[Path | None, typer.Option("--data", metavar="DIR", help="Folder with the four IDX files of MNIST or a sibling; default: scikit-learn's digits.")] = None,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder for the results; made if absent.")] = Path("demo-run"),
    seed: Seed = 0,
    epochs: Annotated[int | None, typer.Option("--epochs", metavar="N", help="Training epochs; fewer are faster and give smaller radii.")] = None,
    attack: Annotated[bool, typer.Option("--attack/--no-attack", help="Also look for adversarial inputs.")] = True,
    json: Json = False,
) -> Answer:
    """Train a small network, certify its test set, attack it, write and check the certificate, and draw the curve.

    Handwritten digits of scikit-learn: about a minute. MNIST (--data): about five minutes, half of them the attack.
    """
    from ..demo import run

    return run(out, data, seed, epochs, attack)
