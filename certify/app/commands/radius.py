"""`certify radius`: certified radii of a data set, into a folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..frame import Answer
from ..options import EFFORTS, NORMS, Effort, InputShape, Json, Model, Norm, Out, Seed, Weights, one_of, parse_shape

RANK = 40


def command(
    model: Model,
    data: Annotated[Path, typer.Argument(metavar="DATA", help="Labelled inputs: .npz with `images` and `labels`, or IDX, CIFAR or class folders.", show_default=False)],
    out: Out,
    norm: Norm = "l2",
    workers: Annotated[int, typer.Option("--workers", metavar="N", help="Processes.")] = 1,
    attack: Annotated[bool, typer.Option("--attack/--no-attack", help="Also look for adversarial inputs: the upper end of each bracket.")] = True,
    method: Annotated[str, typer.Option("--method", metavar="auto|pairwise|global", help="How margins become radii; auto takes the better one per input.")] = "auto",
    effort: Effort = "balanced",
    first: Annotated[int | None, typer.Option("--first", metavar="N", help="Only the first N inputs.")] = None,
    labels: Annotated[Path | None, typer.Option("--labels", metavar="FILE", help="Labels, if DATA is a file of images alone.")] = None,
    split: Annotated[str, typer.Option("--split", metavar="test|train", help="Which half, if DATA holds both.")] = "test",
    scale: Annotated[float | None, typer.Option("--scale", metavar="X", help="Images are divided by it; default 255 for uint8, 1 for floats.")] = None,
    batch_size: Annotated[int | None, typer.Option("--batch-size", metavar="N", help="Inputs per unit of work; no result depends on it.")] = None,
    device: Annotated[str, typer.Option("--device", metavar="NAME", help="Where the attack runs; proofs run in float64 on the CPU.")] = "cpu",
    seed: Seed = 0,
    input_shape: InputShape = None,
    weights: Weights = None,
    json: Json = False,
) -> Answer:
    """Certify a data set: per input, the radius within which the predicted class provably cannot change.

    Writes radii.npz, radii.csv, curve.png, run.json and the file `certificate`, which `certify check` proves again. An interrupted run continues
    when the same command is given again.
    """
    from .. import results
    from ..models import DataOptions, load_pair
    from ..radii import Question, certify_into

    one_of(norm, NORMS, "--norm")
    one_of(effort, EFFORTS, "--effort")
    one_of(method, ("auto", "pairwise", "global"), "--method")
    graph, found = load_pair(model, weights, parse_shape(input_shape), data, DataOptions(labels, split, scale, first))
    question = Question(norm, method, effort, attack, seed)
    run = {"command": "radius", "model": model if weights is None else f"{model} --weights {weights}", "data": found.source}
    finished = certify_into(results.prepare(out), graph, found.images, found.labels, question, run, workers=workers, batch_size=batch_size, device=device)
    return Answer("finished", finished.document, (f"{found.source}: {len(found)} inputs\n", *finished.show))
