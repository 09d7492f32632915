"""`certify train`: train a network, certify what came out, keep everything in a folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..frame import Answer
from ..options import Json, Out

RANK = 45


def command(
    out: Out,
    config: Annotated[Path | None, typer.Argument(metavar="[CONFIG.toml]", help="Network, data and plan; docs/train.md describes every key.", show_default=False)] = None,
    recipe: Annotated[str | None, typer.Option("--recipe", metavar="NAME", help="A recipe of certify.train.recipes instead of a file.")] = None,
    data: Annotated[Path | None, typer.Option("--data", metavar="DIR", help="Where the data are, in place of what recipe or file say.")] = None,
    seed: Annotated[int | None, typer.Option("--seed", metavar="N", help="Seed of everything random, in place of the plan's.")] = None,
    epochs: Annotated[int | None, typer.Option("--epochs", metavar="N", help="Epochs, in place of the plan's.")] = None,
    attack: Annotated[bool | None, typer.Option("--attack/--no-attack", help="Whether to look for adversarial inputs at the end, in place of what the plan says.")] = None,
    json: Json = False,
) -> Answer:
    """Train a network by CONFIG.toml or by a recipe, and certify the exported weights on all test inputs.

    Writes model.safetensors, model.py, certificate, radii.npz, radii.csv, curve.png, training.png and run.json. What training believes about radii is called an
    estimate; the certificate is made afresh from the exported weights. An interrupted run continues, bit for bit, when the same command is given again.
    """
    from ..training import Wishes, run

    return run(out, config, recipe, Wishes(data, seed, epochs, attack))
