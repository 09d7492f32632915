"""`certify bound`: how much can each linear layer of a model stretch distances."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..frame import Answer
from ..options import EFFORTS, NORMS, Effort, InputShape, Json, Method, Model, Norm, Weights, one_of, parse_shape

RANK = 20


def command(
    model: Model,
    input_shape: InputShape = None,
    norm: Norm = "l2",
    method: Method = "auto",
    effort: Effort = "balanced",
    layer: Annotated[list[str] | None, typer.Option("--layer", metavar="NAME", help="Only this layer; may be given several times.")] = None,
    compare: Annotated[bool, typer.Option("--compare", help="Run every method that applies to a layer; a column for each. Takes its time.")] = False,
    unfoldings: Annotated[bool, typer.Option("--unfoldings/--no-unfoldings", help="Also the unfoldings of Singla & Feizi (R, S, T, U) of each convolution.")] = True,
    plot: Annotated[Path | None, typer.Option("--plot", metavar="FILE", help="Draw the layers into a .png, .svg or .pdf file.")] = None,
    csv: Annotated[Path | None, typer.Option("--csv", metavar="FILE", help="Write the table with all its digits.")] = None,
    weights: Weights = None,
    json: Json = False,
) -> Answer:
    """Bound the operator norm of every linear layer, from below and above.

    Batch normalisations are folded into the layer before them. Ctrl-C keeps the layers that are done. How the layers compose is `certify lipschitz`.
    """
    import math
    import sys
    import time

    from ..bound_files import written

    began = time.perf_counter()
    _require(norm, effort, plot, csv)
    from ...core.fold import fold_affine
    from .. import bound_rows, bound_text
    from ..models import load
    from ..progress import bar

    bound_rows.require_method(method)
    question = bound_rows.Question(norm, method, effort, unfoldings, compare)
    graph = fold_affine(load(model, weights, parse_shape(input_shape))).pruned()
    nodes = bound_rows.linear_layers(graph, layer or ())
    found: dict[str, bound_rows.Row] = {}
    interrupted = False
    try:
        with bar("layers") as progress:
            for row in bound_rows.measure(graph, nodes, question, progress):
                found[row.layer] = row
    except KeyboardInterrupt:
        interrupted = True
    rows, missing = list(found.values()), [node.name for node in nodes if node.name not in found]
    if interrupted and not rows:
        raise KeyboardInterrupt
    files, failure = written(rows, norm, model, csv, plot)
    product = bound_rows.chain_product(graph, rows) if layer is None and not interrupted else None
    fields = {"model": model, "digest": graph.digest, "norm": norm, "effort": effort, "seconds": time.perf_counter() - began, **files}
    fields |= {"layers": [row.document() for row in rows]} | ({} if product is None else {"product": product})
    status = "proved" if all(math.isfinite(row.upper) for row in rows) else "not proved"
    if interrupted or failure is not None:
        status, message = ("interrupted", bound_text.interruption(rows, missing)) if interrupted else ("error", str(failure))
        fields |= {"error": "Interrupted" if interrupted else type(failure).__name__, "missing": missing, "message": message}
        if not json:
            sys.stderr.write(f"{status}: {message}\n")
    return Answer(status, fields, tuple(bound_text.report(rows, question, product, files)))


def _require(norm: str, effort: str, plot: Path | None, csv: Path | None) -> None:
    """Refuse what cannot be answered or written before any work is done."""
    from ..bound_files import PICTURES, require_target
    from ..plot import can_plot

    one_of(norm, NORMS, "--norm")
    one_of(effort, EFFORTS, "--effort")
    require_target(plot, "--plot", PICTURES)
    require_target(csv, "--csv")
    if plot is not None and not can_plot():
        raise ModuleNotFoundError("No module named 'matplotlib'", name="matplotlib")  # the frame knows which extra to name
