"""`certify check`: prove a certificate again, without the code that made it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..frame import Answer
from ..options import Json, Model, Weights

RANK = 50


def command(
    certificate: Annotated[Path, typer.Argument(metavar="CERTIFICATE", help="The file that `--out` or `save` wrote.", show_default=False)],
    model: Model,
    weights: Weights = None,
    json: Json = False,
) -> Answer:
    """Check a certificate against a model: every step is derived again from the weights, with other code than the one that wrote it.

    Exit code 0: the claim is proved. 1: a step does not hold; it is named with the stored and the recomputed value. 2: the file is damaged,
    is about another model, or is no certificate.
    """
    import time

    from ... import check
    from ...core.errors import CertificateError, InputError
    from ...proof.certificate import read
    from ..models import load

    document, arrays = read(certificate)  # damaged or no certificate: cannot be asked
    graph = load(model, weights, tuple(document["graph"]["input_shape"]))
    if graph.digest != document["graph"]["digest"]:
        raise InputError(
            "the certificate is about another model",
            where=certificate,
            found=f"model {graph.digest[:16]}",
            expected=f"model {document['graph']['digest'][:16]}",
            hint="same file, same weights? one changed weight makes another model",
        )
    fields = {"certificate": str(certificate), "model": model, "digest": graph.digest, "kind": document["kind"], "claim": document["claim"]}
    start = time.process_time()
    try:
        report = check(certificate, graph)
    except CertificateError as error:
        parts = {"step": error.where, "stored": error.found, "recomputed": error.expected}
        refusal = {k: str(v) for k, v in parts.items() if v is not None}
        return Answer("not proved", {**fields, "reason": error.what, **refusal}, (f"NOT PROVED: {error}",))
    fields |= {"steps": len(report.steps), "assumptions": document["assumptions"], "seconds": time.process_time() - start}
    show = [f"PROVED ({len(report.steps)} steps, {fields['seconds']:.1f} s CPU)", document["claim"]["text"], _figures(document, arrays)]
    show += ["Assumed: " + "; ".join(document["assumptions"]), "Not part of the proof: " + "; ".join(document["claim"]["not_proved"])]
    return Answer("proved" if report.ok else "not proved", fields, tuple(show))


def _figures(document: dict, arrays: dict) -> str:
    """The checked numbers in a line."""
    from ...core.decimals import decimal_down, decimal_up

    constant = f"Lipschitz constant at most {decimal_up(document['constants']['upper'], 7)} ({document['claim']['norm']})"
    if document["kind"] != "radius":
        return constant
    radii = arrays["radii"]
    return f"{len(radii)} inputs, {int((radii > 0).sum())} with a positive radius, largest {decimal_down(float(radii.max()), 4)}; {constant}"
