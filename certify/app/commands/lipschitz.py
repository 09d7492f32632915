"""`certify lipschitz`: how much can the whole model stretch distances."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..frame import Answer
from ..options import EFFORTS, NORMS, Effort, InputShape, Json, Method, Model, Norm, Weights, one_of, parse_shape

RANK = 30


def command(
    model: Model, input_shape: InputShape = None, norm: Norm = "l2", method: Method = "auto", effort: Effort = "balanced",
    save: Annotated[Path | None, typer.Option("--save", metavar="FILE", help="Write a certificate for `certify check`.")] = None, weights: Weights = None, json: Json = False,
) -> Answer:  # fmt: skip
    """Bound the Lipschitz constant of a model, from below and above, with the table of layers behind it."""
    import math

    from ... import lipschitz
    from ...core.decimals import decimal_down, decimal_up
    from ..models import load
    from ..progress import bar

    one_of(norm, NORMS, "--norm")
    one_of(effort, EFFORTS, "--effort")
    graph = load(model, weights, parse_shape(input_shape))
    with bar("constants") as progress:
        found = lipschitz(graph, graph.input_shape, norm, method, effort=effort, progress=progress)
    rows = [row._asdict() for row in found.table()]
    fields = {"model": model, "digest": graph.digest, "norm": norm, "lower": found.lower, "upper": found.upper, "method": found.method, "seconds": found.seconds, "table": rows}
    line = f"\nLipschitz constant ({norm}): between {decimal_down(found.lower, 7)} (a pair of inputs shows it) and {decimal_up(found.upper, 7)} (proved), method {found.method}"
    show = [str(found.table()), line]
    if save is not None:
        fields["certificate"] = str(found.save(save))
        show.append(f"certificate: {save}")
    return Answer("proved" if math.isfinite(found.upper) else "not proved", fields, tuple(show))
