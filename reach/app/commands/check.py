"""`reach check`: prove a certificate again, without the code that made it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..frame import Answer
from ..options import Json, Problem

RANK = 50


def command(
    certificate: Annotated[Path, typer.Argument(metavar="CERTIFICATE", help="The file that `--out` or `save` wrote.", show_default=False)],
    problem: Problem,
    json: Json = False,
) -> Answer:
    """Check a certificate against the plant and controller of a problem file: every step is proved again, with other code than the one that wrote it.

    Exit code 0: the claim is proved. 1: a step does not hold; it is named. 2: the file is damaged, is about another plant or controller, or is no certificate.
    """
    from ..checking import check_problem

    return check_problem(certificate, problem)
