"""`reach doctor`: can this machine prove anything, and are the kernels compiled."""

from __future__ import annotations

from ..frame import Answer
from ..options import Json

RANK = 70


def command(json: Json = False) -> Answer:
    """Check this machine: arithmetic, packages, compiled kernels, a flowpipe whose truth is known. Exit code 0 if proofs can be trusted here, 2 if not."""
    from ..health import checks
    from ..progress import bar

    with bar("doctor") as progress:
        rows = checks(progress)
    failed = [row.name for row in rows if row.state == "FAIL"]
    lines = tuple(f"{row.state:<5} {row.name:<18} {row.detail}" for row in rows)
    verdict = f"\n{len(failed)} problem{'s' if len(failed) != 1 else ''}: {', '.join(failed)}" if failed else "\nflowpipes can be proved and checked here"
    return Answer("error" if failed else "finished", {"checks": [row._asdict() for row in rows], "failed": failed}, (*lines, verdict))
