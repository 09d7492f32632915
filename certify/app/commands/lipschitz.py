"""`certify lipschitz`: how much can the whole model stretch distances."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..frame import Answer
from ..options import EFFORTS, NORMS, Effort, InputShape, Json, Model, Norm, Weights, one_of, parse_shape

RANK = 30


def command(
    model: Model,
    input_shape: InputShape = None,
    norm: Norm = "l2",
    method: Annotated[str, typer.Option("--method", metavar="auto|product|closed_form|sdp", help="Only these rungs of the ladder; auto climbs all that apply.")] = "auto",
    effort: Effort = "balanced",
    out: Annotated[Path | None, typer.Option("--out", metavar="DIR", help="Folder for certificate, ladder.png and lipschitz.json; made if absent.")] = None,
    plot: Annotated[Path | None, typer.Option("--plot", metavar="FILE", help="Draw the ladder into a .png, .svg or .pdf file.")] = None,
    save: Annotated[Path | None, typer.Option("--save", metavar="FILE", help="Write a certificate for `certify check`.")] = None,
    weights: Weights = None,
    json: Json = False,
) -> Answer:
    """Bound the Lipschitz constant of a model, from below and above, with the table of layers behind it.

    The ladder lower <= semidefinite <= closed form <= product: every bound is proved, each with its time; a bound that does not apply says why.
    Ctrl-C keeps the rungs that are done.
    """
    import math
    import sys
    import time

    from ..lipschitz_files import written

    began = time.perf_counter()
    _require(norm, method, effort, plot, save)
    from .. import lipschitz_text, results
    from ..lipschitz_rungs import Ladder, climb
    from ..models import load
    from ..progress import bar

    graph = load(model, weights, parse_shape(input_shape))
    if out is not None:
        results.prepare(out)
    ladder = Ladder(graph, norm, effort, method)
    interrupted = False
    try:
        with bar("constants") as progress:
            for _ in climb(ladder, progress):
                pass
    except KeyboardInterrupt:
        interrupted = True
    if ladder.certificate is None:
        raise KeyboardInterrupt
    best, certificate = ladder.best, ladder.certificate
    fields = {"model": model, "digest": graph.digest, "norm": norm, "effort": effort, "lower": ladder.lower, "upper": best.upper, "method": best.name}
    fields |= {"ladder": [rung.document() for rung in lipschitz_text.ordered(ladder)], "table": [row._asdict() for row in certificate.table()]}
    fields["seconds"] = time.perf_counter() - began
    status = "proved" if math.isfinite(best.upper) else "not proved"
    files, failure = written(ladder, {"status": status, **fields}, model, out, save, plot)
    fields |= files
    if interrupted or failure is not None:
        status, message = ("interrupted", lipschitz_text.interruption(ladder)) if interrupted else ("error", str(failure))
        fields |= {"error": "Interrupted" if interrupted else type(failure).__name__, "missing": ladder.missing(), "message": message}
        if not json:
            sys.stderr.write(f"{status}: {message}\n")
    return Answer(status, fields, tuple(lipschitz_text.report(ladder, files)))


def _require(norm: str, method: str, effort: str, plot: Path | None, save: Path | None) -> None:
    """Refuse what cannot be answered or written before any work is done."""
    from ..bound_files import PICTURES, require_target
    from ..lipschitz_rungs import METHODS
    from ..plot import can_plot

    one_of(norm, NORMS, "--norm")
    one_of(effort, EFFORTS, "--effort")
    one_of(method, METHODS, "--method")
    require_target(plot, "--plot", PICTURES)
    require_target(save, "--save")
    if plot is not None and not can_plot():
        raise ModuleNotFoundError("No module named 'matplotlib'", name="matplotlib")  # the frame knows which extra to name
